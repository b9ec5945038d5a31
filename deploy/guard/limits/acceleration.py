"""Joint accelerations."""

from bridle.deploy.guard.limits.base import Limit, Situation, Vector


class AccelerationLimit(Limit):
    """|u_i - v_i| <= a_max,i dt."""

    name = "acceleration"

    def bounds(self, s: Situation) -> tuple[Vector, Vector]:
        """See the class."""
        reach = s.limits.acceleration * s.dt
        return s.v - reach, s.v + reach
