# ruff: noqa: NPY002  (numpy's global generator is what this is about)
from importlib.util import find_spec

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from bridle import sim
from tests.sim.adapters.traces import trace


class Walk(gymnasium.Env):
    """A walk on a line that says what it is asked to."""

    metadata = {"render_modes": [], "render_fps": 10}  # noqa: RUF012

    def __init__(self, infos=None, end=3, space=None, actions=None, wild=False):
        self.observation_space = space or spaces.Box(-10, 10, (2,), np.float64)
        self.action_space = actions or spaces.Discrete(3, start=-1)
        self.infos, self.end, self.wild = infos or {}, end, wild

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = np.random.uniform() if self.wild else 0.0
        return self.observe(), {}

    def observe(self):
        if isinstance(self.observation_space, spaces.Box):
            return np.full(self.observation_space.shape, self.place)
        return self.observation_space.sample()

    def step(self, action):
        self.action = action
        self.place += float(np.sum(action))
        return self.observe(), float(np.sum(action)), abs(self.place) >= self.end, False, self.infos


gymnasium.register("bridle-test/Walk-v0", entry_point=Walk, max_episode_steps=5)
gymnasium.register(
    "bridle-test/Scored-v0", entry_point=Walk, max_episode_steps=5, reward_threshold=2.5
)
gymnasium.register("bridle-test/Endless-v0", entry_point=Walk)

LEFT, STAY, RIGHT = np.eye(3, dtype=np.float32)


def walk(moves, task="Walk", **options):
    """Success at the last of some moves, and whether the episode is over."""
    env = sim.make(f"gym:bridle-test/{task}-v0", **options)
    env.reset(seed=0)
    for move in moves:
        _, _, terminated, truncated, info = env.step(move)
    return info["success"], terminated or truncated


@pytest.mark.parametrize("name", ["gym:Hopper-v5", "gym:CartPole-v1", "gym:bridle-test/Walk-v0"])
def test_the_same_seed_gives_the_same_bytes_whatever_was_before(name):
    options = {"wild": True} if "Walk" in name else {}
    env = sim.make(name, **options)
    first = trace(env, 5)
    assert trace(env, 6) != first
    assert trace(env, 5) == first
    np.random.seed(0)
    assert trace(sim.make(name, **options), 5) == first


def test_the_heaviest_choice_is_taken():
    env = sim.make("gym:bridle-test/Walk-v0")
    env.reset(seed=0)
    assert env.action_space == spaces.Box(0, 1, (3,), np.float32)
    for weights, choice in (([0.1, 0.2, 0.9], 1), ([0.5, 0.5, 0], -1), ([0, 1, 0], 0)):
        env.step(np.array(weights, np.float32))
        assert env._suite.unwrapped.action == choice


def test_success_is_survival_where_nothing_else_is_said():
    assert walk([STAY] * 4) == (False, False)
    assert walk([STAY] * 5) == (True, True)
    assert walk([RIGHT] * 3) == (False, True)
    assert walk([RIGHT] * 3 + [STAY] * 2)[0] is False


def test_success_is_the_suites_threshold_where_it_has_one():
    assert walk([RIGHT] * 3, "Scored") == (True, True)
    assert walk([RIGHT] * 2, "Scored") == (False, False)
    assert walk([STAY] * 5, "Scored") == (False, True)


@pytest.mark.parametrize("key", ["success", "is_success"])
def test_success_is_what_the_suite_says_if_it_says_anything(key):
    assert walk([STAY], infos={key: np.float64(1.0)}) == (True, False)
    assert walk([STAY] * 5, infos={key: 0.0}) == (False, True)
    assert walk([RIGHT] * 3, "Scored", infos={key: False}) == (False, True)


def test_success_can_be_a_return():
    assert walk([RIGHT] * 2 + [STAY] * 3, success_return=2) == (True, True)
    assert walk([RIGHT] * 2, success_return=2) == (False, False)
    assert walk([RIGHT] * 3, success_return=3.5, infos={"success": True}) == (False, True)


def test_the_rule_is_told():
    assert "at least 475" in sim.make("gym:CartPole-v1").success_rule
    assert "survival" in sim.make("gym:Humanoid-v5").success_rule
    assert sim.make("gym:CartPole-v1", success_return=7).success_rule.startswith("a return of at")


def test_cost_is_the_suites():
    env = sim.make("gym:bridle-test/Walk-v0", infos={"cost": 2})
    env.reset(seed=0)
    assert env.step(STAY)[4]["cost"] == 2.0


def test_an_episode_has_an_end():
    with pytest.raises(sim.SimulationError, match="no limit of steps; give max_steps"):
        sim.make("gym:bridle-test/Endless-v0")
    assert walk([STAY] * 7, "Endless", max_steps=7) == (True, True)


def test_the_clock():
    assert sim.make("gym:Hopper-v5").control_dt == pytest.approx(4 * 0.002)
    assert sim.make("gym:CartPole-v1").control_dt == pytest.approx(0.02)
    assert sim.make("gym:bridle-test/Walk-v0").control_dt == pytest.approx(0.1)
    assert sim.make("gym:bridle-test/Walk-v0", control_dt=0.3).control_dt == 0.3


@pytest.mark.parametrize(
    ("space", "sizes"),
    [
        (spaces.Box(0, 1, (2, 3)), {"state": 6}),
        (spaces.Discrete(4), {"state": 4}),
        (spaces.MultiDiscrete([2, 3]), {"state": 5}),
        (
            spaces.Dict(
                observation=spaces.Box(0, 1, (3,)),
                goal=spaces.Dict(
                    {"slide cabinet": spaces.Box(0, 1, (1,)), "on": spaces.Discrete(2)}
                ),
            ),
            {"goal_on": 2, "goal_slide_cabinet": 1, "state": 3},
        ),
    ],
)
def test_observations_become_named_vectors(space, sizes):
    env = sim.make("gym:bridle-test/Walk-v0", space=space)
    observation, _ = env.reset(seed=0)
    assert {key: value.shape[0] for key, value in observation.items()} == sizes
    assert env.observation_space.contains(observation)


def test_actions_of_other_kinds_are_refused():
    with pytest.raises(sim.SimulationError, match="actions of MultiBinary are not supported"):
        sim.make("gym:bridle-test/Walk-v0", actions=spaces.MultiBinary(2))


def test_there_is_no_expert():
    env = sim.make("gym:Hopper-v5")
    with pytest.raises(sim.SimulationError, match="gym:Hopper-v5 has no expert"):
        sim.make_expert(env)


def test_what_a_suite_needs_is_named():
    if find_spec("Box2D"):
        pytest.skip("Box2D is installed")
    with pytest.raises(sim.SimulationError, match="Box2D is not installed"):
        sim.make("gym:LunarLander-v3")


@pytest.mark.parametrize("name", ["gym:Hopper-v5", "gym:InvertedPendulum-v5"])
def test_mujoco_scenes_are_drawn(name):
    env = sim.make(name, render_width=64, render_height=48)
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (48, 64, 3)
    assert picture.std() > 5
    env.close()


def test_cameras_can_be_observed():
    env = sim.make("gym:Hopper-v5", cameras=("track",), image_width=32, image_height=24)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation["camera_track"].shape == (24, 32, 3)
    env.close()
    with pytest.raises(sim.SimulationError, match="no camera 'wrist'; cameras: track"):
        sim.make("gym:Hopper-v5", cameras="wrist").reset(seed=0)
    with pytest.raises(sim.SimulationError, match="no MuJoCo scene"):
        sim.make("gym:CartPole-v1", cameras="front").reset(seed=0)


def test_what_cannot_be_drawn_says_so():
    env = sim.make("gym:bridle-test/Walk-v0")
    env.reset(seed=0)
    with pytest.raises(sim.RenderingError, match="cannot be drawn"):
        env.render()
