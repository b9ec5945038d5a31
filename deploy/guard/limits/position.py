"""Joint positions."""

import numpy as np

from bridle.deploy.guard.braking import stopping_speed
from bridle.deploy.guard.limits.base import Limit, Situation, Vector


class PositionLimit(Limit):
    """A joint moves towards a limit no faster than it can stop before it.

        -f(q - q_min) <= u <= f(q_max - q),   f(d) = -a T + sqrt((a T)^2 + 2 a d)

    with the joint's acceleration a and T = period + latency + build-up (proof: `stopping_speed`).
    A joint outside may only move inwards, or rest.
    """

    name = "position"

    def bounds(self, s: Situation) -> tuple[Vector, Vector]:
        """See the class."""
        limits = s.limits
        up, down = (
            stopping_speed(np.maximum(distance, 0.0), limits.acceleration, s.delay)
            for distance in (limits.position_max - s.q, s.q - limits.position_min)
        )
        return -down, up
