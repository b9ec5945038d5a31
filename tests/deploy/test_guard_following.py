"""The guard along a chunk: as it is where limits allow it, and inside them where they do not."""

from dataclasses import replace

import numpy as np
import pytest

from bridle.deploy.chunks import ActionChunk
from bridle.deploy.guard import Guard, Mode
from bridle.deploy.robot import load_robot
from bridle.deploy.tightening import JointTightening, Tightening, tighten
from tests.deploy.guarding import WATCHDOGS, Loop, make_robot


@pytest.fixture
def loop():
    return Loop(Guard(make_robot()), [0.0, 0.0])


def smooth(t):
    """Joint positions (7,) of a brisk motion of the UR5e: up to 1.2 rad/s and 3 rad/s^2."""
    home = np.array([-1.57, -1.57, 1.57, -1.57, -1.57, 0.0, 0.4])
    amplitude = np.array([0.5, -0.3, 0.4, 0.3, -0.2, 0.4, 0.3])
    return home + amplitude * np.sin(2.4 * t)


def run_smooth(rate=200.0, seconds=4.0, latency=0.08):
    robot = load_robot("ur5e_2f85")
    guard = Guard(replace(robot, rates=replace(robot.rates, command=rate)))
    loop = Loop(guard, smooth(0.0))
    start = loop.now
    due, errors = start, []
    for _ in range(round(seconds * rate)):
        if loop.now + 1e-9 >= due:
            observed = max(loop.now - latency, start + 1e-9)
            times = np.arange(16) * 0.05
            points = np.array([smooth(observed + t - start) for t in times])
            loop.accept(ActionChunk(observed, times, points))
            due += 0.4
        command = loop.tick()
        errors.append(np.abs(command.position - smooth(loop.now + guard.dt - start)).max())
    return loop, np.array(errors)


@pytest.mark.parametrize("rate", [100.0, 200.0, 500.0])
def test_a_clean_motion_passes_untouched(rate):
    loop, errors = run_smooth(rate)
    loop.obeys()
    # It starts at 1.2 rad/s from rest, which no acceleration limit allows; that is caught up.
    assert errors[round(0.3 * rate) :].max() < 5e-3
    later = loop.commands[round(0.3 * rate) :]
    assert all(c.mode is Mode.NOMINAL and c.intervention is None for c in later)


@pytest.mark.parametrize("rate", [100.0, 200.0, 500.0])
def test_a_chunk_that_was_met_is_followed_exactly_around_its_corners(rate):
    guard = Guard(replace(make_robot(rate=rate), watchdogs=replace(WATCHDOGS, chunk=2.0)))
    loop = Loop(guard, [0.0, 0.0])
    times = np.arange(16) * 0.1
    # Back and forth at 0.1 and 0.15 rad/s, each corner a turn of 0.2 and 0.3 rad/s.
    zigzag = np.abs((np.arange(16) + 2) % 4 - 2)[:, None] * np.array([0.01, -0.015])
    loop.accept(ActionChunk(loop.now, times, zigzag))
    errors, distances = [], []
    for _ in range(round(1.2 * rate)):
        command, there = loop.tick(), loop.now + guard.dt
        errors.append(np.abs(command.position - loop.state.reference.at(there)[0]).max())
        asked = [np.interp(there, loop.state.chunk.observed_at + times, p) for p in zigzag.T]
        distances.append(np.abs(command.position - asked))
    loop.obeys()
    met = round(0.5 * rate)
    assert max(errors[met:]) < 1e-7
    # dv w / 6 in a corner, with w = 25 ms.
    most = np.array([0.2, 0.3]) * 0.025 / 6
    assert np.max(distances[met:], axis=0) == pytest.approx(most, abs=1e-6)


def test_the_same_motion_looks_the_same_at_any_rate():
    paths = {}
    for rate in (100.0, 200.0, 500.0):
        loop = Loop(Guard(make_robot(rate=rate)), [0.0, 0.0])
        loop.follow([0.8, -1.2], 1.5)
        positions = np.array([c.position for c in loop.commands])
        paths[rate] = positions[round(rate / 100) - 1 :: round(rate / 100)]
    for rate in (100.0, 200.0):
        assert np.abs(paths[rate] - paths[500.0]).max() < 0.03
        assert np.abs(paths[rate][-1] - paths[500.0][-1]).max() < 1e-3


def test_a_step_is_reached_without_overshoot_and_without_chatter(loop):
    target = np.array([0.7, -1.3])
    loop.follow(target, 2.0)
    q = np.array([c.position for c in loop.commands])
    assert (q[:, 0] <= target[0] + 1e-9).all()
    assert (q[:, 1] >= target[1] - 1e-9).all()
    assert (np.diff(q[:, 0]) >= -1e-4).all()
    np.testing.assert_allclose(q[-1], target, atol=1e-4)
    loop.obeys()


def test_scaling_keeps_the_direction(loop):
    target = np.array([0.8, -1.2])
    loop.follow(target, 0.5)
    for command in loop.commands[1:]:
        share = command.position / target
        assert share[0] == pytest.approx(share[1], abs=2e-3)


def test_a_late_tick_never_makes_a_larger_step(loop):
    loop.ask([0.9, -1.5])
    for elapsed in [0.005, 0.02, 0.001, 0.04, 0.005] * 8:
        loop.tick(elapsed=elapsed)
    loop.obeys()


def test_interventions_name_the_rule_the_joint_and_the_numbers(loop):
    loop.ask([0.9, -1.5])
    intervention = loop.tick().intervention
    assert intervention.rule in ("velocity", "acceleration", "jerk")
    assert abs(intervention.value) > intervention.bound
    assert intervention.moved == pytest.approx(1.5, abs=0.01)
    assert "joint_" in str(intervention)
    assert loop.state.interventions == 1


def test_a_target_outside_the_limits_is_moved_to_the_limit(loop):
    loop.follow([1.4, 0.5], 2.0)
    last = loop.commands[-1]
    assert last.position == pytest.approx([1.0, 0.5], abs=1e-3)
    assert last.position[0] <= 1.0
    rule = last.intervention
    assert (rule.rule, rule.what, rule.bound) == ("position", "joint_0", 1.0)
    assert rule.value == pytest.approx(1.4)
    assert rule.moved == pytest.approx(0.4, abs=1e-3)


@pytest.mark.parametrize("rate", [20.0, 100.0, 500.0])
@pytest.mark.parametrize("acceleration", [0.3, 2.0, 50.0])
@pytest.mark.parametrize("latency", [0.0, 0.05])
def test_a_joint_driven_at_its_limit_stops_at_it(rate, acceleration, latency):
    robot = make_robot(((-1.0, 1.0),), (3.0,), (acceleration,), (None,), rate, latency)
    loop = Loop(Guard(robot), [-0.8])
    loop.follow([2.5], 8.0)
    q = np.array([c.position[0] for c in loop.commands])
    assert q.max() <= 1.0
    assert q[-1] > 1.0 - 1e-3
    reached = q > 1.0 - 1e-3
    assert reached[reached.argmax() :].all(), "it stays there"
    loop.obeys()


def test_a_fast_reference_near_the_limit_is_braked_in_time_without_a_hold(loop):
    # 1.9 rad/s up to 1 cm before the limit: braking at 10 rad/s^2 takes 0.18 rad.
    start = loop.now
    for k in range(200):
        if k % 20 == 0:
            times = np.arange(16) * 0.05
            planned = np.minimum(1.9 * (loop.now + times - start), 0.99)
            loop.accept(ActionChunk(loop.now, times, np.stack([planned, 0 * planned], 1)))
        command = loop.tick()
        assert command.mode is Mode.NOMINAL
        assert loop.state.v[0] ** 2 / 20.0 <= 1.0 - loop.state.q[0] + 1e-9
        _, high = loop.state.stop.range
        assert high[0] <= 1.0
    assert loop.state.q[0] == pytest.approx(0.99, abs=1e-3)
    loop.obeys()


def test_from_outside_the_limits_a_joint_only_moves_inwards():
    loop = Loop(Guard(make_robot()), [1.2, 0.0])
    loop.follow([1.4, 0.0], 0.3)
    assert loop.commands[-1].position[0] <= 1.2
    loop.follow([0.5, 0.0], 2.0)
    q = np.array([c.position[0] for c in loop.commands])
    assert (np.diff(q) <= 1e-4).all()
    assert q[-1] == pytest.approx(0.5, abs=1e-3)
    loop.obeys()


def test_what_a_task_adds_to_the_limits_holds():
    task = Tightening(
        {
            "joint_0": JointTightening(position=(-9.0, 0.3), velocity=9.0),
            "joint_1": JointTightening(position=(-0.1, 9.0), velocity=1.0, acceleration=1.0),
        }
    )
    loop = Loop(Guard(tighten(make_robot(), task)), [0.0, 0.0])
    loop.follow([0.9, -1.0], 2.0)
    loop.obeys()
    assert loop.state.q == pytest.approx([0.3, -0.1], abs=1e-3)
    np.testing.assert_array_equal(loop.guard.limits.velocity, [2.0, 1.0])
