"""What a robot is and may do: joints, hard limits, rates and watchdogs, read from a YAML file."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

Vector = NDArray[np.float64]

SHIPPED = Path(__file__).parent / "robots"
"""Folder of the robot files that come with Bridle."""


class RobotError(ValueError):
    """A robot file is unusable, or limits contradict each other."""


def frozen(values: Any) -> Vector:
    """A read-only float64 copy."""
    array = np.array(values, np.float64)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class JointLimits:
    """Hard limits per joint: position_min <= q <= position_max, |dq/dt| and |d2q/dt2| bounded.

    Arrays are (n,), read-only: positions [rad], velocity [rad/s], acceleration [rad/s^2].

    Raises:
        RobotError: lengths differ, a number is not finite, min >= max, or a bound is not positive.
    """

    position_min: Vector
    position_max: Vector
    velocity: Vector
    acceleration: Vector

    def __post_init__(self) -> None:
        for name in ("position_min", "position_max", "velocity", "acceleration"):
            array = frozen(getattr(self, name))
            if array.ndim != 1 or array.shape != np.shape(self.position_min) or not array.size:
                raise RobotError(
                    f"{name} must have the shape of position_min {np.shape(self.position_min)} "
                    f"and one number per joint, got shape {array.shape}"
                )
            if not np.isfinite(array).all():
                raise RobotError(f"{name} must be finite, got {array.tolist()}")
            object.__setattr__(self, name, array)
        if (self.position_min >= self.position_max).any():
            i = int((self.position_min >= self.position_max).argmax())
            raise RobotError(
                f"no position is left for joint {i}: "
                f"min {self.position_min[i]:g} >= max {self.position_max[i]:g} rad"
            )
        for name in ("velocity", "acceleration"):
            array = getattr(self, name)
            if (array <= 0).any():
                raise RobotError(f"{name} bounds must be positive, got {array.tolist()}")

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
        )


@dataclass(frozen=True)
class Joint:
    """One joint of a robot file."""

    name: str
    position: tuple[float, float]
    """Lowest and highest position [rad]."""
    velocity: float
    """Largest speed [rad/s]."""
    acceleration: float
    """Largest change of velocity [rad/s^2]."""
    tracking_tolerance: float | None
    """Largest distance between command and measurement [rad]; None for one that may stall."""


@dataclass(frozen=True)
class Rates:
    """How often commands are issued, and how far apart the points of a policy are."""

    command: float
    """Rate of commands to the robot [Hz]."""
    policy: float
    """Control rate of the policy [Hz]."""


@dataclass(frozen=True)
class Watchdogs:
    """Ages beyond which nothing is trusted any more."""

    joint_states: float
    """Age of the measured position [s]."""
    chunk: float
    """Age of the observation behind the running chunk [s]."""
    chunk_arrival: float
    """Age of the observation behind a chunk when it arrives [s]."""


@dataclass(frozen=True)
class Workspace:
    """Axis-aligned box for the tool in the base frame; each axis (min, max) [m]."""

    x: tuple[float, float]
    y: tuple[float, float]
    z: tuple[float, float]


@dataclass(frozen=True)
class RobotDescription:
    """A robot as the guard and the nodes know it."""

    name: str
    joints: tuple[Joint, ...]
    """In the order of commands, chunks and observations."""
    rates: Rates
    latency: float
    """Time from a command to the motion it causes [s]."""
    watchdogs: Watchdogs
    workspace: Workspace | None

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints, in order."""
        return tuple(joint.name for joint in self.joints)

    @cached_property
    def limits(self) -> JointLimits:
        """Hard limits of all joints, arrays (n,)."""
        return JointLimits(
            frozen([joint.position[0] for joint in self.joints]),
            frozen([joint.position[1] for joint in self.joints]),
            frozen([joint.velocity for joint in self.joints]),
            frozen([joint.acceleration for joint in self.joints]),
        )


def load_robot(path_or_name: str | Path) -> RobotDescription:
    """Read a robot file.

    Args:
        path_or_name: path of a YAML file, or the name of a robot that comes with Bridle.

    Raises:
        RobotError: no such file, not YAML, or a key is unknown, missing, repeated or out of range;
            the message is one line with the file and the key.
    """
    path = Path(path_or_name)
    if not path.suffix and path.name == str(path_or_name):
        path = SHIPPED / f"{path.name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml")))
            raise RobotError(
                f"no robot is called '{path.stem}'; known: {known}, or a path to .yaml"
            )
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise RobotError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise RobotError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    try:
        return _robot(content)
    except RobotError as error:
        raise RobotError(f"{path}: {error}") from error


class _StrictLoader(yaml.SafeLoader):
    """YAML lets a repeated key win silently; in a file of limits that is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key}' is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def _robot(content: Any) -> RobotDescription:
    required = ("name", "joints", "rates", "latency", "watchdogs")
    top = _mapping(content, "the file", required, ("workspace",))
    if not isinstance(top["joints"], Sequence) or isinstance(top["joints"], str):
        raise RobotError(f"joints: expected a list, got {top['joints']!r}")
    joints = tuple(_joint(item, f"joints[{i}]") for i, item in enumerate(top["joints"]))
    names = [joint.name for joint in joints]
    if not names:
        raise RobotError("joints: expected at least one")
    for name in names:
        if names.count(name) > 1:
            raise RobotError(f"joints: '{name}' is given twice")
    rates = _mapping(top["rates"], "rates", ("command", "policy"))
    command = _number(rates["command"], "rates.command", 10, 2000)
    policy = _number(rates["policy"], "rates.policy", 0.1, command)
    ages = ("joint_states", "chunk", "chunk_arrival")
    watchdogs = _mapping(top["watchdogs"], "watchdogs", ages)
    box = None
    if "workspace" in top:
        axes = _mapping(top["workspace"], "workspace", ("x", "y", "z"))
        box = Workspace(*(_range(axes[a], f"workspace.{a}", 100.0) for a in ("x", "y", "z")))
    return RobotDescription(
        _text(top["name"], "name"),
        joints,
        Rates(command, policy),
        _number(top["latency"], "latency", 0.0, 1.0),
        # A watchdog shorter than one tick could never be satisfied.
        Watchdogs(*(_number(watchdogs[a], f"watchdogs.{a}", 1 / command, 10.0) for a in ages)),
        box,
    )


def _joint(content: Any, where: str) -> Joint:
    keys = ("name", "unit", "position", "velocity", "acceleration", "tracking_tolerance")
    joint = _mapping(content, where, keys)
    if joint["unit"] != "rad":
        raise RobotError(f"{where}.unit: expected rad, got {joint['unit']!r}")
    tolerance = joint["tracking_tolerance"]
    if tolerance is not None:
        tolerance = _number(tolerance, f"{where}.tracking_tolerance", 1e-6, math.tau)
    return Joint(
        _text(joint["name"], f"{where}.name"),
        _range(joint["position"], f"{where}.position", 100.0),
        _number(joint["velocity"], f"{where}.velocity", 1e-6, 100.0),
        _number(joint["acceleration"], f"{where}.acceleration", 1e-6, 10_000.0),
        tolerance,
    )


def _mapping(
    content: Any, where: str, required: Sequence[str], optional: Sequence[str] = ()
) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise RobotError(f"{where}: expected the keys {', '.join(required)}, got {content!r}")
    unknown = [str(key) for key in content if key not in (*required, *optional)]
    if unknown:
        known = ", ".join((*required, *optional))
        raise RobotError(f"{where}: unknown key '{unknown[0]}'; known: {known}")
    missing = [key for key in required if key not in content]
    if missing:
        raise RobotError(f"{where}: key '{missing[0]}' is missing")
    return content


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise RobotError(f"{where}: expected a name, got {value!r}")
    return value


def _number(value: Any, where: str, low: float, high: float) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise RobotError(f"{where}: expected a number in [{low:g}, {high:g}], got {value!r}")
    return float(value)


def _range(value: Any, where: str, largest: float) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise RobotError(f"{where}: expected [min, max], got {value!r}")
    low, high = (_number(v, where, -largest, largest) for v in value)
    if low >= high:
        raise RobotError(f"{where}: min must be below max, got [{low:g}, {high:g}]")
    return low, high
