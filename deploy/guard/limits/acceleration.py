"""Joint accelerations."""

from bridle.deploy.guard.limits.base import Limit, Situation, Vector


class AccelerationLimit(Limit):
    """|d2q_i/dt2| <= a_max,i, all along the motion that carries a velocity out."""

    name = "acceleration"

    def acceleration(self, s: Situation) -> Vector:
        """See the class."""
        return s.limits.acceleration
