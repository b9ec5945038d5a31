"""What a demonstration set says about itself: its keys with their units, and its attributes.

A set is one zarr group of format 2 in the layout of diffusion_policy (arXiv 2303.04137):
`data/<key>` holds all episodes one after the other, `meta/episode_ends` where each one ends.
docs/demonstrations.md describes it in full.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION = 1
ATTRIBUTES = ("bridle_schema", "robot", "task", "control_rate", "keys", "instructions")
CAMERA_PREFIX = "camera_"

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
    """Numpy name of a boolean, integer or floating point type."""
    unit: str
    """Unit of the numbers; several parts are separated by commas, "1" has no unit."""
    meaning: str
    """One sentence for a person."""

    def __post_init__(self) -> None:
        if not all(type(size) is int and size > 0 for size in self.shape):
            raise DemonstrationError(f"shape must be positive integers, got {self.shape}")
        try:
            stored = np.dtype(self.dtype).kind in "biuf"
        except TypeError:
            stored = False
        if not stored:
            raise DemonstrationError(
                f"dtype must be a boolean, integer or float type, got {self.dtype!r}"
            )

    def check(self, where: str, rows: Array) -> None:
        """Refuse rows (T, *shape) that this key cannot hold.

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
                f"{where}, row {row}: expected finite numbers, got {rows[row].tolist()}"
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
    "intervention": KeySpec(_SCALAR, "bool", "1", "a person, not the policy, chose the action"),
    "timestamp": KeySpec(_SCALAR, "float64", "s", "time since the start of the episode"),
}
"""Every key Bridle writes besides cameras. Length 1 of the robot's keys stands for its own n."""

_CAMERA = KeySpec((1, 1, 3), "uint8", "1", "RGB image, rows from the top")


def known_key(key: str, shape: tuple[int, ...] | None = None) -> KeySpec:
    """The specification of a key Bridle knows, for one robot.

    Args:
        key: a name of `KNOWN_KEYS`, or `camera_<name>`.
        shape: shape of one time step; None takes the table's. It must have as many dimensions.

    Raises:
        DemonstrationError: the key is unknown, or the shape does not fit it.
    """
    spec = _CAMERA if key.startswith(CAMERA_PREFIX) else KNOWN_KEYS.get(key)
    if spec is None:
        known = ", ".join([*KNOWN_KEYS, f"{CAMERA_PREFIX}<name>"])
        raise DemonstrationError(f"unknown key {key!r}; known are {known}")
    if shape is None:
        return spec
    if len(shape) != len(spec.shape):
        raise DemonstrationError(
            f"{key}: expected a shape of {len(spec.shape)} dimensions, got {shape}"
        )
    return replace(spec, shape=tuple(shape))


@dataclass(frozen=True)
class Attributes:
    """The root attributes of a set.

    Raises:
        DemonstrationError: a value is missing or out of range.
    """

    robot: str
    task: str
    control_rate: float
    """Time steps per second [Hz]."""
    keys: Mapping[str, KeySpec]
    instructions: tuple[str, ...]
    """What `data/instruction_id` indexes."""

    def __post_init__(self) -> None:
        for name in ("robot", "task"):
            value = getattr(self, name)
            if not (isinstance(value, str) and value):
                raise DemonstrationError(f"{name} must be a name, got {value!r}")
        rate = self.control_rate
        if (
            not isinstance(rate, int | float)
            or isinstance(rate, bool)
            or not (math.isfinite(rate) and rate > 0)
        ):
            raise DemonstrationError(f"control_rate must be a positive number [Hz], got {rate!r}")
        if "action" not in self.keys:
            raise DemonstrationError(f"keys must hold 'action', got {', '.join(self.keys) or '-'}")
        for key in self.keys:
            if not key.isidentifier():
                raise DemonstrationError(f"a key must be an identifier, got {key!r}")
        for text in self.instructions:
            if not (isinstance(text, str) and text):
                raise DemonstrationError(f"instructions must be sentences, got {text!r}")

    def to_json(self) -> dict[str, Any]:
        """What `.zattrs` holds."""
        return {"bridle_schema": SCHEMA_VERSION} | asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Attributes":
        """Read what `.zattrs` holds.

        Raises:
            DemonstrationError: an attribute is missing or wrong, or the version is unknown.
        """
        version = content.get("bridle_schema")
        if type(version) is not int or version != SCHEMA_VERSION:
            raise DemonstrationError(
                f"bridle_schema: this Bridle reads version {SCHEMA_VERSION}, got {version!r}"
            )
        missing = [name for name in ATTRIBUTES if name not in content]
        if missing:
            raise DemonstrationError(f"attributes are missing: {', '.join(missing)}")
        keys, instructions = content["keys"], content["instructions"]
        if not isinstance(keys, Mapping) or not isinstance(instructions, list):
            raise DemonstrationError(
                "keys must be an object and instructions a list, got "
                f"{type(keys).__name__} and {type(instructions).__name__}"
            )
        return cls(
            robot=content["robot"],
            task=content["task"],
            control_rate=content["control_rate"],
            keys={key: _spec_from_json(key, value) for key, value in keys.items()},
            instructions=tuple(instructions),
        )


def _spec_from_json(key: str, value: Any) -> KeySpec:
    names = set(KeySpec.__dataclass_fields__)
    if not isinstance(value, Mapping) or set(value) != names:
        raise DemonstrationError(f"keys.{key}: expected {', '.join(sorted(names))}, got {value!r}")
    if not isinstance(value["shape"], list) or not isinstance(value["dtype"], str):
        raise DemonstrationError(f"keys.{key}: expected a list and a name, got {value!r}")
    try:
        return KeySpec(**{**value, "shape": tuple(value["shape"])})
    except DemonstrationError as error:
        raise DemonstrationError(f"keys.{key}: {error}") from error


def first_not_finite(rows: Array) -> int | None:
    """Index of the first of rows (T, ...) that holds NaN or infinity; None when there is none."""
    if rows.dtype.kind != "f" or np.isfinite(rows).all():
        return None
    return int(np.argmin(np.isfinite(rows).reshape(len(rows), -1).all(axis=1)))


def first_not_increasing(values: Array) -> int | None:
    """Index of the first value (T,) that is not above the one before it; None if all are."""
    falls = np.flatnonzero(np.diff(values) <= 0)
    return int(falls[0]) + 1 if falls.size else None


def first_out_of_range(ids: Array, count: int) -> int | None:
    """Index of the first id (T,) outside 0..count-1; None when all are inside."""
    wrong = np.flatnonzero((ids < 0) | (ids >= count))
    return int(wrong[0]) if wrong.size else None
