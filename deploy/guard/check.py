"""A second opinion on every command, in plain arithmetic, sharing no code with what made it."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.motion import Motion, Posture
from bridle.deploy.robot import JointLimits

Vector = NDArray[np.float64]

SLACK = 1e-6
"""Relative: what rounding may add."""
ROUNDING = 1e-12
"""What it may add to a joint that stands outside its limits [rad]."""


class Violation(NamedTuple):
    """A rule that a command would break, and what it is about: a joint, the tool, two geoms."""

    rule: str
    what: str
    value: float
    bound: float
    unit: str
    detail: str


class Checker:
    """Judges the joints of a command and of the stop that belongs to it."""

    def __init__(self, limits: JointLimits, names: tuple[str, ...], dt: float) -> None:
        """Take limits, the joints' names, and the control period [s]."""
        self._low, self._high = limits.position_min, limits.position_max
        self._names, self._dt = names, dt
        self._bounds = np.array(
            [
                limits.velocity,
                limits.velocity,
                limits.acceleration,
                limits.acceleration,
                limits.jerk,
            ]
        )
        # Positions are rounded, and divided by dt once, twice or thrice.
        rounding = 4e-15 * np.array([[1 / dt], [0.0], [1 / dt**2], [0.0], [0.0]])
        self._allowed = self._bounds * (1 + SLACK) + rounding

    def violation(
        self, before: Posture, step: Vector, after: Posture, stop: Motion
    ) -> Violation | None:
        """The first rule that going from `before` to `after` would break.

        Args:
            before: the last command.
            step: mean velocity of the period that led to it (n,) [rad/s].
            after: the command to be judged, one period later.
            stop: the stop prepared for it.
        """
        too_fast = ~(stop.fastest <= np.maximum(self._allowed[1], np.abs(after.v)))
        if too_fast.any():
            i = int(too_fast.argmax())
            value, bound = float(stop.fastest[i]), float(self._bounds[1, i])
            return Violation("velocity", self._names[i], value, bound, "rad/s", "stop too fast")
        low, high = stop.range
        for name, lowest, highest in (("command", after.q, after.q), ("stop", low, high)):
            # Further out than it was is never allowed; still out, on the way in, is. So written
            # that nan is a violation.
            inside = (highest <= np.maximum(self._high, before.q + ROUNDING)) & (
                lowest >= np.minimum(self._low, before.q - ROUNDING)
            )
            if not inside.all():
                i = int(inside.argmin())
                q, over = float(highest[i]), highest[i] > self._high[i]
                if not math.isfinite(q):
                    detail = f"the {name} is not finite"
                    return Violation("check", self._names[i], q, math.nan, "rad", detail)
                bound = float(self._high[i] if over else self._low[i])
                value = q if over else float(lowest[i])
                side = "above" if over else "below"
                return Violation(
                    "position", self._names[i], value, bound, "rad", f"{name} {side} the limit"
                )
        mean = (after.q - before.q) / self._dt
        values = np.array(
            [mean, after.v, (mean - step) / self._dt, after.a, (after.a - before.a) / self._dt]
        )
        fine = np.abs(values) <= self._allowed
        if fine.all():
            return None
        row, i = divmod(int(fine.argmin()), fine.shape[1])
        unit = ("rad/s", "rad/s", "rad/s^2", "rad/s^2", "rad/s^3")[row]
        what = ("too fast", "too fast", "too sharp", "too sharp", "too sudden")[row]
        value, bound = float(values[row, i]), float(self._bounds[row, i])
        return Violation("check", self._names[i], value, bound, unit, f"command {what}")
