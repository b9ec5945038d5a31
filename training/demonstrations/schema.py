"""The keys of a demonstration set: shape, dtype, unit and meaning of what a time step holds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

CAMERA_PREFIX = "camera_"

DTYPES = (
    "bool",
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
"""What can be stored, by its numpy name."""

Array = NDArray[Any]


class DemonstrationError(ValueError):
    """A demonstration set, or an episode for one, is not what it must be."""


@dataclass(frozen=True)
class KeySpec:
    """One key of a set: what a single time step of `data/<key>` is.

    Raises:
        DemonstrationError: the shape or the dtype cannot be stored.
    """

    shape: tuple[int, ...]
    """Shape of one time step; () is a scalar."""
    dtype: str
    """One of `DTYPES`."""
    unit: str
    """Unit of the numbers; several parts are separated by commas, "1" has no unit."""
    meaning: str
    """One sentence for a person."""

    def __post_init__(self) -> None:
        if not all(type(size) is int and size > 0 for size in self.shape):
            raise DemonstrationError(f"shape must be positive integers, got {self.shape}")
        if self.dtype not in DTYPES:
            raise DemonstrationError(
                f"dtype must be one of {', '.join(DTYPES)}; got {self.dtype!r}"
            )
        if not (isinstance(self.unit, str) and isinstance(self.meaning, str)):
            raise DemonstrationError(
                f"unit and meaning must be text, got {self.unit!r} and {self.meaning!r}"
            )

    def check(self, where: str, rows: Array, first_row: int = 0) -> None:
        """Refuse rows (T, *shape) that this key cannot hold; the first one counts as `first_row`.

        Raises:
            DemonstrationError: shape, dtype or a value that is not finite, with its row.
        """
        if rows.shape[1:] != self.shape or rows.ndim == 0:
            raise DemonstrationError(
                f"{where}: expected shape (T, {', '.join(map(str, self.shape))}), got {rows.shape}"
            )
        if rows.dtype != np.dtype(self.dtype):
            raise DemonstrationError(f"{where}: expected dtype {self.dtype}, got {rows.dtype}")
        row = first_not_finite(rows)
        if row is not None:
            raise DemonstrationError(
                f"{where}, row {first_row + row}: expected finite numbers, "
                f"got {rows[row].ravel()[:8].tolist()}"
            )


_FLOAT, _SCALAR = "float32", ()
KNOWN_KEYS: Mapping[str, KeySpec] = {
    "action": KeySpec((1,), _FLOAT, "rad", "commanded joint positions, absolute, gripper last"),
    "joint_position": KeySpec((1,), _FLOAT, "rad", "measured joint positions of the arm"),
    "joint_velocity": KeySpec((1,), _FLOAT, "rad/s", "measured joint velocities of the arm"),
    "tcp_pose": KeySpec(
        (9,),
        _FLOAT,
        "m, 1",
        "tool centre point in the base frame: position, first two columns of the rotation matrix",
    ),
    "gripper": KeySpec((1,), _FLOAT, "rad", "measured knuckle joint of the gripper, 0 is open"),
    "object_state": KeySpec((1,), _FLOAT, "m, 1", "objects and goal as the task defines them"),
    "reward": KeySpec(_SCALAR, _FLOAT, "1", "reward of the step"),
    "cost": KeySpec(_SCALAR, _FLOAT, "1", "safety cost of the step"),
    "instruction_id": KeySpec(_SCALAR, "int32", "1", "index into the attribute `instructions`"),
    "goal_id": KeySpec(
        _SCALAR, "int32", "1", "index into `instructions`: the sentence the episode is about"
    ),
    "intervention": KeySpec(_SCALAR, "bool", "1", "a person, not the policy, chose the action"),
    "point_cloud": KeySpec(
        (1, 6), _FLOAT, "m, 1", "points in the base frame: x, y, z, then red, green, blue in 0..1"
    ),
    "timestamp": KeySpec(_SCALAR, "float64", "s", "time since the start of the episode"),
}
"""Every key Bridle writes besides those of cameras. Length 1 of robot keys stands for its own n."""

INSTRUCTION_KEYS = ("instruction_id", "goal_id")
"""Keys whose values index the attribute `instructions`."""

DEPTH_PREFIX = "depth_"
_CAMERA_KEYS = {
    CAMERA_PREFIX: KeySpec((1, 1, 3), "uint8", "1", "RGB image, rows from the top"),
    DEPTH_PREFIX: KeySpec((1, 1), _FLOAT, "m", "distance along the camera's viewing axis"),
}


def known_key(key: str, shape: tuple[int, ...] | None = None) -> KeySpec:
    """The specification of a key Bridle knows, for one robot.

    Args:
        key: a name of `KNOWN_KEYS`, `camera_<name>` or `depth_<name>`.
        shape: shape of one time step; None takes the table's. It must have as many dimensions.

    Raises:
        DemonstrationError: the key is unknown, or the shape does not fit it.
    """
    families = [spec for prefix, spec in _CAMERA_KEYS.items() if key.startswith(prefix)]
    spec = families[0] if families else KNOWN_KEYS.get(key)
    if spec is None:
        known = ", ".join([*KNOWN_KEYS, *(f"{prefix}<name>" for prefix in _CAMERA_KEYS)])
        raise DemonstrationError(f"unknown key {key!r}; known are {known}")
    if shape is None:
        return spec
    if len(shape) != len(spec.shape):
        raise DemonstrationError(
            f"{key}: expected a shape of {len(spec.shape)} dimensions, got {shape}"
        )
    return replace(spec, shape=tuple(shape))


def first_not_finite(rows: Array) -> int | None:
    """Index of the first of rows (T, ...) that holds NaN or infinity; None when there is none."""
    if rows.dtype.kind != "f" or np.isfinite(rows).all():
        return None
    return int(np.argmin(np.isfinite(rows).reshape(len(rows), -1).all(axis=1)))


def first_not_increasing(values: Array) -> int | None:
    """Index of the first value (T,) that is not above the one before it; None if all are."""
    falls = np.flatnonzero(values[1:] <= values[:-1])
    return int(falls[0]) + 1 if falls.size else None


def first_out_of_range(ids: Array, count: int) -> int | None:
    """Index of the first of ids (T, ...) outside 0..count-1; None when all are inside."""
    wrong = (ids < 0) | (ids >= count)
    return int(np.argmax(wrong.reshape(len(ids), -1).any(axis=1))) if wrong.any() else None
