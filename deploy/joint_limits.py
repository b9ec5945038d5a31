"""Hard limits of joints, as arrays."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.exceptions import RobotError

Vector = NDArray[np.float64]


def frozen(values: Any) -> Vector:
    """A read-only float64 copy."""
    array = np.array(values, np.float64)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class JointLimits:
    """Hard limits per joint: position_min <= q <= position_max, and bounds on the absolute values
    of the first three derivatives of q.

    Arrays are (n,), read-only: positions [rad], velocity [rad/s], acceleration [rad/s^2], jerk
    [rad/s^3].

    Raises:
        RobotError: lengths differ, a number is not finite, min >= max, or a bound is not positive.
    """

    position_min: Vector
    position_max: Vector
    velocity: Vector
    acceleration: Vector
    jerk: Vector

    def __post_init__(self) -> None:
        for bound in ("position_min", "position_max", "velocity", "acceleration", "jerk"):
            array = frozen(getattr(self, bound))
            if array.ndim != 1 or array.shape != np.shape(self.position_min) or not array.size:
                raise RobotError(
                    f"{bound} must have the shape of position_min {np.shape(self.position_min)} "
                    f"and one number per joint, got shape {array.shape}"
                )
            if not np.isfinite(array).all():
                raise RobotError(f"{bound} must be finite, got {array.tolist()}")
            object.__setattr__(self, bound, array)
        if (self.position_min >= self.position_max).any():
            i = int((self.position_min >= self.position_max).argmax())
            raise RobotError(
                f"no position is left for joint {i}: "
                f"min {self.position_min[i]:g} >= max {self.position_max[i]:g} rad"
            )
        for bound in ("velocity", "acceleration", "jerk"):
            array = getattr(self, bound)
            if (array <= 0).any():
                raise RobotError(f"{bound} bounds must be positive, got {array.tolist()}")

    def __getitem__(self, joints: slice) -> "JointLimits":
        """Of some of the joints."""
        return JointLimits(*(getattr(self, each.name)[joints] for each in fields(self)))

    def tightened_by(self, other: "JointLimits") -> "JointLimits":
        """Intersection with other limits of the same joints: no bound ever becomes wider.

        Raises:
            RobotError: another number of joints, or no position satisfies both.
        """
        if other.velocity.shape != self.velocity.shape:
            raise RobotError(
                f"limits of {self.velocity.size} joints cannot be tightened by limits of "
                f"{other.velocity.size}"
            )
        return JointLimits(
            np.maximum(self.position_min, other.position_min),
            np.minimum(self.position_max, other.position_max),
            np.minimum(self.velocity, other.velocity),
            np.minimum(self.acceleration, other.acceleration),
            np.minimum(self.jerk, other.jerk),
        )
