"""Motions of all joints with bounded velocity, acceleration and jerk, in closed form (Ruckig)."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import ruckig
from numpy.typing import NDArray

from bridle.deploy.guard.braking import stopping_speed
from bridle.deploy.robot import JointLimits

Vector = NDArray[np.float64]

_SHARE = 0.999
"""Share of the limits that targets may use, so that rounding leaves every target reachable."""
EDGE = 1e-5
"""Targets stay this far from the position limits [rad], so that rounding does not pass them."""
_PIECES = 8
_TINY = 1e-6


class Posture(NamedTuple):
    """All joints at one instant."""

    q: Vector
    """(n,) [rad]."""
    v: Vector
    """(n,) [rad/s]."""
    a: Vector
    """(n,) [rad/s^2]."""


@dataclass(frozen=True, eq=False)
class Motion:
    """From one posture to another, of which every instant is known."""

    trajectory: ruckig.Trajectory
    """Never changed once it is calculated."""
    duration: float
    """[s]."""
    to_rest: bool
    """Whether it ends at rest, and stays there."""
    acceleration: Vector
    """No joint is accelerated by more (n,) [rad/s^2]."""

    def at(self, t: float) -> Posture:
        """The posture after `t` seconds."""
        if self.to_rest and t >= self.duration:
            q = self.position(self.duration)
            return Posture(q, np.zeros_like(q), np.zeros_like(q))
        return Posture(*(np.array(each) for each in self.trajectory.at_time(t)))

    def position(self, t: float) -> Vector:
        """Joint positions (n,) [rad] after `t` seconds."""
        return np.array(self.trajectory.at_time(min(t, self.duration))[0])

    def instants(self, times: Iterable[float]) -> tuple[Vector, Vector]:
        """Positions [rad] and velocities [rad/s] (K, n) after some times [s]."""
        found = [self.trajectory.at_time(min(t, self.duration)) for t in times]
        return np.array([each[0] for each in found]), np.array([each[1] for each in found])

    @cached_property
    def _sampled(self) -> tuple[Vector, Vector]:
        h = self.duration / _PIECES
        return self.instants(k * h for k in range(_PIECES + 1))

    @cached_property
    def range(self) -> tuple[Vector, Vector]:
        """Lowest and highest position of each joint on the way, (n,) each [rad]."""
        q, v = self._sampled
        # At rest, but for rounding, it may have turned round on the way there.
        v = np.where(np.abs(v) < 1e-9, 0.0, v)
        turns = self.turns(v[:-1], v[1:], self.duration / _PIECES).max(axis=0)
        return q.min(axis=0) - turns, q.max(axis=0) + turns

    @cached_property
    def fastest(self) -> Vector:
        """Largest speed of each joint on the way (n,) [rad/s], at one of nine instants."""
        fastest: Vector = np.abs(self._sampled[1]).max(axis=0)
        return fastest

    def turns(self, before: Vector, after: Vector, h: float | Vector) -> Vector:
        """How far beyond both ends of a piece a joint may get that turns round in it [rad].

        No further than by a h^2 / 8, nor than by its larger speed at the ends in the time h.

        Args:
            before: velocities where it begins (..., n) [rad/s].
            after: velocities where it ends.
            h: its duration [s], or (..., 1) of each.
        """
        faster = np.maximum(np.abs(before), np.abs(after))
        furthest = np.minimum(faster * h, self.acceleration * h * h / 8)
        return np.where(before * after <= 0, furthest, 0.0)


class Motions:
    """Plans motions for the limits of a robot. No memory: the same arguments, the same motion."""

    def __init__(self, limits: JointLimits) -> None:
        """Take the limits."""
        self.limits = limits
        n = limits.velocity.size
        self._otg = ruckig.Ruckig(n)
        self._to_position, self._to_velocity = (ruckig.InputParameter(n) for _ in range(2))
        self._to_velocity.control_interface = ruckig.ControlInterface.Velocity
        for each in (self._to_position, self._to_velocity):
            each.synchronization = ruckig.Synchronization.Phase
            each.max_velocity = limits.velocity
            each.max_acceleration = limits.acceleration
            each.max_jerk = limits.jerk
        edge = np.minimum(EDGE, (limits.position_max - limits.position_min) / 4)
        self._low, self._high = limits.position_min + edge, limits.position_max - edge
        self._build_up = limits.acceleration / limits.jerk

    def towards(
        self,
        start: Posture,
        target: Posture,
        at_least: float,
        speed: float = 1.0,
        acceleration: Vector | None = None,
    ) -> Motion | None:
        """The fastest motion to a posture, but one that takes no less than some time.

        Args:
            start: where it begins.
            target: where it ends: brought within the limits, and to a velocity that can be taken
                back before a position limit.
            at_least: [s].
            speed: share of the velocity limits to be used.
            acceleration: tighter than the limits (n,) [rad/s^2].
        """
        limits = self.limits
        sharpest = limits.acceleration if acceleration is None else acceleration
        most = limits.velocity * speed
        q = np.minimum(np.maximum(target.q, self._low), self._high)
        # One factor for all joints: the direction is kept.
        v = target.v / max(1.0, float((np.abs(target.v) / (_SHARE * most)).max()))
        # An acceleration that is taken back before it makes the joint too fast.
        room = 2 * limits.jerk * (most - np.abs(v))
        steepest = np.minimum(sharpest, np.sqrt(np.maximum(room, 0.0))) * _SHARE
        a = np.minimum(np.maximum(target.a, -steepest), steepest)
        if not self.stays_inside(Posture(q, v, a)):
            ahead = np.where(v > 0, self._high - q, q - self._low)
            fits = stopping_speed(np.maximum(ahead, 0.0), limits.acceleration, self._build_up)
            slower = np.minimum(np.maximum(v, -fits), fits)
            a = np.where(slower == v, a, 0.0)
            v = slower
        given = self._to_position
        given.current_position, given.current_velocity, given.current_acceleration = start
        given.target_position, given.target_velocity, given.target_acceleration = q, v, a
        given.minimum_duration = at_least
        given.max_velocity, given.max_acceleration = most, sharpest
        return self._calculated(given)

    def stays_inside(self, posture: Posture) -> bool:
        """Whether a stop from there is within the limits of position."""
        q, v, a = posture
        # No stop takes more: the acceleration is taken back, and then the speed.
        slower = np.abs(v) + self._build_up * np.abs(a) / 2
        later = slower * (2 * self._build_up + slower / (2 * self.limits.acceleration))
        if (q - later >= self._low).all() and (q + later <= self._high).all():
            return True
        stop = self.stop(posture, together=False)
        if stop is None:
            return False
        low, high = stop.range
        return bool((low >= self._low).all() and (high <= self._high).all())

    def to_velocity(
        self, start: Posture, velocity: Vector, acceleration: Vector | None = None
    ) -> Motion | None:
        """The fastest motion to a velocity (n,) [rad/s], within the limits of velocity."""
        given = self._to_velocity
        given.max_velocity = self.limits.velocity
        given.max_acceleration = self.limits.acceleration if acceleration is None else acceleration
        given.synchronization = ruckig.Synchronization.Phase
        given.current_position, given.current_velocity, given.current_acceleration = start
        given.target_velocity = velocity
        return self._calculated(given)

    def stop(self, start: Posture, *, together: bool = True) -> Motion | None:
        """The fastest motion to rest.

        Args:
            start: where it begins.
            together: all joints take the time of the slowest, so that the path hardly bends;
                otherwise each stops as soon as it can.
        """
        given = self._to_velocity
        given.max_velocity = self.limits.velocity
        kinds = ruckig.Synchronization
        given.synchronization = kinds.Phase if together else kinds.No
        given.max_acceleration = self.limits.acceleration
        given.current_position, given.current_velocity, given.current_acceleration = start
        given.target_velocity = np.zeros_like(start.q)
        return self._calculated(given, to_rest=True)

    def _calculated(self, given: ruckig.InputParameter, *, to_rest: bool = False) -> Motion | None:
        trajectory = ruckig.Trajectory(self._otg.degrees_of_freedom)
        for _ in range(2):
            try:
                result = self._otg.calculate(given, trajectory)
            except ruckig.RuckigError:
                # A joint at its largest velocity, to the last digit, is at an edge of its sums.
                given.max_velocity = np.array(given.max_velocity) * (1 - _TINY)
                continue
            if result not in (ruckig.Result.Working, ruckig.Result.Finished):
                return None
            return Motion(trajectory, trajectory.duration, to_rest, self.limits.acceleration)
        return None
