"""How fast something may move towards a limit."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_Real = TypeVar("_Real", float, Vector)


def stopping_speed(distance: _Real, deceleration: _Real, delay: float | Vector) -> _Real:
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
        delay: T, the control period plus the latency of the actuator [s], one for all or each.

    Returns:
        Speed [rad/s], same shape.
    """
    lead: Any = deceleration * delay
    speed: _Real = (lead * lead + 2 * deceleration * distance) ** 0.5 - lead
    return speed
