"""Conversions between messages and arrays; nothing here trusts a message."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from bridle.deploy.guard import Obstacle

Vector = NDArray[np.float64]


MAX_JOINT_VALUE = 1e3
"""Positions [rad] and velocities [rad/s] beyond this are no measurement."""
MAX_OBSTACLES = 64
"""More that move around one robot are a mistake, or too many for one control period."""


class MessageError(ValueError):
    """A message does not hold what its topic promises."""


def nanoseconds(stamp: Time) -> int:
    """A message stamp [ns]."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def stamp_of(ns: int) -> Time:
    """Nanoseconds as a message stamp."""
    return Time(sec=ns // 1_000_000_000, nanosec=ns % 1_000_000_000)


def joint_vectors(message: JointState, names: Sequence[str]) -> tuple[Vector, Vector]:
    """Positions and velocities of `names` from a joint state that may hold more joints.

    Raises:
        MessageError: a joint is missing, lengths differ, or a number is not finite.
    """
    count = len(message.name)
    for field in ("position", "velocity"):
        if len(getattr(message, field)) != count:
            raise MessageError(
                f"joint_states: {count} names but {len(getattr(message, field))} {field} values"
            )
    index = {name: i for i, name in enumerate(message.name)}
    missing = [name for name in names if name not in index]
    if missing:
        raise MessageError(f"joint_states: {', '.join(missing)} missing")
    order = [index[name] for name in names]
    position = np.asarray(message.position, np.float64)[order]
    velocity = np.asarray(message.velocity, np.float64)[order]
    if not (np.isfinite(position).all() and np.isfinite(velocity).all()):
        raise MessageError("joint_states: a value is not finite")
    if max(np.abs(position).max(), np.abs(velocity).max()) > MAX_JOINT_VALUE:
        raise MessageError(
            f"joint_states: a value is beyond {MAX_JOINT_VALUE:g}: no joint is there"
        )
    return position, velocity


def _duration(seconds: float) -> Duration:
    whole, nanoseconds = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(sec=whole, nanosec=nanoseconds)


def trajectory(
    stamp: int, names: Sequence[str], times: Vector, positions: Vector
) -> JointTrajectory:
    """An action chunk as a message: `times` (H,) [s] after the stamp [ns], `positions` (H, n)."""
    message = JointTrajectory(joint_names=list(names))
    message.header.stamp = stamp_of(stamp)
    message.points = [
        JointTrajectoryPoint(
            positions=row.tolist(),
            time_from_start=_duration(float(t)),
        )
        for t, row in zip(times, positions, strict=True)
    ]
    return message


def trajectory_arrays(message: JointTrajectory) -> tuple[int, list[str], Vector, Any]:
    """Stamp [ns], joint names, times (H,) [s] and positions (ragged rows are kept as lists)."""
    times = np.array(
        [p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in message.points]
    )
    positions = [list(p.positions) for p in message.points]
    return nanoseconds(message.header.stamp), list(message.joint_names), times, positions


def array_message(label: str, values: NDArray[Any]) -> Float64MultiArray:
    """A named vector."""
    message = Float64MultiArray(data=[float(v) for v in values])
    message.layout.dim = [MultiArrayDimension(label=label, size=len(values), stride=len(values))]
    return message


def obstacles_of(message: Float64MultiArray) -> tuple[Obstacle, ...]:
    """What moves around the robot.

    Args:
        message: five numbers each: centre x, y, z in the base frame [m], radius [m], and the
            largest speed at which it may come [m/s].

    Raises:
        MessageError: not five each, more than `MAX_OBSTACLES`, not finite, or a negative radius or
            speed.
    """
    numbers = np.asarray(message.data, np.float64)
    if numbers.size % 5 or numbers.size > 5 * MAX_OBSTACLES:
        raise MessageError(
            f"obstacles: five numbers each for at most {MAX_OBSTACLES} expected, got {numbers.size}"
        )
    rows = numbers.reshape(-1, 5)
    if not np.isfinite(rows).all() or (rows[:, 3:] < 0).any():
        raise MessageError(f"obstacles: finite numbers, radius and speed >= 0, got {rows.tolist()}")
    return tuple(Obstacle((x, y, z), radius, speed) for x, y, z, radius, speed in rows.tolist())


def status(
    name: str, level: bytes, sentence: str, values: Mapping[str, object]
) -> DiagnosticStatus:
    """A status as a sentence and its numbers."""
    return DiagnosticStatus(
        level=level,
        name=name,
        message=sentence,
        values=[KeyValue(key=k, value=_text(v)) for k, v in values.items()],
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
