"""What a limit is: inequalities on the next joint velocity, and a judgement of a configuration."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.braking import stopping_speed
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.guard.records import Record
from bridle.deploy.robot import JointLimits

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Obstacle:
    """Something that moves, or a person, as a ball around it.

    Raises:
        ValueError: a number is not finite, or a radius or a speed negative.
    """

    position: tuple[float, float, float]
    """Of its centre, base frame [m]."""
    radius: float
    """[m]."""
    speed: float
    """Largest speed at which it may come [m/s]: 1.6 for a person whose speed is not measured."""

    def __post_init__(self) -> None:
        finite = len(self.position) == 3 and all(map(math.isfinite, self.position))
        if not finite or not 0 <= self.radius < math.inf or not 0 <= self.speed < math.inf:
            raise ValueError(f"no obstacle: {self.position}, {self.radius} m, {self.speed} m/s")


@dataclass(frozen=True, eq=False)
class Situation(Record):
    """Where the robot is; what several limits need is computed once."""

    q: Vector
    """Last command (n,) [rad]."""
    v: Vector
    """Its velocity (n,) [rad/s]."""
    a: Vector
    """Its acceleration (n,) [rad/s^2]."""
    wanted: Vector
    """Velocity that is asked for (n,) [rad/s]."""
    dt: float
    """Control period [s]."""
    latency: float
    """Time from a command to the motion it causes [s]."""
    limits: JointLimits
    model: RobotModel
    """In the configuration q."""
    obstacles: tuple[Obstacle, ...] = ()
    lower: Vector | None = None
    """Lower bounds of the distances of the geoms that are to be kept apart (P,) [m], if known."""
    build_up: float = 0.0
    """Time in which the acceleration goes from nothing to its limit, a / j [s]."""

    @property
    def delay(self) -> float:
        """T: from a measurement to the full deceleration that answers it [s]."""
        return self.dt + self.latency + self.build_up

    def reach(self, levers: Vector) -> Vector:
        """How much a distance may shrink while the robot comes to rest, at most (P,) [m].

        With the larger of the present and the wanted speed of each joint, a quarter more for
        what the limits make of it, for T and half the time it takes to brake.

        Args:
            levers: how fast each joint changes it at most (P, n) [m/rad].
        """
        speed = 1.25 * np.maximum(np.abs(self.v), np.abs(self.wanted))
        braking = float((speed / self.limits.acceleration).max())
        reach: Vector = (levers @ speed) * (self.delay + braking / 2)
        return reach

    def deceleration(self, gradients: Vector) -> Vector:
        """How fast rates of change g u can be taken back by braking along g.

        A velocity u = s g / |g| is braked with the same share of every joint's acceleration:
        the rate |g| s falls by |g| min_i(a_i |g| / |g_i|).

        Args:
            gradients: (m, n), each in some unit per rad.

        Returns:
            (m,) in that unit per s^2.
        """
        squares = np.einsum("mi,mi->m", gradients, gradients)
        shares = (np.abs(gradients) / self.limits.acceleration).max(axis=1)
        found: Vector = np.zeros(len(squares))
        np.divide(squares, shares, out=found, where=squares > 1e-24)
        return found

    def approach(self, gradients: Vector, distances: Vector) -> Vector:
        """Largest rates at which distances may shrink so that they are not used up (m,), per s.

        See `stopping_speed`. What is used up already has to grow, slowly: at the rate at which it
        would be made good in a fifth of a second.
        """
        left = np.maximum(distances, 0.0)
        allowed = stopping_speed(left, self.deceleration(gradients), self.delay)
        return np.where(distances < 0, distances / 0.2, allowed)


class Rows(NamedTuple):
    """matrix u <= bound for the velocity u (n,) [rad/s] of the next period."""

    matrix: Vector
    """(m, n)."""
    bound: Vector
    """(m,)."""
    names: tuple[str, ...]
    """What each row is about."""


class Excess(NamedTuple):
    """By how much a configuration breaks a limit, at worst."""

    what: str
    value: float
    bound: float
    unit: str
    by: float
    """Above 0 outside, in `unit`."""


class Limit:
    """One limit.

    `share`, `bounds` and `rows` shape a velocity, `acceleration` and `jerk` the way to it, `excess`
    judges what comes of it.
    """

    name: str
    soft: bool = False
    """Whether it may give way where it contradicts others."""

    def share(self, s: Situation) -> float:
        """Share of the velocity asked for that is allowed: slower along the same path."""
        return 1.0

    def acceleration(self, s: Situation) -> Vector | None:
        """Largest acceleration of each joint on the way to the next velocity (n,) [rad/s^2]."""
        return None

    def jerk(self, s: Situation) -> Vector | None:
        """Largest jerk of each joint on that way (n,) [rad/s^3]."""
        return None

    def bounds(self, s: Situation) -> tuple[Vector, Vector] | None:
        """Lowest and highest velocity of each joint, (n,) each [rad/s]."""
        return None

    def rows(self, s: Situation) -> Rows | None:
        """Inequalities over several joints."""
        return None

    def excess(self, model: RobotModel) -> Excess | None:
        """By how much the configuration of `model` breaks this limit, at worst; None if it has
        nothing to say of configurations.
        """
        return None
