"""A joint driven at its limit, with any bounds and period: it stops there, not behind it."""

import os

import numpy as np

from bridle.deploy.guard import Guard, Mode

from .guarding import Loop, make_robot

CASES = int(os.environ.get("BRIDLE_OVERSHOOT_CASES", "60"))
"""More take longer: 1000 some minutes."""


def drive(seed):
    """Asked for a place behind its limit for as long as it takes, and what became of it."""
    random = np.random.default_rng(seed)
    way = random.uniform(0.05, 1.0)
    velocity, acceleration = random.uniform(0.1, 3.0), 10 ** random.uniform(-1, 1.5)
    jerk = acceleration * 10 ** random.uniform(0.5, 2.5)
    rate = random.choice([50.0, 100.0, 200.0, 500.0], p=[0.4, 0.4, 0.15, 0.05])
    robot = make_robot(
        ((-1.0, 1.0),), (velocity,), (acceleration,), (None,), rate, 0.0, jerk=(jerk,)
    )
    loop = Loop(Guard(robot), [1.0 - way])
    # Three times as long as at bang-bang, and time for the rest to die out.
    build_up = acceleration / jerk
    seconds = 3 * (way / velocity + 2 * np.sqrt(way / acceleration) + build_up) + 0.5
    loop.follow([1.0 + random.uniform(0.05, 1.0)], seconds, every=0.25)
    return loop, np.array([command.position[0] for command in loop.commands])


def test_random_joints_stop_at_their_limit_and_never_behind_it():
    for seed in range(CASES):
        loop, q = drive(seed)
        assert q.max() <= 1.0, seed
        assert q[-1] > 1.0 - 1e-3, seed
        assert loop.state.mode is Mode.NOMINAL, seed
        loop.obeys()
