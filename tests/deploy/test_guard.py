"""The guard as a whole: what makes it hold, what it refuses, stops, resets, and what fails."""

from dataclasses import replace

import numpy as np
import pytest

from bridle.deploy.chunks import ChunkRefused
from bridle.deploy.guard import Guard, GuardError, Mode
from bridle.deploy.guard.check import Checker
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.guard.motion import Motions, Posture
from bridle.deploy.guard.reference import Reference
from bridle.deploy.robot import RobotError, Workspace, load_robot
from bridle.deploy.tightening import JointTightening, Tightening, tighten
from tests.deploy.guarding import Loop, constant, make_robot


@pytest.fixture
def loop():
    return Loop(Guard(make_robot()), [0.0, 0.0])


def moving(loop):
    """Somewhere on the way to a target."""
    loop.ask([0.9, -1.5])
    for _ in range(30):
        loop.tick()
    assert loop.state.mode is Mode.NOMINAL
    assert not loop.state.at_rest
    return loop


# -- holding and going on --------------------------------------------------------------------------


def test_nothing_moves_before_the_first_chunk(loop):
    for _ in range(10):
        command = loop.tick()
        np.testing.assert_array_equal(command.position, [0.0, 0.0])
        assert command.mode is Mode.HOLD


FAULTS = {
    "joint_states": {"age": 0.06},
    "nan": {"measured": np.array([np.nan, 0.0])},
    "shape": {"measured": np.zeros(3)},
    "tracking": {"measured": np.array([-0.5, 0.0])},
    "failure": {"measured": "not an array"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_brakes_to_hold_and_ends_with_the_fault_and_a_fresh_chunk(loop, fault):
    moving(loop)
    command = loop.tick(**FAULTS[fault])
    assert command.mode is Mode.HOLD
    expected = {"nan": "joint_states", "shape": "joint_states"}.get(fault, fault)
    assert command.intervention.rule == expected
    assert loop.state.why.startswith(expected)
    assert loop.state.holds == 1
    for _ in range(100):
        loop.tick()
    assert loop.state.mode is Mode.HOLD, "the old chunk is void"
    assert loop.state.at_rest
    assert loop.state.why.startswith(expected)
    loop.follow([0.2, 0.2], 2.0)
    assert loop.state.mode is Mode.NOMINAL
    assert loop.state.q == pytest.approx([0.2, 0.2], abs=1e-3)
    loop.obeys()


def test_a_stop_once_begun_is_carried_through_to_rest(loop):
    moving(loop)
    loop.tick(age=0.06)
    speed = np.abs(loop.state.v)
    loop.ask([0.9, -1.5])
    # The acceleration takes 10 ms to turn round.
    speed = speed + 0.01 * loop.guard.limits.acceleration
    while not loop.state.at_rest:
        assert loop.tick().mode is Mode.HOLD
        assert (np.abs(loop.state.v) <= speed).all()
    assert loop.tick().mode is Mode.NOMINAL
    loop.obeys()


def test_a_joint_that_may_stall_is_exempt_from_tracking(loop):
    moving(loop)
    assert loop.tick(measured=loop.measured * [1.0, 0.0] - [0.0, 1.9]).mode is Mode.NOMINAL


def test_a_fault_lasts_as_long_as_its_cause(loop):
    moving(loop)
    for _ in range(100):
        loop.now += 1e-9
        loop.ask([0.2, 0.2])
        loop.tick(age=0.06)
    assert loop.state.mode is Mode.HOLD
    assert loop.state.at_rest


def test_without_new_chunks_it_holds_half_a_second_after_the_observation(loop):
    loop.ask([0.9, -1.5], latency=0.0)
    observed = loop.now
    while loop.tick().mode is Mode.NOMINAL:
        assert loop.now - observed < 0.6
    assert loop.now - observed == pytest.approx(0.5, abs=0.006)
    assert loop.commands[-1].intervention.rule == "chunk"
    loop.rest()
    loop.obeys()


# -- chunks that are refused -----------------------------------------------------------------------


def refusal(loop, chunk):
    with pytest.raises(ChunkRefused) as refused:
        loop.accept(chunk)
    assert "\n" not in str(refused.value)
    return refused.value.rule


def test_chunks_are_refused_by_age_order_and_future(loop):
    for _ in range(100):
        loop.tick()
    assert refusal(loop, constant([0, 0], loop.now - 0.31)) == "age"
    assert refusal(loop, constant([0, 0], loop.now + 0.1)) == "future"
    loop.ask([0.1, 0.1], latency=0.1)
    assert refusal(loop, constant([0, 0], loop.now - 0.1)) == "order"
    assert refusal(loop, constant([0, 0], loop.now - 0.2)) == "order"
    loop.ask([0.1, 0.1], latency=0.05)
    assert loop.state.accepted == 2


def test_chunks_from_before_the_start_are_refused(loop):
    loop.tick()
    assert refusal(loop, constant([0, 0], loop.now - 0.1)) == "reset"


def test_chunks_of_other_joints_or_units_are_refused(loop):
    assert refusal(loop, constant([0, 0, 0], loop.now)) == "joints"
    assert refusal(loop, constant([-90.0, 0.0], loop.now)) == "range"


# -- stop and reset --------------------------------------------------------------------------------


def test_a_stop_brakes_and_only_a_reset_moves_it_again(loop):
    moving(loop)
    loop.state = loop.guard.stop(loop.state, "a person said stop", loop.now)
    assert refusal(loop, constant([0.1, 0.1], loop.now)) == "latched"
    v, ticks = loop.state.v, 0
    while not loop.state.at_rest:
        assert loop.tick().mode is Mode.LATCHED
        ticks += 1
    slowest = (np.abs(v) / loop.guard.limits.acceleration).max()
    # And 10 ms each to build the deceleration up and down, and to take back what there was.
    assert ticks * loop.guard.dt <= slowest + 0.03 + 3 * loop.guard.dt
    resting = loop.state.q
    before = loop.now
    for _ in range(200):
        np.testing.assert_array_equal(loop.tick().position, resting)
        assert refusal(loop, constant([0.1, 0.1], loop.now)) == "latched"
    assert loop.state.why == "a person said stop"
    loop.reset()
    assert loop.state.mode is Mode.HOLD
    assert refusal(loop, constant([0.1, 0.1], max(before, loop.now - 0.1))) == "reset"
    np.testing.assert_array_equal(loop.tick().position, loop.state.q)
    loop.follow([0.1, 0.1], 2.0)
    assert loop.state.q == pytest.approx([0.1, 0.1], abs=1e-3)
    loop.obeys()


def test_a_reset_is_refused_while_moving(loop):
    moving(loop)
    with pytest.raises(GuardError, match="stop first"):
        loop.reset()
    loop.state = loop.guard.stop(loop.state, "why", loop.now)
    with pytest.raises(GuardError, match="still moving at"):
        loop.reset()


def test_a_reset_adopts_the_measured_position_but_of_a_joint_that_may_stall(loop):
    moving(loop)
    loop.state = loop.guard.stop(loop.state, "why", loop.now)
    loop.rest()
    loop.measured = np.array([-0.7, 0.3])
    interventions = loop.state.interventions
    stuck = {"measured": loop.measured, "elapsed": 0.005}
    loop.tick(**stuck)
    with pytest.raises(GuardError, match="while the robot moves"):
        loop.guard.reset(loop.state, np.array([-0.7, 0.3]), loop.now)
    for _ in range(30):
        loop.tick(**stuck)
        loop.measured = np.array([-0.7, 0.3])
    loop.reset()
    # The second joint has no tracking tolerance: a gripper must not let go in one leap.
    held = loop.commands[-1].position[1]
    np.testing.assert_array_equal(loop.tick().position, [-0.7, held])
    assert loop.state.interventions == interventions


@pytest.mark.parametrize("q", [[np.nan, 0.0], [0.0], [np.inf, 0.0]])
def test_it_starts_only_from_a_sound_measurement(q):
    with pytest.raises(GuardError, match="2 finite numbers"):
        Guard(make_robot()).start(np.array(q), 0.0)


def test_advice_is_kept_by_a_reset_and_may_be_a_word(loop):
    loop.state = loop.guard.advise(loop.state, "HOLD", "strange")
    loop.follow([0.3, 0.3], 0.2)
    assert loop.state.mode is Mode.HOLD
    assert not np.any(loop.state.q)
    loop.reset()
    loop.follow([0.3, 0.3], 0.2)
    assert loop.state.mode is Mode.HOLD
    with pytest.raises(GuardError, match="no advice"):
        loop.guard.advise(loop.state, "GO")


def test_a_tolerance_smaller_than_what_counts_as_following_is_no_dead_end():
    loop = Loop(Guard(make_robot(tolerance=(0.02, None))), [0.0, 0.0])
    for _ in range(200):
        loop.tick(measured=np.array([0.03, 0.0]))
    assert loop.state.q[0] == 0.03


def test_a_range_that_the_allowance_takes_up_is_refused():
    robot = load_robot("ur5e_2f85")
    narrow = {"elbow_joint": JointTightening(position=(3.13, 3.14))}
    with pytest.raises(RobotError, match=r"elbow_joint may move 0\.01 rad, of which"):
        Guard(tighten(robot, Tightening(joints=narrow)))


def test_a_measurement_from_the_future_is_none(loop):
    loop.ask([0.3, 0.3])
    loop.tick(age=-10.0)
    assert loop.state.mode is Mode.HOLD
    assert loop.state.why.startswith("joint_states")


def test_a_second_stop_keeps_the_first_reason(loop):
    state = loop.guard.stop(loop.state, "first", loop.now)
    assert loop.guard.stop(state, "second", loop.now).why == "first"


def test_a_reset_waits_for_a_robot_that_is_still_coming(loop):
    moving(loop)
    loop.state = loop.guard.stop(loop.state, "why", loop.now)
    loop.rest()
    with pytest.raises(GuardError, match="while the robot moves"):
        loop.guard.reset(loop.state, loop.state.q + np.array([0.03, 0.0]), loop.now)
    for _ in range(100):
        loop.tick()
    loop.reset()
    np.testing.assert_allclose(loop.state.q, loop.measured)
    loop.obeys()


# -- the workspace, and failures inside ------------------------------------------------------------

BOX = Workspace((-0.5, 0.5), (-9.0, 9.0), (-9.0, 9.0))
# The tool is 1 m from the axis of the first joint; the second one turns it on the spot.
BODY = """<mujoco><compiler angle="radian"/><worldbody><body>
  <joint name="joint_0" axis="0 0 -1"/><geom size=".01" pos="0 1 0" mass="1"/>
  <body pos="0 1 0"><joint name="joint_1" axis="0 0 1"/><geom size=".01" mass="1"/>
  <site name="tcp"/></body></body></worldbody></mujoco>"""


def boxed(q, box=BOX):
    return Loop(Guard(make_robot(workspace=box, model=BODY)), q)


def tool(q):
    return np.array([np.sin(q[0]), np.cos(q[0]), 0.0])


def test_the_tool_never_leaves_the_box_not_even_while_stopping():
    loop = boxed([0.0, 0.0])
    loop.follow([0.95, 0.2], 3.0)
    x = np.array([tool(c.position)[0] for c in loop.commands])
    assert x.max() <= 0.5
    assert x[-1] > 0.499
    assert loop.state.mode is Mode.NOMINAL
    hits = {(c.intervention.rule, c.intervention.what) for c in loop.commands if c.intervention}
    assert ("workspace", "tool x above 0.5 m") in hits
    assert loop.state.q[1] == pytest.approx(0.2, abs=1e-3), "along the wall it goes on"
    for state in (loop.state,):
        assert tool(state.stop.position(9.0))[0] <= 0.5
    loop.obeys()
    loop.follow([0.1, 0.2], 2.0)
    assert loop.state.q == pytest.approx([0.1, 0.2], abs=1e-3)


def test_a_tool_outside_the_box_may_only_come_back():
    loop = boxed([0.8, 0.0])
    loop.follow([0.9, 0.0], 0.5)
    assert loop.state.q[0] <= 0.8 + 1e-9
    loop.follow([0.1, 0.0], 2.0)
    assert loop.state.q == pytest.approx([0.1, 0.0], abs=1e-3)


def test_the_joints_of_the_model_are_those_of_the_robot():
    robot = load_robot("ur5e_2f85")
    swapped = (robot.joints[1], robot.joints[0], *robot.joints[2:])
    with pytest.raises(RobotError, match="first joints of ur5e_2f85 are shoulder_lift_joint, shou"):
        Guard(replace(robot, joints=swapped))


def test_limits_of_a_body_need_its_model():
    with pytest.raises(RobotError, match="no model"):
        Guard(make_robot(workspace=BOX))


@pytest.mark.parametrize("broken", ["raise", "nan"])
def test_broken_kinematics_lead_to_the_prepared_stop(broken, monkeypatch):
    loop = moving(boxed([-0.4, 0.0]))

    def kinematics(model, q):
        if broken == "raise":
            raise RuntimeError("singular")
        model.data.site_xpos[:] = np.nan

    monkeypatch.setattr(RobotModel, "place", kinematics)
    before = loop.state
    command = loop.tick()
    if broken == "raise":
        assert (command.mode, command.intervention.rule) == (Mode.HOLD, "failure")
    np.testing.assert_array_equal(
        command.position, before.stop.position(before.stopping + loop.guard.dt)
    )
    loop.rest()
    loop.obeys()


@pytest.mark.parametrize("wrong", [9.0, -9.0, np.nan, np.inf])
def test_a_wrong_motion_is_never_sent(loop, monkeypatch, wrong):
    moving(loop)

    def towards(motions, start, *_):
        motion = motions.stop(start)
        at = motion.at

        def broken(t):
            posture = at(t)
            return posture._replace(q=posture.q + np.array([0.0, wrong]))

        object.__setattr__(motion, "at", broken)
        return motion

    for way in ("towards", "to_velocity"):
        monkeypatch.setattr(Motions, way, towards)
    before = loop.state
    command = loop.tick()
    assert np.abs(command.position - before.q).max() < 0.1
    if abs(wrong) != 9.0:
        # Nothing that is no motion at all is gone round.
        assert (command.mode, command.intervention.rule) == (Mode.HOLD, "check")
    loop.rest()
    loop.obeys()


def test_a_chunk_that_fails_is_followed_by_the_prepared_stop(loop, monkeypatch):
    moving(loop)
    monkeypatch.setattr(Reference, "at", lambda *_: 1 / 0)
    command = loop.tick()
    assert command.intervention.rule == "failure"
    assert "ZeroDivisionError" in str(command.intervention)
    loop.rest()
    loop.obeys()


@pytest.mark.parametrize(
    ("q", "v", "a", "detail"),
    [
        (0.0111, 1.0, 0.0, "too fast"),
        (0.005, 2.1, 0.0, "too fast"),
        (0.0056, 1.0, 0.0, "too sharp"),
        (0.005, 1.0, 10.1, "too sharp"),
        (0.005, 1.0, 5.1, "too sudden"),
        (1.001, 1.0, 0.0, "above the limit"),
        (-1.001, 1.0, 0.0, "below the limit"),
        (np.nan, 1.0, 0.0, "not finite"),
    ],
)
def test_the_check_judges_on_its_own(q, v, a, detail):
    robot = make_robot()
    checker = Checker(robot.limits, robot.joint_names, 1 / 200)
    rest, step = np.zeros(2), np.array([1.0, 0.0])
    before = Posture(rest, step, rest)
    motions = Motions(robot.limits)
    fine = Posture(np.array([0.005, 0.0]), step, rest)
    stop = motions.stop(fine)
    assert checker.violation(before, step, fine, stop) is None
    wrong = Posture(np.array([q, 0.0]), np.array([v, 0.0]), np.array([a, 0.0]))
    violation = checker.violation(before, step, wrong, stop)
    assert detail in violation.detail
    assert violation.what == "joint_0"
    too_late = motions.stop(Posture(np.array([0.95, 0.0]), np.array([2.0, 0.0]), rest))
    assert "stop above" in checker.violation(before, step, fine, too_late).detail
