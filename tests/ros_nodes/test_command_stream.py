"""The driver of the simulated robot, and a guard in one loop with it, when commands go missing."""

from dataclasses import replace

import numpy as np
import pytest

from bridle.deploy.chunks import ActionChunk
from bridle.deploy.execution.shaping import Shaper
from bridle.deploy.guard import Guard, Mode
from bridle.deploy.robot import load_robot
from bridle.ros_nodes.command_stream import CommandStream

DT = 0.005
ROBOT = replace(load_robot("ur5e_2f85"), workspace=None)
"""Beside its table, too."""
HOME = np.array([0.0, -1.6, 1.8, -1.7, -1.6, 0.0, 0.4])
ARM = slice(0, 6)
JOINT_0 = np.eye(7)[0]


def driver():
    stream = CommandStream(ROBOT, DT)
    stream.restart(HOME)
    return stream


def commands(seconds, seed=0):
    """What a guard may send at most: from one goal to another as sharply as the limits allow."""
    chance = np.random.default_rng(seed)
    shaper = Shaper(ROBOT.limits, DT, ROBOT.latency)
    q, v, goal = HOME, np.zeros(7), HOME
    for k in range(round(seconds / DT)):
        if k % 60 == 0:
            goal = HOME + np.append(chance.uniform(-0.6, 0.6, 6), 0.0)
        v, _ = shaper.velocity(q, v, goal, np.zeros(7))
        q = q + v * DT
        yield q


def turn(speed, seconds):
    """Commands that turn joint 0 at one speed [rad/s], reached and left within the limits."""
    ramp = np.arange(0, speed, 25.0 * DT)
    rates = np.concatenate([ramp, np.full(round(seconds / DT), speed), ramp[::-1]])
    path = np.tile(HOME, (len(rates), 1))
    path[:, 0] += np.cumsum(rates) * DT
    return path


def assert_within_limits(setpoints):
    """Every step from one setpoint to the next, the arm at rest before the first."""
    path = np.array([HOME, HOME, *setpoints])[:, ARM]
    v = np.diff(path, axis=0) / DT
    a = np.diff(v, axis=0) / DT
    assert (np.abs(v) <= 2.5 * (1 + 1e-6)).all()
    assert (np.abs(a) <= 25.0 * (1 + 1e-6)).all()


def test_commands_in_time_are_executed_unchanged_a_buffer_later():
    stream = driver()
    path = turn(2.0, 0.5)
    setpoints = []
    for command in path:
        assert stream.take(command) is None
        setpoints.append(stream.step())
    np.testing.assert_allclose(setpoints[6:], path[: len(path) - 6], atol=1e-9)


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_the_motion_stays_within_the_limits_however_the_commands_come(seed, lossy):
    """They come late and in bursts, or stay away altogether."""
    chance = np.random.default_rng(seed)
    stream, setpoints, under_way, stall = driver(), [], [], 0
    for command in commands(10.0, seed):
        if stall == 0 and chance.random() < 0.01:
            stall = int(chance.integers(1, 80 if lossy else 30))
        stall = max(0, stall - 1)
        under_way.append(command)
        if not stall:
            for late in under_way[-1 if lossy else 0 :]:
                stream.take(late)
            under_way.clear()
        setpoints.append(stream.step())
    assert_within_limits(setpoints)
    assert lossy or np.ptp(setpoints, axis=0)[0] > 0.3


def resume(seconds):
    """The motion of an arm whose commands stay away in its midst, and then come all at once."""
    stream, path, setpoints, late = driver(), turn(2.0, 1.0), [], round(seconds / DT)
    refused = []
    for k, command in enumerate([*path, *[path[-1]] * 100]):
        if k == 100 + late:
            refused += [stream.take(c) for c in path[100:k]]
        if not 100 <= k < 100 + late:
            refused.append(stream.take(command))
        setpoints.append(stream.step())
    assert_within_limits(setpoints)
    return path, setpoints, [why for why in refused if why], stream


def test_after_a_stall_the_motion_goes_on_and_loses_nothing():
    path, setpoints, refused, stream = resume(0.19)
    assert not refused
    assert setpoints[-1] == pytest.approx(path[-1], abs=1e-3)
    assert len(stream) <= 13, "what has piled up is worked off at rest"


def test_commands_that_are_too_old_are_not_executed():
    stream, path, setpoints = driver(), turn(2.0, 1.0), []
    for command in path[:100]:
        stream.take(command)
        setpoints.append(stream.step())
    assert not stream.drop_stale()
    for command in path[100:150]:  # 0.25 s
        assert stream.take(command) is None
    assert stream.drop_stale()
    setpoints += [stream.step() for _ in range(60)]
    assert "allowed 0.05" in stream.take(path[150])
    assert_within_limits(setpoints)
    assert setpoints[-1] == pytest.approx(path[93], abs=1e-3), "the last one executed"


def test_a_leap_is_not_executed_and_the_arm_rests_where_the_stream_broke():
    stream, path, setpoints = driver(), turn(1.0, 1.0), []
    for command in path[:100]:
        stream.take(command)
        setpoints.append(stream.step())
    for command in path[151:]:  # 51 commands of 5 mrad are lost
        assert "allowed 0.05" in stream.take(command)
        setpoints.append(stream.step())
    assert_within_limits(setpoints)
    assert setpoints[-1] == pytest.approx(path[99], abs=1e-3)


def test_a_stream_that_comes_back_is_executed_again():
    stream, path, setpoints = driver(), turn(2.5, 1.0), []
    for command in [*path[:100], path[160]]:
        stream.take(command)
        setpoints.append(stream.step())
    setpoints += [stream.step() for _ in range(100)]
    for k in range(100):
        assert stream.take(path[99] - 0.002 * k * JOINT_0) is None
        setpoints.append(stream.step())
    assert_within_limits(setpoints)
    assert setpoints[-1][0] == pytest.approx(path[99][0] - 0.002 * 93, abs=1e-3)


def test_a_stream_begins_where_the_robot_is():
    stream = driver()
    assert "allowed 0.01" in stream.take(HOME + 0.02)
    assert stream.take(HOME + 0.005 * JOINT_0) is None


@pytest.mark.parametrize("command", [np.zeros(6), np.full(7, np.nan), np.zeros((1, 7))])
def test_what_is_no_command_is_refused(command):
    assert "7 finite numbers" in driver().take(command)


def test_the_gripper_moves_at_its_own_speed():
    stream = driver()
    closed = np.append(HOME[ARM], 0.8)
    for _ in range(7):
        assert stream.take(closed) is None
    steps = np.diff([stream.step()[-1] for _ in range(60)])
    assert steps.max() == pytest.approx(1.8 * DT)
    assert stream.setpoint[-1] == 0.8


class Loop:
    """A guard, a policy and a driver whose servo is perfect; commands can be lost."""

    def __init__(self, goal):
        self.guard, self.stream, self.goal = Guard(ROBOT), driver(), goal
        self.state, self.now, self.setpoints = self.guard.start(HOME, 0.0), 0.0, []

    def run(self, seconds, lost=False):
        for k in range(round(seconds / DT)):
            self.now += DT
            here = self.stream.setpoint
            if k % 20 == 0 and self.state.mode is not Mode.LATCHED:
                chunk = ActionChunk(self.now, np.array([0.0, 1.0]), np.array([self.goal(here)] * 2))
                self.state = self.guard.accept(self.state, chunk, self.now)
            self.state, command = self.guard.tick(self.state, here, self.now, self.now)
            if not lost:
                self.stream.take(command.position)
            self.setpoints.append(self.stream.step())


@pytest.mark.parametrize("lost", [0.1, 0.2, 0.5, 2.0])
@pytest.mark.parametrize(
    "goal",
    [
        lambda here: HOME + 1.5 * JOINT_0,
        lambda here: here + 0.1 * JOINT_0,  # always a little further than it can get
        lambda here: here + 0.03 * JOINT_0,
    ],
    ids=["a place", "further on", "a little further on"],
)
def test_a_guard_whose_commands_were_lost_comes_to_the_robot_and_goes_on(goal, lost):
    loop = Loop(goal)
    loop.run(0.4)
    loop.run(lost, lost=True)
    stopped = loop.stream.setpoint[0]
    # A robot that is left behind for so long was waited for once already.
    latched = lost > 1 and (goal(HOME) - HOME)[0] > 0.04
    assert (loop.state.mode is Mode.LATCHED) == latched
    if latched:
        assert loop.state.why == "the robot does not follow its commands"
        assert loop.state.q == pytest.approx(loop.stream.setpoint, abs=1e-9)
        loop.state = loop.guard.reset(loop.state, loop.stream.setpoint, loop.now)
    loop.run(3.0)
    assert loop.stream.setpoint[0] > min(stopped + 0.3, 1.49)
    assert loop.state.mode is Mode.NOMINAL
    assert_within_limits(loop.setpoints)


def test_a_robot_that_does_not_move_is_noticed_and_no_leap_awaits_it():
    """0.1 rad is within the tolerance of a robot in motion, not of one that stands still."""
    loop = Loop(lambda here: HOME + 0.1 * JOINT_0)
    loop.run(0.4, lost=True)
    assert loop.state.mode is Mode.NOMINAL
    assert loop.state.q[0] == pytest.approx(0.1, abs=1e-3)
    moved, modes = [], []
    for _ in range(400):
        loop.run(DT, lost=True)
        moved.append(loop.state.q[0])
        modes.append(loop.state.mode)
    assert min(moved) == 0.0
    # The command comes to it, tries once more, and comes back for good.
    assert [m for m, before in zip(modes, [None, *modes], strict=False) if m is not before] == [
        Mode.NOMINAL,
        Mode.HOLD,
        Mode.NOMINAL,
        Mode.HOLD,
        Mode.LATCHED,
    ]
    assert loop.state.why == "the robot does not follow its commands"
    assert loop.state.q[0] == 0.0
