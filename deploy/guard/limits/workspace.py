"""Where the tool may be."""

from collections.abc import Sequence

import numpy as np

from bridle.deploy.guard.limits.base import Excess, Limit, Rows, Situation, Vector
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.robot import HalfSpace, Workspace, frozen


def box(workspace: Workspace) -> tuple[HalfSpace, ...]:
    """The six half-spaces of a box."""
    found = []
    for axis, (low, high) in enumerate((workspace.x, workspace.y, workspace.z)):
        for sign, bound in ((-1, low), (1, high)):
            normal = tuple(float(sign * (axis == i)) for i in range(3))
            name = f"{'xyz'[axis]} {'above' if sign > 0 else 'below'} {bound:g} m"
            found.append(HalfSpace(name, (normal[0], normal[1], normal[2]), sign * bound))
    return tuple(found)


class WorkspaceLimit(Limit):
    """The tool stays inside half-spaces n x <= o.

    With the distance d = o - n p(q)

        n J u <= f(d),   f(d) = -a T + sqrt((a T)^2 + 2 a d),

    a being what braking along n J takes back (`Situation.deceleration`).
    """

    name = "workspace"

    def __init__(self, half_spaces: Sequence[HalfSpace]) -> None:
        """Stay inside all of them."""
        self.half_spaces = tuple(half_spaces)
        self._normals = frozen([h.normal for h in half_spaces]).reshape(-1, 3)
        self._offsets = frozen([h.offset for h in half_spaces])
        self._names = tuple(f"tool {h.name}" for h in half_spaces)

    def _distances(self, model: RobotModel) -> Vector:
        distances: Vector = self._offsets - self._normals @ model.tool
        return distances

    def rows(self, s: Situation) -> Rows:
        """See the class."""
        matrix = self._normals @ s.model.tool_jacobian()[:3]
        return Rows(matrix, s.approach(matrix, self._distances(s.model)), self._names)

    def excess(self, model: RobotModel) -> Excess | None:
        """See `Limit`; the value is how far inside the tool is."""
        if not len(self._offsets):
            return None
        distances = self._distances(model)
        # So written that nan is the worst.
        i = int(np.where(np.isnan(distances), -np.inf, distances).argmin())
        value = float(distances[i])
        return Excess(self._names[i], value, 0.0, "m", np.inf if np.isnan(value) else -value)
