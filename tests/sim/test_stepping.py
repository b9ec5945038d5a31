import numpy as np
import pytest

from bridle import sim
from bridle.sim.stepping import Stepper

TASKS = ("reach", "stack", "gym:Pendulum-v1", "pick-place")


def started():
    envs = [sim.make(task) for task in TASKS]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
    return envs


def actions(envs, step):
    """Small motions of each, the same for the same step."""
    random = np.random.default_rng(step)
    moved = []
    for env in envs:
        still = env.joint_state()[0] if isinstance(env, sim.TabletopEnv) else np.zeros(1)
        moved.append((still + random.uniform(-0.05, 0.05, still.shape)).astype(np.float32))
    return moved


@pytest.mark.parametrize("threads", [1, 3])
def test_each_environment_does_what_it_does_alone(threads):
    together, alone = started(), started()
    stepper = Stepper(threads)
    for step in range(20):
        chosen = actions(alone, step)
        for ours, env, action in zip(stepper.step(together, chosen), alone, chosen, strict=True):
            theirs = env.step(action)
            assert ours[1:] == theirs[1:]
            for key, value in theirs[0].items():
                np.testing.assert_array_equal(ours[0][key], value)
    stepper.close()


def test_environments_may_end_when_they_like():
    envs, stepper = started(), Stepper(2)
    for left in range(len(envs), -1, -1):
        assert len(stepper.step(envs[:left], actions(envs[:left], left))) == left
    stepper.close()


def test_what_cannot_be_done_is_refused():
    with pytest.raises(sim.SimulationError, match="threads must be at least 1, got 0"):
        Stepper(0)
    with pytest.raises(sim.SimulationError, match="7 finite joint positions"):
        Stepper(1).step(started()[:1], [np.zeros(6)])
