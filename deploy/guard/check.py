"""A second opinion on every command, in plain arithmetic, sharing no code with the shaping."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.braking import Stop
from bridle.deploy.robot import JointLimits, Workspace

Vector = NDArray[np.float64]
ToolPosition = Callable[[Vector], Vector]
"""Joint positions (n,) [rad] to the tool's position (3,) in the base frame [m]."""

SLACK = 1e-6
"""Relative: what rounding may add."""


class Violation(NamedTuple):
    """A rule that a command would break; `which` is the joint, or the axis for `workspace`."""

    rule: str
    which: int
    value: float
    bound: float
    unit: str
    detail: str


class Checker:
    """Judges a command and the stop that belongs to it."""

    def __init__(
        self,
        limits: JointLimits,
        dt: float,
        workspace: Workspace | None,
        tool_position: ToolPosition | None,
    ) -> None:
        """Take limits, the control period [s], and optionally a box with forward kinematics."""
        rows = (limits.position_min, limits.position_max, limits.velocity, limits.acceleration)
        self._joints = list(zip(*(row.tolist() for row in rows), strict=True))
        self._dt = dt
        self._tool = tool_position if workspace is not None else None
        self._box = (workspace.x, workspace.y, workspace.z) if workspace is not None else ()

    def violation(self, before: Vector, v: Vector, after: Vector, stop: Stop) -> Violation | None:
        """The first rule that going from `before` (at velocity `v`) to `after` would break.

        Args:
            before: last command (n,) [rad].
            v: its velocity (n,) [rad/s].
            after: the command to be judged (n,) [rad].
            stop: the stop prepared for it.
        """
        rows = (before.tolist(), v.tolist(), after.tolist(), stop.end.tolist())
        for i, (q0, v0, q1, end) in enumerate(zip(*rows, strict=True)):
            low, high, fastest, sharpest = self._joints[i]
            if not (math.isfinite(q1) and math.isfinite(end)):
                return Violation("check", i, q1, math.nan, "rad", "the command is not finite")
            for name, q in (("command", q1), ("stop", end)):
                # Further out than it was is never allowed; still out, on the way in, is.
                if q > max(high, q0) + SLACK * (high - low):
                    return Violation("check", i, q, high, "rad", f"{name} above the limit")
                if q < min(low, q0) - SLACK * (high - low):
                    return Violation("check", i, q, low, "rad", f"{name} below the limit")
            v1 = (q1 - q0) / self._dt
            if abs(v1) > fastest * (1 + SLACK):
                return Violation("check", i, v1, fastest, "rad/s", "command too fast")
            a = (v1 - v0) / self._dt
            if abs(a) > sharpest * (1 + SLACK):
                return Violation("check", i, a, sharpest, "rad/s^2", "command too sharp")
        return self._outside(before, after, stop.end) if self._tool is not None else None

    def _outside(self, before: Vector, after: Vector, end: Vector) -> Violation | None:
        """The tool leaves the box, or is outside and does not come back.

        The end of the stop is judged as well: a stop begun at the wall would end behind it.
        """
        assert self._tool is not None
        for name, q in (("command", after), ("stop", end)):
            excess, axis, value, bound = self._excess(self._tool(q))
            # So written that nan, here or there, is a violation.
            if not (excess <= 0 or excess <= self._excess(self._tool(before))[0]):
                return Violation("workspace", axis, value, bound, "m", f"{name} leaves the box")
        return None

    def _excess(self, tool: Vector) -> tuple[float, int, float, float]:
        """How far out along the worst axis [m], that axis, the coordinate and its bound."""
        worst = (-math.inf, 0, 0.0, 0.0)
        for axis, (low, high) in enumerate(self._box):
            value = float(tool[axis])
            if not math.isfinite(value):
                return math.nan, axis, value, high
            for excess, bound in ((low - value, low), (value - high, high)):
                if excess > worst[0]:
                    worst = (excess, axis, value, bound)
        return worst
