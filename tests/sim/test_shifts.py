from collections import deque

import numpy as np
import pytest

from bridle.sim import make
from bridle.sim.shifts import (
    SHIFTS,
    VISIBLE,
    ActuatorLag,
    CameraMoved,
    ColoursSwapped,
    ObjectOutside,
    SensorStuck,
    Shift,
)
from bridle.sim.tasks.pick_place import AREA

MOVED = np.array([0.1, 0.05, -0.05, 0.1, 0.1, 0.1, 0.2])


@pytest.fixture
def env():
    env = make("pick-place")
    env.reset(seed=0)
    yield env
    env.close()


def run(robot, steps, command=None):
    """Measured positions (steps, 7) after each control step."""
    path = []
    for _ in range(steps):
        if command is not None:
            robot.set_command(command)
        robot.advance(20)
        robot.end_unseen()
        path.append(robot.joint_state()[0].copy())
    return np.array(path)


def test_without_a_shift_an_episode_is_the_environment_s_own(env):
    target = env.joint_state()[0] + MOVED
    plain = run(env, 5, target)
    env.reset(seed=0)
    assert np.array_equal(run(Shift(env, 1), 5, target), plain)


@pytest.mark.parametrize("shift", (SHIFTS | VISIBLE).values())
def test_the_same_seed_is_the_same_shift(env, shift):
    paths, seen = [], []
    for _ in range(2):
        env.reset(seed=0)
        robot = shift(env, 3)
        target = env.joint_state()[0] + MOVED
        paths.append(run(robot, shift.onset + 5, target))
        seen.append(robot.observe()["object_state"])
    assert np.array_equal(*paths)
    assert np.array_equal(*seen)


def test_an_object_outside_lies_at_rest_beside_the_area_and_is_seen_there(env):
    for seed in range(10):
        env.reset(seed=seed)
        cube = ObjectOutside(env, seed).observe()["object_state"][:3]
        assert 0.04 <= abs(cube[1]) - AREA[1, 1] <= 0.13
        assert AREA[0, 0] <= cube[0] <= AREA[1, 0]


def test_a_stuck_sensor_reports_one_joint_as_it_was_and_the_others_as_they_are(env):
    robot = SensorStuck(env, 0)
    start = env.joint_state()[0].copy()
    run(robot, 20, start)
    before = robot.joint_state()[0].copy()
    reported = run(robot, 10, start + MOVED)[-1]
    real = env.joint_state()[0]
    (stuck,) = np.flatnonzero(reported != real)
    assert reported[stuck] == before[stuck]
    assert robot.joint_state()[1][stuck] == 0
    # Nothing of the robot itself was changed.
    assert abs(real[stuck] - before[stuck]) > 0.02


def test_a_moved_camera_sees_cube_and_spot_beside_where_they_are(env):
    robot = CameraMoved(env, 0)
    off = robot.observe()["object_state"] - env.observe()["object_state"]
    assert np.linalg.norm(off[:2]) == pytest.approx(0.04, abs=1e-6)
    assert np.allclose(off[:2], off[5:7], atol=1e-6)
    assert not off[[2, 3, 4, 7]].any()


def test_a_lagging_robot_does_the_same_0_3_s_later(env):
    start = env.joint_state()[0].copy()
    prompt = run(env, 8, start + MOVED)
    env.reset(seed=0)
    late = run(ActuatorLag(env, 0), 14, start + MOVED)
    # Six control steps of 50 ms; gravity moves a robot at rest by next to nothing.
    assert np.allclose(late[:5, :6], start[:6], atol=2e-3)
    gaps = deque(np.abs(late[k : k + 8] - prompt)[:, :6].max() for k in range(7))
    assert int(np.argmin(gaps)) in (5, 6)
    assert min(gaps) < 5e-3


@pytest.fixture(scope="module")
def seeing():
    env = make("pick-place", cameras=("front",), image_width=48, image_height=48)
    env.reset(seed=0)
    yield env
    env.close()


def test_swapped_colours_change_pictures_and_nothing_else(seeing):
    robot = ColoursSwapped(seeing, 0)
    before, swapped, after = seeing.observe(), robot.observe(), seeing.observe()
    for key in before:
        assert np.array_equal(before[key], swapped[key]) == (key != "camera_front")
        # The model is as it was for the next episode.
        assert np.array_equal(before[key], after[key])
    seen, unseen = (x["camera_front"].astype(int) for x in (swapped, before))
    different = (seen != unseen).any(axis=2)
    # Cube and spot are small; what was redder than green there is greener than red now.
    assert 0.001 < different.mean() < 0.05
    red = unseen[different][:, 0] > unseen[different][:, 1]
    assert np.array_equal(red, seen[different][:, 0] < seen[different][:, 1])


def test_a_moved_camera_has_moved_in_the_pictures_too(seeing):
    robot = CameraMoved(seeing, 0)
    before = seeing.observe()["camera_front"].copy()
    assert (robot.observe()["camera_front"] != before).mean() > 0.05
    assert np.array_equal(seeing.observe()["camera_front"], before)
