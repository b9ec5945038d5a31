import sys
from types import ModuleType

import mujoco
import numpy as np
import pytest

from bridle import sim
from tests.sim.adapters.traces import play, trace

ARM = "<mujoco><worldbody>{}</worldbody></mujoco>"


def arm():
    """Seven joints named as the Sawyer's, and a hand."""
    body = '<body name="hand"><geom size="0.1"/></body>'
    for i in reversed(range(7)):
        body = f'<body><joint name="right_j{i}"/><geom size="0.1"/>{body}</body>'
    return mujoco.MjModel.from_xml_string(ARM.format(body))


class Reach:
    """What a Meta-World environment looks like: a hand that goes where it is told."""

    dt, action_scale, max_path_length = 0.0125, 0.01, 500

    def __init__(self):
        self.model = arm()
        self.data = mujoco.MjData(self.model)
        self._partially_observable = self._freeze_rand_vec = True
        self.seeded_rand_vec = self._set_task_called = False

    def seed(self, seed):
        self.random = np.random.default_rng(seed)

    def reset(self):
        assert self._set_task_called
        assert not self._freeze_rand_vec
        assert self.seeded_rand_vec
        mujoco.mj_forward(self.model, self.data)
        self.hand, self.goal = np.zeros(3), self.random.uniform(-0.2, 0.2, 3)
        return self.observe(), {}

    def observe(self):
        now = np.concatenate([self.hand, [0.7], np.zeros(14)])
        return np.concatenate([now, now, np.zeros(3) if self._partially_observable else self.goal])

    def step(self, action):
        self.hand = self.hand + self.action_scale * action[:3]
        near = np.linalg.norm(self.hand - self.goal) < 0.02
        return self.observe(), 1.0, False, False, {"success": float(near)}

    def close(self):
        pass


class ToGoal:
    """What a policy of Meta-World looks like."""

    def get_action(self, observation):
        return np.append(10 * (observation[-3:] - observation[:3]), 0.0)


@pytest.fixture
def suite(monkeypatch):
    """A Meta-World of one task."""
    package, envs, policies = map(
        ModuleType, ("metaworld", "metaworld.env_dict", "metaworld.policies")
    )
    envs.ALL_V3_ENVIRONMENTS = {"reach-v3": Reach}
    policies.ENV_POLICY_MAP = {"reach-v3": ToGoal}
    for module in (package, envs, policies):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(mujoco, "__version__", "3.16.0")
    return envs


def test_without_it_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "metaworld", None)
    with pytest.raises(sim.SimulationError, match=r"needs metaworld.*mujoco<3\.17") as error:
        sim.make("metaworld:reach-v3")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("version", ["3.17.0", "4.0.0"])
def test_a_mujoco_that_is_too_new_is_refused(suite, monkeypatch, version):
    monkeypatch.setattr(mujoco, "__version__", version)
    with pytest.raises(sim.SimulationError, match=rf"below 3.17, and {version} is installed"):
        sim.make("metaworld:reach-v3")


def test_it_comes_in_our_terms(suite):
    env = sim.make("metaworld:reach-v3")
    observation, info = env.reset(seed=0)
    assert {key: len(value) for key, value in observation.items()} == {
        "joint_position": 7, "joint_velocity": 7, "gripper": 1, "tcp_pose": 9, "object_state": 17,
    }  # fmt: skip
    # The suite gives shares of 0.1 m.
    np.testing.assert_allclose(observation["gripper"], [0.07], rtol=1e-6)
    np.testing.assert_allclose(observation["object_state"][-3:], env._suite.goal, rtol=1e-6)
    assert info["instruction"] == "reach"
    assert (env.control_dt, env.max_steps, env.action_space.shape) == (0.0125, 500, (4,))


def test_its_policy_is_an_expert(suite):
    env = sim.make("metaworld:reach-v3")
    for noise in (0.0, 0.01):
        acts, info = play(env, 1, noise=noise)
        assert info["success"]
        assert {act.phase for act in acts} == set(env.phases) == {"reach"}
        assert all((np.abs(act.executed) <= 1).all() for act in acts)
        disturbed = any((act.executed != act.label).any() for act in acts)
        assert disturbed is (noise > 0)


def test_the_same_seed_gives_the_same_bytes_whatever_was_before(suite):
    env = sim.make("metaworld:reach-v3")
    first = trace(env, 5)
    assert trace(env, 6) != first
    assert trace(env, 5) == first


def test_unknown_tasks_are_refused(suite):
    with pytest.raises(sim.SimulationError, match="did you mean reach-v3"):
        sim.make("metaworld:raech-v3")


def test_what_fails_within_is_one_line(suite):
    class Broken(Reach):
        def __init__(self):
            raise ValueError("could not broadcast\ninput array")

    suite.ALL_V3_ENVIRONMENTS["broken-v3"] = Broken
    with pytest.raises(sim.SimulationError, match="cannot be made: could not broadcast input"):
        sim.make("metaworld:broken-v3")
