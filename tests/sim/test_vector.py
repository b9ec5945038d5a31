from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from bridle import sim
from bridle.sim.vector import TabletopVectorEnv, make_vector

NEXT_STEP, SAME_STEP = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP


def equal(a, b):
    """Same keys, types, shapes and bytes, all the way down."""
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, tuple) or (isinstance(a, np.ndarray) and a.dtype == object):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and a == b


def makers(task="reach", count=3, **options):
    return [partial(sim.make, task, **options) for _ in range(count)]


def actions(envs, steps, seed=0):
    """Smooth random ways through the joints, into the table and out again."""
    random = np.random.default_rng(seed)
    low, high = envs.single_action_space.low, envs.single_action_space.high
    target = np.array([env.joint_state()[0] for env in envs.envs])
    for _ in range(steps):
        target = target + random.normal(0, 0.03, target.shape)
        yield np.clip(target, low, high).astype(np.float32)


def assert_same_as_sync(envs, sync, steps):
    with_seed = (envs.reset(seed=5), sync.reset(seed=5))
    assert equal(*with_seed)
    ends = 0
    for action in actions(sync, steps):
        ours, theirs = envs.step(action), sync.step(action)
        for a, b in zip(ours, theirs, strict=True):
            assert equal(a, b)
        ends += int((theirs[2] | theirs[3]).sum())
    envs.close()
    sync.close()
    return ends


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP])
def test_it_is_gymnasiums_vector_bit_for_bit(threads, mode):
    ours = TabletopVectorEnv(makers(), threads=threads, autoreset_mode=mode)
    sync = SyncVectorEnv(makers(), autoreset_mode=mode)
    assert ours.observation_space == sync.observation_space
    assert ours.action_space == sync.action_space
    assert ours.metadata == sync.metadata
    assert assert_same_as_sync(ours, sync, 300) >= 6


@pytest.mark.parametrize("threads", [1, 2])
def test_environments_with_models_of_their_own_do_not_mix(threads):
    options = {"randomise": ("physics",), "distractors": 2, "reward": "shaped"}
    ours = TabletopVectorEnv(makers("stack", 2, **options), threads=threads)
    sync = SyncVectorEnv(makers("stack", 2, **options))
    assert_same_as_sync(ours, sync, 60)


def test_without_autoreset_the_caller_resets_what_has_ended():
    ours = TabletopVectorEnv(makers(), threads=2, autoreset_mode="Disabled")
    sync = SyncVectorEnv(makers(), autoreset_mode="Disabled")
    ours.reset(seed=[1, 2, 3])
    sync.reset(seed=[1, 2, 3])
    for action in actions(sync, 100):
        ours.step(action)
        *_, truncated, _ = sync.step(action)
    assert truncated.all()
    with pytest.raises(AssertionError):
        ours.step(action)
    mask = np.ones(3, np.bool_)
    # gymnasium takes the mask out of the options it is given
    again = [envs.reset(seed=9, options={"reset_mask": mask}) for envs in (ours, sync)]
    assert equal(*again)


def test_observations_can_be_written_to_the_same_arrays():
    envs = TabletopVectorEnv(makers(), threads=1, copy=False)
    first, _ = envs.reset(seed=0)
    second, *_ = envs.step(np.zeros((3, 7), np.float32))
    assert all(first[key] is second[key] for key in first)


def test_what_is_no_bare_tabletop_environment_is_refused():
    with pytest.raises(sim.SimulationError, match="SyncVectorEnv takes any"):
        TabletopVectorEnv([partial(gymnasium.make, "bridle/reach-v0")])
    with pytest.raises(sim.SimulationError, match="threads must be at least 1, got 0"):
        TabletopVectorEnv(makers(), threads=0)
    with pytest.raises(sim.SimulationError, match="at least one"):
        TabletopVectorEnv([])


def test_wrong_actions_are_refused():
    envs = TabletopVectorEnv(makers(), threads=2)
    envs.reset(seed=0)
    with pytest.raises(sim.SimulationError, match="3 environments need as many actions, got 2"):
        envs.step(np.zeros((2, 7), np.float32))
    with pytest.raises(sim.SimulationError, match="7 finite"):
        envs.step(np.full((3, 7), np.nan, np.float32))


def test_a_task_by_name():
    envs = make_vector("reach", 2, threads=1, reward="shaped")
    assert isinstance(envs, TabletopVectorEnv)
    assert envs.num_envs == 2
    with pytest.raises(sim.SimulationError, match="count must be at least 1"):
        make_vector("reach", 0)
    with pytest.raises(sim.SimulationError, match="no task 'reech'"):
        make_vector("reech", 2)


def test_environments_of_other_suites_are_gymnasiums_vector():
    envs = make_vector("gym:CartPole-v1", 2, max_steps=3)
    assert isinstance(envs, SyncVectorEnv)
    envs.reset(seed=0)
    for _ in range(3):
        *_, truncated, info = envs.step(np.zeros((2, 2), np.float32))
    assert truncated.all()
    assert info["_success"].all()
