"""How joints that move together follow a reference, or meet it as early as they can."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.along import Along
from bridle.deploy.guard.braking import stopping_speed
from bridle.deploy.guard.motion import Motion, Motions, Posture
from bridle.deploy.guard.reference import Reference
from bridle.deploy.robot import JointLimits

Vector = NDArray[np.float64]

LOOKAHEAD = 0.025
"""The command is brought to where the reference will be after this time [s]."""
MEETINGS = 1.25 ** np.arange(5)
"""Multiples of it at which the reference is tried to be met."""
CATCH_UP = 0.025
"""Time constant with which the rest of an error to it dies out [s]."""
BEYOND = 1e-3
"""A reference further beyond a position limit than this is asked back by it [rad]."""
RESTS = 1e-6
"""A reference with less velocity and acceleration rests [rad/s, rad/s^2]: it is reached without
being passed."""
_LATE = 1 + 1e-6


class Bound(NamedTuple):
    """A limit that changed the motion."""

    rule: str
    what: str
    value: float
    bound: float
    unit: str


class Pursued(NamedTuple):
    """One way to go on."""

    posture: Posture | None
    """After one period; None where no motion was found."""
    mean: Vector
    """Velocity that leads to the meeting on average (m,) [rad/s]."""
    bound: Bound | None
    """The limit that keeps it from meeting the reference in time, if one does."""


class Pursuit:
    """Of some of the joints, which keep the shape of their path where they are in time."""

    def __init__(
        self, joints: slice, limits: JointLimits, names: tuple[str, ...], dt: float
    ) -> None:
        """Take which joints, the limits and names of all joints, and the control period [s]."""
        self.joints, self.names, self.dt = joints, names[joints], dt
        self.limits = limits[joints]
        self._motions = Motions(self.limits)
        self.lookahead = max(LOOKAHEAD, dt)
        """Time after which the reference is to be met [s]."""
        self._delay = dt + CATCH_UP + float((self.limits.acceleration / self.limits.jerk).max())
        self.meetings: list[float] = (self.lookahead * MEETINGS).tolist()
        """In how much time it may be met (K) [s]."""

    def __call__(
        self,
        before: Posture,
        reference: Reference,
        ahead: Posture,
        now: float,
        speed: float,
        acceleration: Vector,
        along: Along,
    ) -> Pursued:
        """One period with the reference, or towards the first meeting with it.

        Not on the fastest way to where the reference is now: that one comes late, again and again.

        Args:
            before: the last command of all joints.
            reference: what is asked for.
            ahead: of all joints, where that is at `lookahead` from now.
            now: when the period begins [s].
            speed: share of the velocity limits to be used.
            acceleration: of all joints (n,), no more than the limits [rad/s^2].
            along: a period with the reference. It may pass it a little, which is of no matter where
                it moves on.
        """
        before = Posture(*(each[self.joints] for each in before))
        sharpest = acceleration[self.joints]
        first = target = Posture(*(each[self.joints] for each in ahead))
        if (np.abs(first.v) + np.abs(first.a)).max() > RESTS:
            step = along.of(self.joints)
            if step is not None and self._motions.stays_inside(step):
                mean = self._mean(before, first, self.lookahead)
                return Pursued(step, mean, self._bound(before, first, late=False))
        motion: Motion | None = None
        for time in self.meetings:
            if time > self.lookahead:
                target = self._at(reference, now + time)
            motion = self._motions.towards(before, target, time, speed, sharpest)
            if motion is None or motion.duration <= time * _LATE or now + time >= reference.ends:
                break
            if motion.duration > self.meetings[-1]:
                break
        late = motion is None or motion.duration > time * _LATE
        if late:
            motion = self._chase(before, reference, now, speed, sharpest)
            target, time = first, self.lookahead
        posture = None if motion is None else motion.at(self.dt)
        bound = None if motion is None else self._bound(before, first, late=late)
        return Pursued(posture, self._mean(before, target, time), bound)

    def _mean(self, before: Posture, target: Posture, time: float) -> Vector:
        mean = (target.q - before.q) / time
        mean /= max(1.0, float((np.abs(mean) / self.limits.velocity).max()))
        return mean

    def _chase(
        self, before: Posture, reference: Reference, now: float, speed: float, acceleration: Vector
    ) -> Motion | None:
        """Towards the reference at the speed from which the rest of the way can be braked."""
        limits = self.limits
        there = self._at(reference, now)
        error = there.q - before.q
        distance = math.sqrt(error @ error)
        wanted = there.v
        if distance > 0:
            direction = error / distance
            available = 1.0 / float((np.abs(direction) / acceleration).max())
            wanted = wanted + direction * stopping_speed(distance, available, self._delay)
        # One factor for all joints: the direction is kept.
        wanted = wanted / max(1.0, float((np.abs(wanted) / (speed * limits.velocity)).max()))
        return self._motions.to_velocity(before, wanted, acceleration)

    def _at(self, reference: Reference, t: float) -> Posture:
        return Posture(*(each[self.joints] for each in reference.at(t)))

    def _bound(self, before: Posture, target: Posture, *, late: bool) -> Bound | None:
        """Which limit keeps the joints from the target."""
        limits, time = self.limits, self.lookahead
        for sign, edge in ((1.0, limits.position_max), (-1.0, limits.position_min)):
            beyond = sign * (target.q - edge)
            if (beyond > BEYOND).any():
                i = int(beyond.argmax())
                return Bound("position", self.names[i], float(target.q[i]), float(edge[i]), "rad")
        if not late:
            return None
        velocity = (target.q - before.q) / time
        acceleration = 2 * (velocity - before.v) / time
        jerk = 3 * (acceleration - before.a) / time
        kinds = (
            ("velocity", velocity, limits.velocity, "rad/s"),
            ("acceleration", acceleration, limits.acceleration, "rad/s^2"),
            ("jerk", jerk, limits.jerk, "rad/s^3"),
        )
        for rule, values, bounds, unit in kinds:
            shares = np.abs(values) / bounds
            i = int(shares.argmax())
            if shares[i] > 1 or rule == "jerk":
                return Bound(rule, self.names[i], float(values[i]), float(bounds[i]), unit)
        return None
