"""What a robot is and may do: joints, hard limits, rates and watchdogs, read from a YAML file."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bridle.deploy.exceptions import KinematicsError, RobotError
from bridle.deploy.inspection.kinematic_model import MAX_BYTES, inspect_kinematic_model
from bridle.deploy.joint_limits import JointLimits, frozen
from bridle.deploy.strict_yaml import (
    FileError,
    interval,
    mapping,
    name,
    number,
    read,
    read_text,
    sequence,
    unique,
)

__all__ = [
    "SHIPPED",
    "Allowance",
    "Collision",
    "HalfSpace",
    "Joint",
    "JointLimits",
    "Rates",
    "RobotDescription",
    "RobotError",
    "Separation",
    "Singularity",
    "Watchdogs",
    "Workspace",
    "frozen",
    "load_robot",
]

SHIPPED = Path(__file__).parent / "robots"
"""Folder of the robot files that come with Bridle."""
LARGEST = 100.0
"""Of a position [rad] or a coordinate [m]: what is beyond is a mistake."""
DERIVATIVES = {"velocity": (1e-6, 100.0), "acceleration": (1e-6, 1e4), "jerk": (1e-6, 1e6)}
"""Smallest and largest bound of a joint's derivatives [rad/s], [rad/s^2], [rad/s^3]."""


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
    jerk: float
    """Largest change of acceleration [rad/s^3]."""
    tracking_tolerance: float | None
    """Largest distance between command and measurement [rad]; None for one that may stall."""
    torque: float | None = None
    """Largest torque of the motor [N m]; None where it is not looked at."""


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
class HalfSpace:
    """All points x with normal x <= offset.

    Raises:
        RobotError: the normal is not of length 1, or the offset is not finite.
    """

    name: str
    normal: tuple[float, float, float]
    """Points outwards; of length 1."""
    offset: float
    """[m]."""

    def __post_init__(self) -> None:
        if not abs(float(np.linalg.norm(self.normal)) - 1) < 1e-6 or not np.isfinite(self.offset):
            raise RobotError(
                f"half-space {self.name}: a normal of length 1 and a finite offset expected, "
                f"got {self.normal}, {self.offset}"
            )


@dataclass(frozen=True)
class Allowance:
    """How far a robot in motion may be beside where its commands lead: its servos lag, and couple.

    The guard limits commands; so that the robot keeps the limits, they keep this much more.
    """

    joint: float = 0.0
    """From position limits, for joints that must follow [rad]."""
    body: float = 0.0
    """From the tool's half-spaces and between geoms [m]."""
    speed: float = 0.0
    """Share of the velocity limits and of the tool's speed."""
    acceleration: float = 0.0
    """Share of the acceleration limits."""


@dataclass(frozen=True)
class Collision:
    """Of the robot with itself and with what stands around it, as its model has them."""

    margin: float
    """Smallest distance between two geoms [m]."""


@dataclass(frozen=True)
class Separation:
    """From what moves: people and other obstacles that are reported while the robot runs."""

    uncertainty: float
    """Of the distance between the robot and an obstacle [m]."""
    max_age: float
    """Age at which the last report is too old [s]."""
    settling: float
    """For how long the robot goes on moving when its command has come to rest: what its servos lag
    behind, three time constants of it [s]."""


@dataclass(frozen=True)
class Singularity:
    """Postures in which the tool cannot be moved in every direction."""

    least: float
    """Smallest singular value of the tool's Jacobian, an angle weighing 0.2 m/rad [m/rad]."""
    near: float
    """Singular value below which the motion is bent away [m/rad]."""


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
    half_spaces: tuple[HalfSpace, ...] = ()
    """The tool stays in all of them, in the base frame."""
    tool_speed: float | None = None
    """Largest speed of the tool [m/s]."""
    model: str | None = None
    """MJCF text: the arm, whose hinges are named as the first joints, a hull of its gripper, what
    stands around it, and the site `tcp`; primitives only."""
    collision: Collision | None = None
    separation: Separation | None = None
    singularity: Singularity | None = None
    allowance: Allowance = field(default_factory=Allowance)

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
            frozen([joint.jerk for joint in self.joints]),
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
        return _robot(read(path), path.parent)
    except (FileError, RobotError) as error:
        raise RobotError(f"{path}: {error}") from error


def _robot(content: Any, folder: Path) -> RobotDescription:
    required = ("name", "joints", "rates", "latency", "watchdogs")
    needs_model = ("collision", "separation", "singularity")
    optional = ("model", "tool_speed", "workspace", "half_spaces", "allowance", *needs_model)
    top = mapping(content, "the file", required, optional)
    joints = [
        _joint(item, f"joints[{i}]") for i, item in enumerate(sequence(top["joints"], "joints"))
    ]
    if not joints:
        raise FileError("joints: expected at least one")
    unique([joint.name for joint in joints], "joints")
    rates = mapping(top["rates"], "rates", ("command", "policy"))
    command = number(rates["command"], "rates.command", 10, 2000)
    policy = number(rates["policy"], "rates.policy", 0.1, command)
    # A watchdog shorter than one tick could never be satisfied.
    tick = 1 / command
    ages = ("joint_states", "chunk", "chunk_arrival")
    watchdogs = mapping(top["watchdogs"], "watchdogs", ages)
    for key in needs_model:
        if key in top and "model" not in top:
            raise FileError(f"{key}: it needs the key 'model', which is missing")
    return RobotDescription(
        name(top["name"], "name"),
        tuple(joints),
        Rates(command, policy),
        number(top["latency"], "latency", 0.0, 1.0),
        Watchdogs(*(number(watchdogs[a], f"watchdogs.{a}", tick, 10.0) for a in ages)),
        read_workspace(top["workspace"], "workspace") if "workspace" in top else None,
        read_half_spaces(top["half_spaces"], "half_spaces") if "half_spaces" in top else (),
        read_tool_speed(top["tool_speed"], "tool_speed") if "tool_speed" in top else None,
        _model(top["model"], folder) if "model" in top else None,
        read_collision(top["collision"], "collision") if "collision" in top else None,
        _separation(top["separation"], tick) if "separation" in top else None,
        _singularity(top["singularity"]) if "singularity" in top else None,
        _allowance(top["allowance"]) if "allowance" in top else Allowance(),
    )


def _joint(content: Any, where: str) -> Joint:
    keys = ("name", "unit", "position", *DERIVATIVES, "tracking_tolerance")
    joint = mapping(content, where, keys, ("torque",))
    if joint["unit"] != "rad":
        raise FileError(f"{where}.unit: expected rad, got {joint['unit']!r}")
    tolerance, torque = joint["tracking_tolerance"], joint.get("torque")
    if tolerance is not None:
        tolerance = number(tolerance, f"{where}.tracking_tolerance", 1e-6, math.tau)
    if torque is not None:
        torque = number(torque, f"{where}.torque", 1e-6, 1e5)
    velocity, acceleration, jerk = (
        number(joint[key], f"{where}.{key}", *DERIVATIVES[key]) for key in DERIVATIVES
    )
    return Joint(
        name(joint["name"], f"{where}.name"),
        interval(joint["position"], f"{where}.position", LARGEST),
        velocity,
        acceleration,
        jerk,
        tolerance,
        torque,
    )


def _model(value: Any, folder: Path) -> str:
    file = name(value, "model")
    if file in (".", "..") or Path(file).name != file or "\\" in file:
        raise FileError(f"model: expected the name of a file beside this one, got {file!r}")
    try:
        text = read_text(folder / file, MAX_BYTES)
        inspect_kinematic_model(text)
    except (FileError, KinematicsError) as error:
        raise FileError(f"model: {file}: {error}") from error
    return text


def _separation(content: Any, tick: float) -> Separation:
    values = mapping(content, "separation", ("uncertainty", "max_age", "settling"))
    return Separation(
        number(values["uncertainty"], "separation.uncertainty", 0.0, 10.0),
        number(values["max_age"], "separation.max_age", tick, 10.0),
        number(values["settling"], "separation.settling", 0.0, 2.0),
    )


def _allowance(content: Any) -> Allowance:
    values = mapping(content, "allowance", ("joint", "body", "speed", "acceleration"))
    return Allowance(
        number(values["joint"], "allowance.joint", 0.0, 0.1),
        number(values["body"], "allowance.body", 0.0, 0.1),
        number(values["speed"], "allowance.speed", 0.0, 0.5),
        number(values["acceleration"], "allowance.acceleration", 0.0, 0.5),
    )


def _singularity(content: Any) -> Singularity:
    values = mapping(content, "singularity", ("least", "near"))
    least = number(values["least"], "singularity.least", 1e-6, 10.0)
    near = number(values["near"], "singularity.near", 1e-6, 10.0)
    if least >= near:
        raise FileError(f"singularity: least must be below near, got {least:g}, {near:g}")
    return Singularity(least, near)


# -- what files that tighten a robot's limits have as well -----------------------------------------


def read_workspace(content: Any, where: str) -> Workspace:
    """A box; each axis [min, max] [m]."""
    axes = mapping(content, where, ("x", "y", "z"))
    return Workspace(*(interval(axes[a], f"{where}.{a}", LARGEST) for a in ("x", "y", "z")))


def read_half_spaces(content: Any, where: str) -> tuple[HalfSpace, ...]:
    """A list of half-spaces with different names."""
    found = []
    for i, item in enumerate(sequence(content, where)):
        values = mapping(item, f"{where}[{i}]", ("name", "normal", "offset"))
        normal = sequence(values["normal"], f"{where}[{i}].normal")
        if len(normal) != 3:
            raise FileError(f"{where}[{i}].normal: expected three numbers, got {normal!r}")
        x, y, z = (number(v, f"{where}[{i}].normal", -1.0, 1.0) for v in normal)
        offset = number(values["offset"], f"{where}[{i}].offset", -LARGEST, LARGEST)
        try:
            found.append(HalfSpace(name(values["name"], f"{where}[{i}].name"), (x, y, z), offset))
        except RobotError as error:
            raise FileError(f"{where}[{i}]: {error}") from error
    unique([half_space.name for half_space in found], where)
    return tuple(found)


def read_tool_speed(value: Any, where: str) -> float:
    """A speed [m/s]."""
    return number(value, where, 1e-3, 100.0)


def read_collision(content: Any, where: str) -> Collision:
    """What keeps geoms apart."""
    values = mapping(content, where, ("margin",))
    return Collision(number(values["margin"], f"{where}.margin", 0.0, 0.1))
