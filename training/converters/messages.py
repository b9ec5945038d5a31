"""ROS messages become numbers: fields by path, joints by name, images, poses."""

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from bridle.training.converters.pictures import LARGEST, decode_picture, picture_size
from bridle.training.demonstrations.schema import (
    CAMERA_PREFIX,
    DEPTH_PREFIX,
    Array,
    DemonstrationError,
)

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3}
_DEPTH = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
_UNIT_TOLERANCE = 1e-3


class Decoder:
    """The value of one key in a message.

    Args:
        kind: type of the message.
        key: Bridle's name of it.
        fields: paths of the numbers; several are joined.
        names: joints in the wanted order.
        shape: what every value must be; None before the first one.
    """

    def __init__(
        self,
        kind: str,
        key: str,
        fields: Sequence[str],
        names: Sequence[str] | None,
        shape: tuple[int, ...] | None,
    ) -> None:
        self._kind, self._key, self._fields, self._names = kind, key, fields, names
        self._shape = shape

    def __call__(self, message: Any) -> Array:
        """The value.

        Raises:
            DemonstrationError: a field or joint is missing, or the shape is another.
        """
        if self._kind == "sensor_msgs/msg/CompressedImage":
            value = self._picture(message)
        elif self._kind == "sensor_msgs/msg/Image":
            value = _image(message, self._key.startswith(CAMERA_PREFIX))
            if self._key.startswith(DEPTH_PREFIX):
                value = _metres(value)
        elif self._key.startswith(CAMERA_PREFIX):
            raise DemonstrationError(f"{self._key} needs images, got {self._kind}")
        else:
            value = self._numbers(message)
        if self._shape is not None and value.shape != self._shape:
            raise DemonstrationError(
                f"{self._key}: expected {self._shape} as in the first message, got {value.shape}"
            )
        return value

    def _picture(self, message: Any) -> Array:
        data = bytes(message.data)
        shape = self._shape or picture_size("the image", io.BytesIO(data))
        return decode_picture("the image", io.BytesIO(data), shape)

    def _numbers(self, message: Any) -> Array:
        parts = [self._part(attribute(message, path), path) for path in self._fields]
        if self._names is not None:
            parts = [
                self._ordered(message, part, path)
                for part, path in zip(parts, self._fields, strict=True)
            ]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([part.reshape(-1) for part in parts])

    def _part(self, value: Any, path: str) -> Array:
        if hasattr(value, "position") and hasattr(value, "orientation"):
            return _pose(value, self._key == "tcp_pose")
        if hasattr(value, "x") and hasattr(value, "y"):
            value = [getattr(value, name) for name in ("x", "y", "z", "w") if hasattr(value, name)]
        if isinstance(value, bool | int | float | np.generic | np.ndarray | list):
            array = np.asarray(value)
            if array.dtype.kind in "biuf" and array.ndim <= 1:
                return array
        raise DemonstrationError(f"{path} is no number and no list of numbers")

    def _ordered(self, message: Any, part: Array, path: str) -> Array:
        assert self._names is not None
        present = list(
            getattr(message, "name", None) or getattr(message, "joint_names", None) or []
        )
        if not present:
            raise DemonstrationError(f"the message names no joints, wanted {_list(self._names)}")
        missing = [name for name in self._names if name not in present]
        if missing:
            raise DemonstrationError(f"joint {missing[0]!r} is missing; it names {_list(present)}")
        if part.shape != (len(present),):
            raise DemonstrationError(
                f"{path} has {part.size} numbers for {len(present)} names {_list(present)}"
            )
        return part[[present.index(name) for name in self._names]]


def attribute(message: Any, path: str) -> Any:
    """What a path like points[0].positions leads to.

    Raises:
        DemonstrationError: it leads nowhere.
    """
    value = message
    for part in path.split("."):
        match = re.fullmatch(r"(\w+?)(?:\[(\d+)\])?", part)
        assert match is not None
        name, index = match[1], match[2]
        if name.startswith("__") or not hasattr(value, name):
            fields = [
                n for n in getattr(type(value), "__annotations__", {}) if not n.startswith("_")
            ]
            raise DemonstrationError(
                f"there is no field {name!r} in {path}; there is {_list(fields)}"
            )
        value = getattr(value, name)
        if index is not None:
            if not isinstance(value, list | np.ndarray) or len(value) <= int(index):
                size = len(value) if isinstance(value, list | np.ndarray) else "no"
                raise DemonstrationError(f"{path}: {name} has {size} entries, wanted [{index}]")
            value = value[int(index)]
    return value


def _image(message: Any, camera: bool) -> Array:
    """sensor_msgs/Image as RGB rows; depth and other encodings as they are for other keys."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    encoding = str(message.encoding)
    if not 0 < height * width <= LARGEST:
        raise DemonstrationError(f"the image has {height} x {width} pixels")
    if encoding in _DEPTH and not camera:
        name = _DEPTH[encoding]
        kind = np.dtype((">" if message.is_bigendian else "<") + name)
        rows = _image_rows(message, height, step, width * kind.itemsize)
        return np.frombuffer(rows.tobytes(), kind).reshape(height, width).astype(name)
    channels = _CHANNELS.get(encoding)
    if channels is None or not camera:
        what = "a camera key" if channels else f"one of {_list(sorted(_CHANNELS))}"
        raise DemonstrationError(f"the image is {encoding!r}; expected {what}")
    rows = _image_rows(message, height, step, width * channels)
    pixels = rows.reshape(height, width, channels)
    if channels == 1:
        return np.repeat(pixels, 3, axis=2)
    colours = pixels[:, :, :3]
    return np.ascontiguousarray(colours[:, :, ::-1] if encoding.startswith("bgr") else colours)


def _metres(depth: Array) -> Array:
    """Depth [m]; whole numbers are millimetres (REP 118), and what was not measured is 0."""
    if depth.dtype.kind == "u":
        return (depth / 1000).astype(np.float32)
    return np.where(np.isfinite(depth), depth, 0).astype(np.float32)


def _image_rows(message: Any, height: int, step: int, needed: int) -> Array:
    data = np.asarray(message.data, np.uint8)
    if step < needed or len(data) < height * step:
        raise DemonstrationError(
            f"the image says {height} rows of {step} bytes (at least {needed}), "
            f"got {len(data)} bytes"
        )
    return data[: height * step].reshape(height, step)[:, :needed]


def _pose(pose: Any, as_columns: bool) -> Array:
    """Position and quaternion (7,), or position and first two columns of the rotation (9,)."""
    p, q = pose.position, pose.orientation
    position, quaternion = np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w])
    if not as_columns:
        return np.concatenate([position, quaternion])
    length = float(np.linalg.norm(quaternion))
    if not abs(length - 1) < _UNIT_TOLERANCE:
        raise DemonstrationError(f"the quaternion {quaternion.tolist()} is not of length 1")
    x, y, z, w = quaternion / length
    first = [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)]
    second = [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)]
    return np.concatenate([position, first, second])


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(str, names)) or "nothing"
