"""Changes of the joint accelerations."""

import numpy as np

from bridle.deploy.guard.limits.base import Limit, Situation, Vector
from bridle.deploy.robot import RobotError, frozen


class JerkLimit(Limit):
    """|(u_i - v_i)/dt - a_i| <= j_max,i dt, with the acceleration a_i of the last period.

    So that the acceleration can come back to zero before it carries the velocity past its limit,
    towards that limit it is at most alpha with

        alpha^2 / 2j + alpha dt / 2 + j dt^2 / 8 <= v_max,i - |v_i|:

    the left side is what it still adds while it falls by j dt a period, the last term being what
    whole periods may add to the sum.
    """

    name = "jerk"

    def __init__(self, jerk: Vector) -> None:
        """Limit to `jerk` (n,) [rad/s^3].

        Raises:
            RobotError: not positive.
        """
        self.jerk = frozen(jerk)
        if not (self.jerk > 0).all():
            raise RobotError(f"jerk bounds must be positive, got {self.jerk.tolist()}")

    def bounds(self, s: Situation) -> tuple[Vector, Vector]:
        """See the class."""
        step = self.jerk * s.dt
        lower, upper = s.a - step, s.a + step
        for sign, side in ((1, upper), (-1, lower)):
            room = s.limits.velocity - sign * s.v - step * s.dt / 8
            # At least what a full change back towards zero gives: the two never contradict.
            soonest = np.maximum(sign * s.a - step, 0.0)
            most = np.maximum(
                np.sqrt(2 * self.jerk * np.maximum(room, 0.0) + step**2 / 4) - step / 2, soonest
            )
            side[:] = sign * np.minimum(sign * side, most)
        return s.v + s.dt * lower, s.v + s.dt * upper
