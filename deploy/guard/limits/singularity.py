"""Postures in which the tool cannot be moved in every direction."""

import numpy as np

from bridle.deploy.guard.limits.base import Limit, Rows, Situation, Vector
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.robot import RobotError

STEP = 1e-5
"""Of the differences [rad]."""


class SingularityLimit(Limit):
    """The smallest singular value s of the tool's Jacobian stays above `least`.

        -g u <= f(s - least),   g = ds/dq,

    from `near` on, and softly: it bends a path, and gives way where it contradicts what is hard.
    Angles weigh `length` metres per radian, the size of what is held.
    """

    name = "singularity"
    soft = True

    def __init__(self, *, least: float = 0.02, near: float = 0.06, length: float = 0.2) -> None:
        """Keep away from singular postures.

        Raises:
            RobotError: not 0 < least < near, or no positive length.
        """
        if not (0 < least < near and length > 0):
            raise RobotError(
                f"0 < least < near and a positive length expected, got {least}, {near}, {length}"
            )
        self.least, self.near, self.length = least, near, length

    def value(self, model: RobotModel) -> float:
        """The smallest singular value in the configuration of `model` [m/rad]."""
        return float(np.linalg.svd(self._jacobian(model), compute_uv=False)[-1])

    def _jacobian(self, model: RobotModel) -> Vector:
        jacobian = model.tool_jacobian()[:, model.arm]
        jacobian[3:] *= self.length
        return jacobian

    def rows(self, s: Situation) -> Rows | None:
        """See the class. The derivative of s = x J y is x dJ/dq_i y, by differences of J."""
        jacobian = self._jacobian(s.model)
        left, values, right = np.linalg.svd(jacobian)
        smallest = len(values) - 1
        if values[smallest] >= self.near:
            return None
        x, y = left[:, smallest], right[smallest]
        gradient = np.zeros(s.q.size)
        try:
            for i in range(s.model.arm.stop):
                moved = s.q.copy()
                moved[i] += STEP
                s.model.place(moved)
                gradient[i] = x @ (self._jacobian(s.model) - jacobian) @ y / STEP
        finally:
            s.model.place(s.q)
        bound = s.approach(gradient[None], values[smallest:] - self.least)
        return Rows(-gradient[None], bound, (self.name,))
