"""The quadratic programme that bends a wanted velocity no more than the limits ask for.

    min  1/2 (u - w)^T P (u - w) + 1/2 c |s|^2
    s.t. lower <= u <= upper,   A u <= b,   S u - s <= t,   s >= 0

Bounds and A are hard; S is of limits that were declared soft, and only these have slack s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import daqp
import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.limits import Limit, Rows, Situation
from bridle.deploy.guard.model import RobotModel

Vector = NDArray[np.float64]

PENALTY = 1e3
"""c: what soft limits give way by costs this much more than what the path is bent by."""
TOLERANCE = 1e-7
"""What rounding may leave of a hard row, relative to its size [rad/s]."""
ROUNDING = 1e-9
"""What rounding may add to a row [m/s]."""
_FAR = 1e30


class Broken(NamedTuple):
    """The inequality that a velocity breaks most."""

    rule: str
    """Name of the limit."""
    what: str
    """What it is about."""
    value: float
    bound: float
    unit: str


class Solution(NamedTuple):
    """A velocity within all hard limits."""

    velocity: Vector
    """(n,) [rad/s]."""
    active: tuple[str, ...]
    """Rows that hold it back, by name; `joint i` for a bound."""
    gave_way: tuple[str, ...]
    """Soft rows that are broken."""


@dataclass(frozen=True, eq=False)
class Constraints:
    """What all limits ask of the next velocity."""

    lower: Vector
    """(n,) [rad/s]."""
    upper: Vector
    """(n,) [rad/s]."""
    hard: Rows
    soft: Rows
    rules: tuple[str, ...] = ()
    """Name of the limit behind each row, the hard ones first."""

    @classmethod
    def of(cls, limits: Sequence[Limit], s: Situation) -> "Constraints":
        """Ask every limit."""
        return cls.of_rows(limits, s).within(limits, s)

    def within(self, limits: Sequence[Limit], s: Situation) -> "Constraints":
        """With the bounds of single joints."""
        lower, upper = self.lower, self.upper
        for limit in limits:
            bounds = limit.bounds(s)
            if bounds is not None:
                lower, upper = np.maximum(lower, bounds[0]), np.minimum(upper, bounds[1])
        return replace(self, lower=lower, upper=upper)

    @classmethod
    def of_rows(cls, limits: Sequence[Limit], s: Situation) -> "Constraints":
        """Only what is asked of several joints."""
        n = s.q.size
        lower, upper = np.full(n, -np.inf), np.full(n, np.inf)
        rows: dict[bool, list[Rows]] = {False: [], True: []}
        rules: dict[bool, list[str]] = {False: [], True: []}
        for limit in limits:
            found = limit.rows(s)
            if found is not None:
                rows[limit.soft].append(found)
                rules[limit.soft] += [limit.name] * len(found.bound)
        names = tuple(rules[False] + rules[True])
        return cls(lower, upper, _joined(rows[False], n), _joined(rows[True], n), names)

    def broken(self, u: Vector) -> Broken | None:
        """Which row, soft ones too, a velocity (n,) [rad/s] breaks most; None if it breaks none.

        Bounds of single joints are not looked at: what carries a velocity out keeps them exactly.
        """
        if not self.rules:
            return None
        values = np.concatenate([self.hard.matrix @ u, self.soft.matrix @ u])
        bounds = np.concatenate([self.hard.bound, self.soft.bound])
        i = int((values - bounds).argmax())
        if values[i] <= bounds[i] + ROUNDING:
            return None
        what = (*self.hard.names, *self.soft.names)[i]
        unit = "1/s" if self.rules[i] == "singularity" else "m/s"
        return Broken(self.rules[i], what, float(values[i]), float(bounds[i]), unit)


def nearest(
    wanted: Vector, constraints: Constraints, metric: Vector | None = None
) -> Solution | None:
    """The velocity nearest to the wanted one; None if no velocity keeps the hard limits.

    Args:
        wanted: w (n,) [rad/s].
        constraints: what limits it.
        metric: P (n, n), positive definite; None weighs all joints alike.
    """
    c = constraints
    n, m, k = wanted.size, len(c.hard.bound), len(c.soft.bound)
    numbers = (wanted, c.hard.matrix, c.soft.matrix)
    bounds = (c.lower, c.upper, c.hard.bound, c.soft.bound)
    if not all(np.isfinite(x).all() for x in numbers) or any(np.isnan(x).any() for x in bounds):
        return None
    if (c.lower > c.upper).any():
        return None
    hessian = np.zeros((n + k, n + k))
    hessian[:n, :n] = np.eye(n) if metric is None else metric
    hessian[range(n, n + k), range(n, n + k)] = PENALTY
    linear = np.zeros(n + k)
    linear[:n] = -hessian[:n, :n] @ wanted
    matrix = np.zeros((m + k, n + k))
    matrix[:m, :n], matrix[m:, :n] = c.hard.matrix, c.soft.matrix
    matrix[range(m, m + k), range(n, n + k)] = -1.0
    upper = np.concatenate([c.upper, np.full(k, _FAR), c.hard.bound, c.soft.bound])
    lower = np.concatenate([c.lower, np.zeros(k), np.full(m + k, -_FAR)])
    upper, lower = np.minimum(upper, _FAR), np.maximum(lower, -_FAR)
    sense = np.zeros(len(upper), np.int32)
    x, _, flag, info = daqp.solve(hessian, linear, matrix, upper, lower, sense, primal_tol=1e-9)
    if flag != 1:
        return None
    u, slack = np.array(x[:n]), np.array(x[n:])
    # Not what the solver says of itself: what came out.
    size = 1.0 + np.abs(c.hard.matrix).sum(axis=1)
    if not (c.hard.matrix @ u <= c.hard.bound + TOLERANCE * size).all():
        return None
    if not ((u >= c.lower - TOLERANCE).all() and (u <= c.upper + TOLERANCE).all()):
        return None
    u = np.minimum(np.maximum(u, c.lower), c.upper)
    multipliers = np.abs(info["lam"])
    names = (*(f"joint {i}" for i in range(n)), *("",) * k, *c.hard.names, *c.soft.names)
    active = tuple(
        name for name, size_ in zip(names, multipliers, strict=True) if name and size_ > 1e-9
    )
    gave_way = tuple(name for name, s in zip(c.soft.names, slack, strict=True) if s > TOLERANCE)
    return Solution(u, active, gave_way)


def tool_metric(model: RobotModel) -> Vector:
    """P that weighs what is changed of the tool's velocity: J^T J + 0.01 I (n, n).

    With the tool's translation alone; a joint that does not move it weighs a little still.
    """
    jacobian = model.tool_jacobian()[:3]
    metric: Vector = jacobian.T @ jacobian + 0.01 * np.eye(model.n_joints)
    return metric


def _joined(rows: Sequence[Rows], n: int) -> Rows:
    if not rows:
        return Rows(np.zeros((0, n)), np.zeros(0), ())
    names = tuple(name for each in rows for name in each.names)
    return Rows(
        np.concatenate([r.matrix for r in rows]), np.concatenate([r.bound for r in rows]), names
    )
