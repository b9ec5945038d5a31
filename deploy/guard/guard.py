"""The guard: chunks and measurements in, commands within hard limits out."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.chunks import FUTURE, ActionChunk, ChunkRefused
from bridle.deploy.guard.check import Violation
from bridle.deploy.guard.following import Follower
from bridle.deploy.guard.limits import Obstacle
from bridle.deploy.guard.motion import Posture
from bridle.deploy.guard.pursuit import Bound
from bridle.deploy.guard.reference import Reference
from bridle.deploy.guard.state import Advice, Command, GuardError, GuardState, Intervention, Mode
from bridle.deploy.guard.watching import Watch, stopped
from bridle.deploy.robot import RobotDescription, frozen

Vector = NDArray[np.float64]

NOTICEABLE = 5e-3
"""A command further than this from what the chunk asked for counts as an intervention [rad]."""


class Guard:
    """Keeps every command inside the limits of a robot, whatever the policy sends.

    Call `tick` once per control period and send each command it returns. A tick always advances
    the command by one nominal period, however much time really passed: so the sequence obeys the
    limits at the nominal rate, and a late tick moves the robot slower, never faster. What is lost
    is caught up, within the limits, because the reference runs on real time. Ticks that were missed
    must not be made up for in a burst.

    Nothing here keeps state: functions take a `GuardState` and return the next one.
    """

    def __init__(self, robot: RobotDescription, *, keep_path: bool = False) -> None:
        """Prepare for a robot.

        Args:
            robot: its joints, its body, limits, rates and watchdogs; what a task adds to the limits
                (`tighten`) is in it.
            keep_path: where a barrier bends the motion, bend the tool's path as little as can be,
                rather than that of the joints.

        Raises:
            RobotError: it has limits of its body, and no model of it.
            KinematicsError: the model does not fit its joints.
        """
        self.robot, self.limits = robot, robot.limits
        self.dt = 1.0 / robot.rates.command
        self._watch = Watch(robot)
        self._follower = Follower(robot, keep_path=keep_path)

    def start(self, q_measured: Vector, now: float) -> GuardState:
        """At rest where the robot is, in HOLD until the first chunk.

        Args:
            q_measured: joint positions (n,) [rad]; one outside its limits may only move inwards.
            now: monotonic time [s].

        Raises:
            GuardError: not n finite numbers.
        """
        q = frozen(q_measured)
        if q.shape != self.limits.velocity.shape or not np.isfinite(q).all():
            n = self.limits.velocity.size
            raise GuardError(f"the measured position must be {n} finite numbers, got {q.tolist()}")
        rest = frozen(np.zeros_like(q))
        posture = Posture(q, rest, rest)
        return GuardState(
            mode=Mode.HOLD,
            why="waiting for the first chunk",
            since=now,
            posture=posture,
            step=rest,
            stop=self._follower.stop(posture),
            stopping=0.0,
            reference=None,
            chunk=None,
            started_at=now,
            observed_at=-math.inf,
            seen=q,
            seen_at=now,
            still=q,
            still_since=now,
        )

    def accept(self, state: GuardState, chunk: ActionChunk, now: float) -> GuardState:
        """Take over a new chunk.

        Raises:
            ChunkRefused: rule `latched`, `joints`, `range` (so far outside the position limits
                that the unit must be wrong), `future`, `age`, `reset` (observed before the last
                start or reset) or `order` (not newer than the last one accepted).
        """
        if state.mode is Mode.LATCHED:
            raise ChunkRefused("latched", f"stopped ({state.why}) until a reset")
        n = self.limits.velocity.size
        if chunk.positions.shape[1] != n:
            raise ChunkRefused("joints", f"{chunk.positions.shape[1]} joints, the robot has {n}")
        limits = self.limits
        reach = limits.position_max - limits.position_min
        outside = np.maximum(
            limits.position_min - chunk.positions, chunk.positions - limits.position_max
        )
        if (outside > reach).any():
            point, i = (int(k) for k in np.argwhere(outside > reach)[0])
            name, value = self.robot.joints[i].name, chunk.positions[point, i]
            low, high = limits.position_min[i], limits.position_max[i]
            raise ChunkRefused(
                "range",
                f"{name} at {value:.4g} rad, its limits are {low:.4g}, {high:.4g}: wrong unit?",
            )
        age, oldest = now - chunk.observed_at, self.robot.watchdogs.chunk_arrival
        if age < -FUTURE:
            raise ChunkRefused("future", f"observed {-age:.3f} s from now")
        if not age <= oldest:
            raise ChunkRefused("age", f"observed {age:.3f} s ago, at most {oldest:g} s is allowed")
        if chunk.observed_at < state.started_at:
            before = state.started_at - chunk.observed_at
            raise ChunkRefused("reset", f"observed {before:.3f} s before the last start or reset")
        if chunk.observed_at <= state.observed_at:
            before = state.observed_at - chunk.observed_at
            raise ChunkRefused("order", f"observed {before:.3f} s before the last chunk accepted")
        return state.but(
            chunk=chunk,
            reference=Reference.of(chunk, self._follower.limits_at(state.posture), state.chunk),
            observed_at=chunk.observed_at,
            accepted=state.accepted + 1,
        )

    def advise(
        self, state: GuardState, mode: Mode, why: str = "", speed: float = 1.0
    ) -> GuardState:
        """Take what the guardian of the policy says of its newest chunk; it counts until the next.

        Args:
            state: the present one.
            mode: NOMINAL, CAUTION or HOLD.
            why: one sentence.
            speed: share of the velocity limits to be used at CAUTION.

        Raises:
            GuardError: another mode, or no share in (0, 1].
        """
        if mode not in (Mode.NOMINAL, Mode.CAUTION, Mode.HOLD) or not 0 < speed <= 1:
            raise GuardError(f"no advice: {mode}, speed {speed}")
        return state.but(advice=Advice(Mode(mode), speed, why))

    def see(self, state: GuardState, obstacles: Sequence[Obstacle], now: float) -> GuardState:
        """Take a report of everything that moves around the robot.

        Args:
            state: the present one.
            obstacles: all of them; none is a report too.
            now: monotonic time of the report [s].
        """
        return state.but(obstacles=tuple(obstacles), reported_at=now)

    def tick(
        self, state: GuardState, q_measured: Vector, measured_at: float, now: float
    ) -> tuple[GuardState, Command]:
        """The command for the next control period. Never raises for anything measured or planned.

        Args:
            state: the state after the last tick.
            q_measured: newest measured joint positions (n,) [rad].
            measured_at: monotonic time of their arrival [s].
            now: monotonic time [s].
        """
        try:
            state = self._watch.witness(state, q_measured, now)
            if state.mode is Mode.LATCHED:
                return self._brake(state, None)
            outcome = self._advance(state, q_measured, measured_at, now)
        except Exception as error:
            # Whatever went wrong, the stop that was prepared before needs none of it.
            detail = f"{type(error).__name__}: {error}"
            outcome = stopped("failure", "", math.nan, math.nan, "", detail)
            if state.mode is Mode.LATCHED:
                return self._brake(state, outcome)
        if isinstance(outcome, Intervention):
            return self._hold(state, outcome, q_measured, now)
        return outcome

    def stop(self, state: GuardState, why: str, now: float) -> GuardState:
        """Brake to rest and stay there until a reset.

        Args:
            state: the state after the last tick.
            why: who or what asked for it.
            now: monotonic time [s].
        """
        if state.mode is Mode.LATCHED:
            return state
        return state.but(mode=Mode.LATCHED, why=why, since=now, chunk=None, reference=None)

    def reset(self, state: GuardState, q_measured: Vector, now: float) -> GuardState:
        """Start anew where the robot is; chunks observed before are void. The counters go on.

        A joint without a tracking tolerance (a gripper on an object) keeps its command. The robot
        has to stand still: the command must not leap to where a servo that lags is just now.

        Raises:
            GuardError: still moving or following a chunk, or not n finite numbers.
        """
        if state.mode in (Mode.NOMINAL, Mode.CAUTION):
            raise GuardError("no reset while a chunk is followed: stop first")
        if not state.at_rest:
            fastest = float(np.abs(state.v).max())
            raise GuardError(f"no reset while braking: still moving at {fastest:.3f} rad/s")
        measured = np.asarray(q_measured, np.float64)
        if measured.shape == state.q.shape:
            if not self._watch.settled(state, measured, now):
                raise GuardError("no reset while the robot moves")
            measured = self._watch.where(state, measured)
        return self.start(measured, now).but(
            why="waiting for a chunk after the reset",
            obstacles=state.obstacles,
            reported_at=state.reported_at,
            advice=state.advice,
            accepted=state.accepted,
            interventions=state.interventions,
            holds=state.holds,
        )

    def _advance(
        self, state: GuardState, q_measured: Vector, measured_at: float, now: float
    ) -> tuple[GuardState, Command] | Intervention:
        """The next step, or why there has to be a stop."""
        cause = self._watch.cause(state, q_measured, measured_at, now)
        if cause is not None:
            return cause
        # A hold is carried through to rest, so that whoever stands there sees it for what it is.
        if state.reference is None or (state.mode is Mode.HOLD and not state.at_rest):
            return self._brake(state, None)
        return self._follow(state, state.reference, now)

    def _follow(
        self, state: GuardState, reference: Reference, now: float
    ) -> tuple[GuardState, Command] | Intervention:
        """One judged step along the chunk, or what is wrong with it."""
        cautious = state.advice.mode is Mode.CAUTION
        age = max(0.0, now - state.reported_at)
        step = self._follower.advance(
            state.posture,
            state.step,
            state.stop,
            state.stopping,
            reference,
            now,
            speed=state.advice.speed if cautious else 1.0,
            # What was seen then may have come nearer since.
            obstacles=[replace(o, radius=o.radius + age * o.speed) for o in state.obstacles],
        )
        if isinstance(step, Violation):
            return stopped(*step)
        posture = _sealed(step.posture)
        mean = (posture.q - state.q) / self.dt
        mean.setflags(write=False)
        intervention = None
        if step.bound is not None:
            wanted, _, _ = reference.at(now + self.dt)
            intervention = _bent(step.bound, float(np.abs(wanted - posture.q).max()))
        mode = Mode.CAUTION if cautious else Mode.NOMINAL
        state = state.but(
            mode=mode,
            why=state.advice.why if cautious else "",
            since=state.since if state.mode is mode else now,
            posture=posture,
            step=mean,
            stop=step.stop,
            stopping=step.stopping,
            interventions=state.interventions + (intervention is not None),
        )
        return state, Command(posture.q, mean, mode, intervention)

    def _hold(
        self, state: GuardState, cause: Intervention, q_measured: Vector, now: float
    ) -> tuple[GuardState, Command]:
        """Carry out the stop; the chunk is void, recovery takes one that arrives later.

        A robot that stands still away from its command will not come to it by itself, and must not
        leap to it later: at rest, the command goes to the robot. One that then does not follow it
        away from there either has stopped by itself, sinks, or is pushed: like one that stands
        outside its limits, it needs a person.
        """
        reference, entered = state.reference, state.mode in (Mode.NOMINAL, Mode.CAUTION)
        if cause.rule == "tracking" and state.at_rest and self._watch.stuck(state, now):
            state, why = self._join(state, self._watch.where(state, q_measured))
            if why:
                latched = self.stop(state, why, now)
                latched = latched.but(interventions=state.interventions + 1)
                return self._brake(latched, cause)
        state = state.but(
            mode=Mode.HOLD,
            why=str(cause),
            since=now if entered else state.since,
            chunk=None,
            reference=None,
            interventions=state.interventions + 1,
            holds=state.holds + entered,
        )
        state, command = self._brake(state, cause)
        moved = 0.0
        if cause.rule == "failure":
            # Its cause may be the chunk itself, which is better not asked again.
            moved = math.nan
        elif reference is not None:
            wanted, _, _ = reference.at(now + self.dt)
            moved = float(np.abs(wanted - command.position).max())
        return state, replace(command, intervention=replace(cause, moved=moved))

    def _join(self, state: GuardState, there: Vector) -> tuple[GuardState, str]:
        """The command goes to where the robot stands (n,) [rad]; why that needs a person, if so."""
        outside = self._follower.standing(state.posture, there)
        if outside is not None:
            return state, f"the robot stands outside its limits: {stopped(*outside)}"
        why = "" if state.joined is None else "the robot does not follow its commands"
        posture = _sealed(state.posture._replace(q=there))
        stop = self._follower.stop(posture)
        return state.but(posture=posture, stop=stop, stopping=0.0, joined=there), why

    def _brake(self, state: GuardState, cause: Intervention | None) -> tuple[GuardState, Command]:
        """The next step of the stored stop."""
        stopping = state.stopping + self.dt
        posture = _sealed(state.stop.at(stopping))
        mean = (posture.q - state.q) / self.dt
        mean.setflags(write=False)
        state = state.but(posture=posture, step=mean, stopping=stopping)
        return state, Command(posture.q, mean, state.mode, cause)


def _sealed(posture: Posture) -> Posture:
    """The same arrays, read-only: states share them."""
    for array in posture:
        array.setflags(write=False)
    return posture


def _bent(bound: Bound, moved: float) -> Intervention | None:
    """An intervention, where the command is not where the chunk wants it."""
    return Intervention(*bound, moved) if moved > NOTICEABLE else None
