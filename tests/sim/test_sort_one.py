import numpy as np
import pytest

from bridle import sim
from bridle.sim.objects import HALF

UP, AHEAD = np.array([0, 0, HALF + 0.002]), np.array([1.0, 0, 0])


def put(env, name, position):
    """Put a cube somewhere, and look again."""
    env.body(name).place(np.asarray(position))
    env.observe()


@pytest.fixture
def env():
    env = sim.make("sort-one")
    env.reset(seed=0)
    return env


def asked(env):
    """Colour and bin that the instruction names."""
    _, _, colour, _, _, _, side, _ = env.instruction.split()
    return colour, side


def test_each_of_six_instructions_is_drawn_equally_often():
    env = sim.make("sort-one")
    assert len(env.goals) == 6
    counts = dict.fromkeys(env.goals, 0)
    for seed in range(600):
        counts[env.reset(seed=seed)[1]["instruction"]] += 1
    # 100 each, standard deviation 9.
    assert all(70 < count < 130 for count in counts.values())


def test_the_instruction_is_in_no_other_observation():
    env, plain = sim.make("sort-one"), sim.make("sort")
    for seed in range(5):
        one, all_of_them = env.reset(seed=seed)[0], plain.reset(seed=seed)[0]
        np.testing.assert_array_equal(one["object_state"], all_of_them["object_state"])


def test_success_is_the_named_cube_in_the_named_bin(env):
    colour, side = asked(env)
    other = "left" if side == "right" else "right"
    assert not env.is_success()
    put(env, colour, env.body(other).position + UP)
    assert not env.is_success()
    put(env, colour, env.body(side).position + UP)
    assert env.is_success()


def test_another_cube_must_not_be_moved(env):
    colour, side = asked(env)
    put(env, colour, env.body(side).position + UP)
    other = next(name for name in ("red", "green", "blue") if name != colour)
    begin = env.body(other).position
    put(env, other, begin + 0.02 * AHEAD)
    assert env.is_success()
    put(env, other, begin + 0.04 * AHEAD)
    assert not env.is_success()
    assert env.milestones()["put it into the named bin"]
    assert not env.milestones()["leave the others where they are"]


def test_the_cube_that_was_lifted_first_is_told(env):
    colour, _ = asked(env)
    wrong, _ = (name for name in ("red", "green", "blue") if name != colour)
    stay = env.joint_state()[0].astype(np.float32)
    assert env.step(stay)[-1]["picked"] == ""
    for name in (wrong, colour):
        put(env, name, env.body(name).position + 5 * UP)
        assert env.step(stay)[-1]["picked"] == wrong
    assert env.milestones()["lift a cube"]
    assert not env.milestones()["lift the named cube first"]
    assert env.reset(seed=1)[1]["picked"] == ""
