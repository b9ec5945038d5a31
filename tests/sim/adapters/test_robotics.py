import sys
from types import ModuleType

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium import spaces

from bridle import sim


class Goal(gymnasium.Env):
    """What an environment with goals looks like."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012
    observation_space = spaces.Dict(
        {
            name: spaces.Box(-np.inf, np.inf, (n,), np.float64)
            for name, n in (("observation", 4), ("achieved_goal", 3), ("desired_goal", 3))
        }
    )
    action_space = spaces.Box(-1, 1, (4,), np.float32)

    def __init__(self, render_mode=None, info=None):
        self.render_mode, self.info = render_mode, info or {"is_success": np.float32(1)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), -1.0, False, False, self.info

    def render(self):
        return np.zeros((10, 20, 3), np.uint8)


@pytest.fixture
def suite(monkeypatch):
    """A Gymnasium-Robotics of one environment."""
    package, envs = ModuleType("gymnasium_robotics"), ModuleType("gymnasium_robotics.envs")
    envs.Goal = Goal
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, envs.__name__, envs)
    ids = ("PointMazeTest-v0", "FetchTest-v0")
    for name in ids:
        gymnasium.register(name, "gymnasium_robotics.envs:Goal", max_episode_steps=50)
    yield package
    for name in ids:
        del gymnasium.registry[name]


def test_without_it_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(sim.SimulationError, match="pip install gymnasium-robotics") as error:
        sim.make("robotics:FetchReach-v4")
    assert "\n" not in str(error.value)


def test_what_does_not_fit_the_installed_mujoco_is_refused(suite, monkeypatch):
    for version in ("4.0.0", "3.12.0"):
        monkeypatch.setattr(mujoco, "__version__", version)
        sim.make("robotics:PointMazeTest-v0")
        with pytest.raises(sim.SimulationError, match=rf"below 3.12, and {version} is installed"):
            sim.make("robotics:FetchTest-v0")
    monkeypatch.setattr(mujoco, "__version__", "3.11.1")
    sim.make("robotics:FetchTest-v0")


def test_it_comes_in_our_terms(suite):
    env = sim.make("robotics:PointMazeTest-v0")
    observation, info = env.reset(seed=0)
    sizes = {"achieved_goal": 3, "desired_goal": 3, "state": 4}
    assert {key: len(value) for key, value in observation.items()} == sizes
    assert not info["success"]
    _, _, terminated, truncated, info = env.step(np.zeros(4, np.float32))
    assert (info["success"], terminated, truncated) == (True, True, False)
    assert env.control_dt == 1 / 25
    assert env.render().shape == (10, 20, 3)


def test_a_kitchen_is_done_when_no_task_is_left(suite):
    for left, success in ((["kettle"], False), ([], True)):
        env = sim.make("robotics:PointMazeTest-v0", info={"tasks_to_complete": left})
        env.reset(seed=0)
        assert env.step(np.zeros(4, np.float32))[4]["success"] is success


def test_unknown_ids_are_refused(suite):
    with pytest.raises(sim.SimulationError, match="did you mean FetchTest-v0"):
        sim.make("robotics:FetchTset-v0")
