"""Joint velocities."""

import numpy as np

from bridle.deploy.guard.limits.base import Limit, Situation, Vector


class VelocityLimit(Limit):
    """|u_i| <= v_max,i; the same share of all joints keeps the path's shape."""

    name = "velocity"

    def share(self, s: Situation) -> float:
        """1 / max_i(|w_i| / v_max,i), at most 1."""
        return 1.0 / max(1.0, float((np.abs(s.wanted) / s.limits.velocity).max()))

    def bounds(self, s: Situation) -> tuple[Vector, Vector]:
        """See the class."""
        return -s.limits.velocity, s.limits.velocity
