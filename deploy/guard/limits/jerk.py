"""Changes of the joint accelerations."""

from bridle.deploy.guard.limits.base import Limit, Situation, Vector


class JerkLimit(Limit):
    """|d3q_i/dt3| <= j_max,i, all along the motion that carries a velocity out.

    An acceleration a that is in the way takes a / j to be gone: so long a limit on velocities has
    to look further ahead (`Situation.delay`).
    """

    name = "jerk"

    def jerk(self, s: Situation) -> Vector:
        """See the class."""
        return s.limits.jerk
