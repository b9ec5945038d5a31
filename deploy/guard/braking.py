"""How fast a joint may move towards a limit, and the stop that is ready before every command."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_MIN_TIME = 1e-9
_Real = TypeVar("_Real", float, Vector)


def stopping_speed(distance: _Real, deceleration: _Real, delay: float) -> _Real:
    """Largest speed from which a stop within `distance` is possible, `delay` later.

    With the deceleration a and the delay T, the largest v with v T + v^2 / 2a <= d:

        f(d) = -a T + sqrt((a T)^2 + 2 a d)

    It holds in discrete time, with steps q += v dt, as long as T >= dt / 2: a joint that moved
    at v <= f(d) and is now at the distance d - v dt may brake fully, v' = v - a dt, and again
    v' <= f(d - v dt). Proof: v - f(d - v dt) grows with v, so take y = v = f(d), x = f(d - y dt).
    Subtracting x^2 + 2aTx = 2a(d - y dt) from y^2 + 2aTy = 2ad gives, with D = y - x,

        D (2y - D + 2aT) = 2a y dt.

    The left side grows with D up to y + aT, and at D = a dt it is a dt (2y + a (2T - dt)), no less
    than the right side, hence D <= a dt; where a dt > y + aT, D <= y < a dt anyway. So the limits
    on acceleration and on position never contradict each other. With T >= dt also f(d) dt <= d:
    no step passes the limit.

    Args:
        distance: (n,) or scalar [rad], not negative.
        deceleration: same shape [rad/s^2].
        delay: T, the control period plus the latency of the actuator [s].

    Returns:
        Speed [rad/s], same shape.
    """
    lead = deceleration * delay
    speed: _Real = (lead * lead + 2 * deceleration * distance) ** 0.5 - lead
    return speed


@dataclass(frozen=True, eq=False)
class Stop:
    """A braking motion in closed form, per joint q(t) = q0 + v0 (t - t^2 / 2 tau) until t = tau.

    Constant deceleration |v0| / tau. All joints share the time of the one that needs longest, so
    that the path hardly bends, but for those that would pass their limit in that time.
    """

    start: Vector
    """q0 (n,) [rad]."""
    velocity: Vector
    """v0 (n,) [rad/s]."""
    times: Vector
    """tau (n,) [s]."""

    @classmethod
    def plan(
        cls, q: Vector, v: Vector, lower: Vector, upper: Vector, acceleration: Vector
    ) -> "Stop":
        """The stop from `q` at velocity `v`.

        tau_i = min(max_j |v_j| / a_j, 2 d_i / |v_i|), d_i the distance to the limit ahead. Wherever
        v_i^2 / 2 a_i <= d_i, which `stopping_speed` ensures, neither the limit nor a_i is exceeded.

        Args:
            q: (n,) [rad].
            v: (n,) [rad/s].
            lower, upper: position limits (n,) [rad].
            acceleration: (n,) [rad/s^2].
        """
        speed = np.abs(v)
        needed = speed / acceleration
        ahead = np.maximum(np.where(v > 0, upper - q, q - lower), 0.0)
        fitting = 2 * ahead / np.maximum(speed, _MIN_TIME)
        # Where rounding makes the two bounds cross, acceleration wins.
        times = np.maximum(np.minimum(needed.max(), fitting), needed)
        return cls(q, v, np.maximum(times, _MIN_TIME))

    @property
    def end(self) -> Vector:
        """Where the joints come to rest (n,) [rad]."""
        end: Vector = self.start + 0.5 * self.velocity * self.times
        return end

    def position(self, t: float) -> Vector:
        """Joint positions (n,) [rad], `t` seconds into the stop."""
        s = np.minimum(t, self.times)
        position: Vector = self.start + self.velocity * (s - s * s / (2 * self.times))
        return position
