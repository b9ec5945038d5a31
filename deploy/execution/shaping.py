"""From a reference to a velocity within the limits, keeping the shape of the path."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.braking import stopping_speed
from bridle.deploy.robot import JointLimits

Vector = NDArray[np.float64]

CATCH_UP = 0.025
"""Time constant with which a small error to the reference dies out [s]."""


class Bound(NamedTuple):
    """A limit that changed the velocity."""

    rule: str
    joint: int
    value: float
    bound: float
    unit: str


@dataclass(frozen=True, eq=False)
class Shaper:
    """Follows a reference as closely as the limits allow; see `velocity`."""

    limits: JointLimits
    dt: float
    """Control period [s]."""
    latency: float
    """Time from a command to the motion it causes [s]."""

    def velocity(
        self, q: Vector, v: Vector, position: Vector, velocity: Vector
    ) -> tuple[Vector, Bound | None]:
        """Velocity for the next period, and the limit that acted, if one did.

        1. The reference is moved to within the position limits.
        2. Wanted: the reference's velocity plus a velocity along the error u |e|, at the speed from
           which it can still stop within |e| with the acceleration available along u. The same
           function as in 4 gives that speed: near zero it is |e| / T, so it neither overshoots a
           reference at rest nor chatters around it.
        3. One factor for all joints brings it under the velocity limits, one the change of velocity
           under the acceleration limits: the direction is kept. The result lies between the old and
           the wanted velocity, so it exceeds no velocity limit.
        4. Per joint, the braking distance to the position limits: never faster than
           `stopping_speed`. It can always be met within the acceleration limit (proof there). A
           joint outside its limits may only move inwards.

        Args:
            q: last command (n,) [rad].
            v: its velocity (n,) [rad/s], itself a result of this function or 0.
            position: reference (n,) [rad].
            velocity: its velocity (n,) [rad/s].
        """
        limits = self.limits
        target = np.minimum(np.maximum(position, limits.position_min), limits.position_max)
        wanted = np.where(target == position, velocity, 0.0)
        error = target - q
        distance = math.sqrt(error @ error)
        if distance > 0:
            direction = error / distance
            available = 1.0 / float((np.abs(direction) / limits.acceleration).max())
            speed = stopping_speed(distance, available, max(CATCH_UP, self.dt))
            wanted = wanted + direction * speed

        speeds = np.abs(wanted) / limits.velocity
        fastest = speeds.max()
        asked = wanted
        if fastest > 1:
            wanted = wanted / fastest
        change = wanted - v
        largest = limits.acceleration * self.dt
        changes = np.abs(change) / largest
        sharpest = changes.max()
        shaped = v + change / sharpest if sharpest > 1 else wanted

        delay = self.dt + self.latency
        up = stopping_speed(np.maximum(limits.position_max - q, 0.0), limits.acceleration, delay)
        down = stopping_speed(np.maximum(q - limits.position_min, 0.0), limits.acceleration, delay)
        result = np.minimum(np.maximum(shaped, -down), up)

        bound = None
        if (target != position).any():
            i = int(np.abs(target - position).argmax())
            bound = Bound("position", i, float(position[i]), float(target[i]), "rad")
        elif (result != shaped).any():
            i = int(np.abs(result - shaped).argmax())
            bound = Bound("braking", i, float(shaped[i]), float(result[i]), "rad/s")
        elif fastest > 1:
            i = int(speeds.argmax())
            bound = Bound("velocity", i, float(asked[i]), float(limits.velocity[i]), "rad/s")
        elif sharpest > 1:
            i = int(changes.argmax())
            acceleration = float(change[i]) / self.dt
            bound = Bound("acceleration", i, acceleration, float(limits.acceleration[i]), "rad/s^2")
        return result, bound
