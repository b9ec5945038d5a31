"""What the motors have to give."""

import numpy as np

from bridle.deploy.guard.limits.base import Limit, Rows, Situation, Vector
from bridle.deploy.robot import RobotError, frozen


class TorqueLimit(Limit):
    """|M(q) (u - v)/dt + h(q, v)| <= usable tau_max per joint.

    M is the arm's mass matrix, h its gravity and velocity terms: an estimate without what the
    gripper holds, so a share of the torque is kept back for it.
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

    def rows(self, s: Situation) -> Rows:
        """See the class."""
        mass, bias = s.model.dynamics(s.v)
        looked_at = np.flatnonzero(np.isfinite(self.torque))
        matrix: Vector = mass[looked_at] / s.dt
        # M u / dt <= tau + M v / dt - h, and the same the other way round.
        drift: Vector = matrix @ s.v - bias[looked_at]
        most: Vector = self.usable * self.torque[looked_at]
        upper, lower = most + drift, most - drift
        names = tuple(f"torque of joint {i}" for i in looked_at.tolist())
        return Rows(
            np.concatenate([matrix, -matrix]), np.concatenate([upper, lower]), names + names
        )
