"""What a guardian does to the robot: slower at CAUTION, at rest at HOLD, on again by itself."""

import numpy as np
import pytest

from bridle.deploy.exceptions import BundleError
from bridle.deploy.execution import ExecutionConfig
from bridle.deploy.familiarity.alarm import Assessment, Level
from bridle.deploy.familiarity.guardian import Guardian, GuardianState
from bridle.deploy.familiarity.watching import Watcher, retimed
from bridle.deploy.rehearsal import Rehearsal, RehearsalConfig
from bridle.deploy.robot import load_robot
from bridle.deploy.runtime import Runtime
from bridle.deploy.serving import PolicyServer
from bridle.deploy.steering import SteeringConfig

from .familiar import calibrated_copy
from .test_rehearsal import Follower
from .test_serving import HOME, Clock, observation

DT, PERIOD = 0.05, 0.4
NOMINAL, CAUTION, HOLD = Level.NOMINAL, Level.CAUTION, Level.HOLD
SPEED = {NOMINAL: 1.0, CAUTION: 0.5, HOLD: 0.0}
ARM = slice(0, 6)


class Scripted:
    """A guardian that says one level after the other, the last one for ever."""

    def __init__(self, *levels: Level) -> None:
        self.levels, self.states = list(levels), []

    def warm_up(self) -> None:
        pass

    def assess(self, state, planned):
        self.states.append(state)
        level = self.levels.pop(0) if len(self.levels) > 1 else self.levels[0]
        return GuardianState(planned), Assessment(level, SPEED[level], {}, f"it is {level}")


class Driven:
    """A robot that does what it is sent, each inference taking `delay` [s]."""

    def __init__(self, bundle, *levels, strategy="replace", delay=0.1, **settings) -> None:
        self.clock, self.delay = Clock(), delay
        self.guardian = Scripted(*levels)
        self.server = PolicyServer(
            bundle,
            Runtime(bundle),
            seed=0,
            steering=SteeringConfig(),
            execution=ExecutionConfig(strategy),
            guardian=self.guardian,
            clock=self.clock,
            **settings,
        )
        self.chunks, self.start = [], 100.0
        self.path = [HOME]
        """Commands of every 5 ms."""

    def plan(self):
        """Go on for one period, and plan from the observation at its beginning."""
        self.server.observe(observation(self.start, self.path[-1]))
        self.clock.now = self.start + self.delay
        self.chunks.append(self.server.plan())
        for t in np.arange(1, round(PERIOD / 0.005) + 1) * 0.005:
            late = t <= self.delay
            self.path.append(self._at(t + PERIOD if late else t, -2 if late else -1))
        self.start += PERIOD
        return self.chunks[-1]

    def _at(self, t, which):
        if len(self.chunks) < -which:
            return HOME
        chunk = self.chunks[which]
        return np.array([np.interp(t, chunk.times, column) for column in chunk.positions.T])

    def fastest(self):
        """Largest speed of a joint of the arm [rad/s]."""
        return np.abs(np.diff(np.array(self.path)[:, ARM], axis=0)).max() / 0.005


def speed(chunk, since, until):
    """Length of the path of a chunk between two times, per second [rad/s]."""
    times = np.linspace(since, until, 50)
    path = np.array([np.interp(times, chunk.times, c) for c in chunk.positions.T[ARM]])
    return np.abs(np.diff(path, axis=1)).sum() / (until - since)


@pytest.mark.parametrize("strategy", ["replace", "blend", "ensemble", "rtc"])
def test_caution_slows_the_chunk_that_raised_it_from_where_it_takes_over(bundle, strategy):
    usual = Driven(bundle, NOMINAL, strategy=strategy)
    wary = Driven(bundle, NOMINAL, NOMINAL, CAUTION, strategy=strategy)
    for _ in range(3):
        a, b = usual.plan(), wary.plan()
    assert b.assessment.level is CAUTION
    # The same chunk of the same noise, half as fast: up to the seam both are already executed.
    assert np.allclose(a.positions[0], b.positions[0])
    assert b.times[-1] > 1.6 * a.times[-1]
    assert speed(b, 0.3, 0.7) < 0.75 * speed(a, 0.2, 0.4)
    assert np.abs(np.array(usual.path) - wary.path)[:170].max() == 0


def test_no_change_of_level_makes_the_commands_jump(bundle):
    levels = [NOMINAL, CAUTION, CAUTION, NOMINAL, HOLD, HOLD, CAUTION, NOMINAL, HOLD, NOMINAL]
    robot = Driven(bundle, *levels)
    for _ in range(14):
        robot.plan()
    limits = load_robot("ur5e_2f85").limits
    velocity = np.diff(np.array(robot.path), axis=0) / 0.005
    assert (np.abs(velocity) <= limits.velocity + 1e-6).all()
    # Between the points of a chunk commands are linear: they bend once a control step.
    bend = np.abs(np.diff(velocity[::10], axis=0)) / DT
    assert (bend <= limits.acceleration * 1.01 + 1e-6).all()


def test_caution_halves_the_pace_of_the_next_chunks_until_it_is_over(bundle):
    robot = Driven(bundle, NOMINAL, CAUTION, CAUTION, NOMINAL, delay=0.0)
    lasting = [robot.plan().times[-1] for _ in range(6)]
    rows = 0.75  # from the first to the last of 16
    assert lasting[0] == pytest.approx(rows, abs=0.25)
    # The chunk that raises it is slower from its first step on, or from the second.
    assert lasting[1] == pytest.approx(2 * rows, abs=0.3)
    assert lasting[2] == pytest.approx(2 * rows, abs=0.3)
    assert lasting[3:] == pytest.approx([rows] * 3, abs=0.3)
    planned = [state.before for state in robot.guardian.states[1:]]
    assert [p.spacing for p in planned] == pytest.approx([DT, DT, 2 * DT, 2 * DT, DT])


def test_caution_is_never_slower_than_the_slowest_pace(bundle):
    robot = Driven(bundle, CAUTION)
    robot.server.steering = robot.server.steering.paced(0.15)
    robot.plan()
    robot.plan()
    assert robot.guardian.states[1].before.spacing == pytest.approx(DT / 0.15)
    robot.plan()
    assert robot.guardian.states[2].before.spacing == pytest.approx(
        DT / robot.server.steering.config.min_pace
    )


def test_at_hold_the_robot_brakes_within_its_limits_and_stays(bundle):
    robot = Driven(bundle, NOMINAL, NOMINAL, HOLD)
    for _ in range(2):
        robot.plan()
    assert robot.fastest() > 0.05
    stopping = robot.plan()
    assert (stopping.assessment.level, stopping.assessment.why) == (HOLD, "it is HOLD")
    slowest = load_robot("ur5e_2f85").limits.acceleration.min()
    assert stopping.times[-1] < robot.delay + robot.fastest() / slowest + 3 * DT
    rest = stopping.positions[-1]
    held = [robot.plan() for _ in range(5)]
    for chunk in held:
        assert chunk.assessment.level is HOLD
        assert np.array_equal(chunk.positions, np.broadcast_to(rest, chunk.positions.shape))
    assert np.isnan([chunk.seam for chunk in held]).all()


def test_while_held_each_plan_is_judged_without_the_one_before(bundle):
    robot = Driven(bundle, NOMINAL, HOLD, HOLD, NOMINAL, NOMINAL)
    for _ in range(5):
        robot.plan()
    known = [state.before is not None for state in robot.guardian.states]
    # The first has none. What was held was not done, so what follows cannot contradict it.
    assert known == [False, True, False, False, True]


def test_a_held_robot_goes_on_by_itself_from_where_it_rests(bundle):
    robot = Driven(bundle, NOMINAL, HOLD, HOLD, NOMINAL)
    for _ in range(3):
        robot.plan()
    rest = robot.path[-1]
    again = robot.plan()
    assert np.allclose(again.positions[0], rest)
    assert np.isnan(again.seam)
    assert np.ptp(again.positions, axis=0).max() > 0.01
    assert np.isfinite(robot.plan().seam)


def test_a_new_episode_begins_without_a_past(bundle):
    robot = Driven(bundle, CAUTION, HOLD, NOMINAL)
    for _ in range(2):
        robot.plan()
    robot.server.clear()
    chunk = robot.plan()
    assert robot.guardian.states[-1].before is None
    assert np.abs(chunk.positions[-1] - chunk.positions[0]).max() > 0.01
    assert chunk.times[-1] == pytest.approx(0.75, abs=0.25)


def test_what_is_issued_again_is_not_assessed_again(bundle):
    robot = Driven(bundle, NOMINAL)
    robot.plan()
    robot.server.observe(observation(robot.start, robot.path[-1]))
    assert robot.server.reissue().assessment is None
    assert len(robot.guardian.states) == 1


def test_a_listener_hears_of_every_chunk_also_of_those_that_are_held(bundle):
    heard = []
    robot = Driven(bundle, NOMINAL, HOLD, listener=heard.append)
    for _ in range(4):
        robot.plan()
    assert [p.time for p in heard] == pytest.approx([100.0, 100.4, 100.8, 101.2])
    assert robot.guardian.states[1].before is heard[0]


def test_without_a_guardian_nothing_is_said():
    assert Watcher()(object()) is None


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_times_are_changed_after_the_seam_alone(factor):
    times = 0.05 * np.arange(16)
    found = retimed(times, 0.12, factor)
    before = times <= 0.12
    assert np.array_equal(found[before], times[before])
    assert np.allclose(found[~before] - 0.12, (times[~before] - 0.12) / factor)
    assert (np.diff(found) > 0).all()


# -- in a rehearsal ------------------------------------------------------------------------------


def rehearse(bundle, **settings):
    robot = Follower()
    config = RehearsalConfig(ExecutionConfig("replace"), delay=1, **settings)
    return Rehearsal(bundle, config).run(robot, 0), robot


def test_a_rehearsal_heeds_a_calibration_if_it_is_told_to(bundle, tmp_path):
    strict = calibrated_copy(bundle, tmp_path / "strict", "support", "residual")
    episode, robot = rehearse(strict, heeded=True)
    assert {chunk.assessment.level for chunk in episode.chunks} == {HOLD}
    assert "residual" in episode.chunks[0].assessment.why
    assert np.allclose(robot.commands, robot.commands[0], atol=1e-9)
    assert (episode.holds, episode.refused) == (0, 0)
    episode, robot = rehearse(strict)
    assert episode.chunks[0].assessment is None
    assert np.abs(robot.commands[-1] - robot.commands[0]).max() > 0.02


def test_what_is_familiar_is_executed_as_if_nobody_watched(bundle, tmp_path):
    tolerant = calibrated_copy(bundle, tmp_path / "tolerant")
    watched, alone = rehearse(tolerant, heeded=True)[1], rehearse(tolerant)[1]
    assert np.array_equal(watched.commands, alone.commands)


def test_a_cautious_robot_takes_twice_as_long(bundle, tmp_path):
    wary = calibrated_copy(bundle, tmp_path / "wary", "support")
    lasting = [
        np.median([chunk.times[-1] for chunk in rehearse(wary, heeded=heeded)[0].chunks])
        for heeded in (True, False)
    ]
    assert 1.6 < lasting[0] / lasting[1] < 2.4


def test_only_what_is_calibrated_for_the_strategy_can_be_heeded(bundle, tmp_path):
    with pytest.raises(BundleError, match="is not calibrated"):
        rehearse(bundle, heeded=True)
    other = calibrated_copy(bundle, tmp_path / "other", strategy="rtc")
    with pytest.raises(BundleError, match=r"calibrated for strategy rtc, not replace; serve it"):
        rehearse(other, heeded=True)


@pytest.mark.parametrize(("delay", "said"), [(0, ""), (1, ""), (2, "takes 2 control steps")])
def test_an_inference_that_takes_longer_than_calibrated_is_pointed_out(
    bundle, tmp_path, delay, said
):
    calibrated = calibrated_copy(bundle, tmp_path / "calibrated", delay=1)
    robot = Driven(bundle, NOMINAL, delay=delay * DT)
    for _ in range(6):
        robot.plan()
    guardian = Guardian(calibrated, Runtime(calibrated), ExecutionConfig("replace"))
    found = guardian.overdue(robot.server.delay_steps)
    assert said in found
    assert bool(said) == bool(found)
