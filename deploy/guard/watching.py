"""What the guard sees of the robot, and what forbids to follow a chunk."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.chunks import FUTURE
from bridle.deploy.guard.state import GuardState, Intervention, Mode
from bridle.deploy.robot import RobotDescription, frozen

Vector = NDArray[np.float64]

FOLLOWING = 0.04
"""A robot that stands still further than this from its command does not follow it [rad]..."""
PATIENCE = 0.5
"""...once it has done so for this long [s]."""
STILL = 2e-3
"""A robot that has moved less than this stands still [rad]."""
SETTLED = 0.1
"""A robot that has not been seen to move for so long stands where it is [s]."""


class Watch:
    """Compares what is measured with what was commanded. Keeps no state of its own."""

    def __init__(self, robot: RobotDescription) -> None:
        """Take tolerances and watchdogs of a robot."""
        self._robot = robot
        self._tolerance = frozen(
            [
                math.inf if j.tracking_tolerance is None else j.tracking_tolerance
                for j in robot.joints
            ]
        )
        self._follows = np.isfinite(self._tolerance)
        close = np.minimum(self._tolerance, FOLLOWING)
        self._close = frozen(np.where(self._follows, close, math.inf))

    def stuck(self, state: GuardState, now: float) -> bool:
        """Whether the robot stands still away from its command, and has done so for a while."""
        return now - state.seen_at > PATIENCE

    def settled(self, state: GuardState, q_measured: Vector, now: float) -> bool:
        """Whether the robot stands, or is where it was commanded to a hair."""
        away = np.abs(q_measured - state.q) > np.where(np.isinf(self._tolerance), math.inf, STILL)
        return now - state.still_since >= SETTLED or not away.any()

    def where(self, state: GuardState, q_measured: Vector) -> Vector:
        """Where the robot is; a joint that stalls on what it holds keeps its command."""
        return np.where(np.isinf(self._tolerance), state.q, q_measured)

    def witness(self, state: GuardState, q_measured: Vector, now: float) -> GuardState:
        """Remember when the robot was last seen to move, or to be where it was commanded."""
        if q_measured.shape != state.q.shape:
            return state
        changes: dict[str, Any] = {}
        follows = self._follows
        if (np.abs(q_measured - state.still)[follows] > STILL).any():
            changes |= {"still": frozen(q_measured), "still_since": now}
        moved = follows & (np.abs(q_measured - state.seen) > STILL)
        close = (np.abs(q_measured - state.q) <= self._close).all()
        if state.joined is not None and close:
            left = follows & (np.abs(q_measured - state.joined) > FOLLOWING)
            if left.any():
                changes["joined"] = None
        if moved.any() or close:
            changes |= {"seen": frozen(q_measured), "seen_at": now}
        return state.but(**changes) if changes else state

    def cause(
        self, state: GuardState, q_measured: Vector, measured_at: float, now: float
    ) -> Intervention | None:
        """What forbids following the chunk."""
        watchdogs = self._robot.watchdogs
        age = now - measured_at
        if not -FUTURE <= age <= watchdogs.joint_states:
            return stopped("joint_states", "", age, watchdogs.joint_states, "s", "old")
        if q_measured.shape != state.q.shape or not np.isfinite(q_measured).all():
            return stopped("joint_states", "", math.nan, math.nan, "", "not n finite numbers")
        error = np.abs(state.q - q_measured)
        stays = self.stuck(state, now)
        tolerance = np.minimum(self._tolerance, self._close) if stays else self._tolerance
        if (error > tolerance).any():
            i = int((error / tolerance).argmax())
            where = "from where the robot stands still" if stays else "from the measured position"
            return stopped(
                "tracking", self._name(i), float(error[i]), float(tolerance[i]), "rad", where
            )
        age = 0.0 if state.chunk is None else now - state.chunk.observed_at
        if not age <= watchdogs.chunk:
            return stopped("chunk", "", age, watchdogs.chunk, "s", "since its observation")
        if self._robot.separation is not None:
            age, oldest = now - state.reported_at, self._robot.separation.max_age
            if not -FUTURE <= age <= oldest:
                return stopped("obstacles", "", age, oldest, "s", "since the last report")
        if state.advice.mode is Mode.HOLD:
            return stopped("familiarity", "", math.nan, math.nan, "", state.advice.why)
        return None

    def _name(self, joint: int) -> str:
        return self._robot.joints[joint].name


def stopped(
    rule: str, what: str, value: float, bound: float, unit: str, detail: str
) -> Intervention:
    """A reason to stop; how far that moves the command is not known yet."""
    return Intervention(rule, what, value, bound, unit, math.nan, detail)
