"""What the motors have to give."""

import numpy as np

from bridle.deploy.guard.limits.base import Limit, Situation, Vector
from bridle.deploy.robot import RobotError, frozen

LEAST = 0.05
"""Share of the acceleration that is left where even standing still takes too much."""


class TorqueLimit(Limit):
    """|h_i(q, v)| + sum_j |M_ij(q)| |a_j| <= usable tau_max,i.

    M is the arm's mass matrix, h its gravity and velocity terms: an estimate without what the
    gripper holds, so a share of the torque is kept back for it. The accelerations of all joints are
    scaled alike until it holds, whatever their directions. A stop is not slowed down by it.
    """

    name = "torque"

    def __init__(self, torque: Vector, *, usable: float = 0.8) -> None:
        """Limit to the share `usable` of `torque` (n,) [N m]; infinite: not looked at.

        Raises:
            RobotError: a torque is not positive, or `usable` not in (0, 1].
        """
        self.torque = frozen(torque)
        if not (self.torque > 0).all() or not 0 < usable <= 1:
            raise RobotError(
                f"positive torques and a usable share in (0, 1] expected, got "
                f"{self.torque.tolist()}, {usable}"
            )
        self.usable = usable

    def acceleration(self, s: Situation) -> Vector:
        """See the class."""
        mass, bias = s.model.dynamics(s.v)
        needed = np.abs(mass) @ s.limits.acceleration
        left = self.usable * self.torque - np.abs(bias)
        looked_at = np.isfinite(self.torque) & (needed > 0)
        share = np.divide(left, needed, out=np.ones_like(left), where=looked_at).min()
        scaled: Vector = s.limits.acceleration * min(1.0, max(LEAST, float(share)))
        return scaled
