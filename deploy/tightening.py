"""Limits for one task or one bundle, tighter than those of the robot file, read from YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from bridle.deploy.robot import (
    DERIVATIVES,
    LARGEST,
    Collision,
    HalfSpace,
    Joint,
    RobotDescription,
    RobotError,
    Workspace,
    read_collision,
    read_half_spaces,
    read_tool_speed,
    read_workspace,
)
from bridle.deploy.strict_yaml import FileError, interval, mapping, name, number, read


@dataclass(frozen=True)
class JointTightening:
    """Of one joint; None leaves the robot's own bound."""

    position: tuple[float, float] | None = None
    """Lowest and highest position [rad]."""
    velocity: float | None = None
    """[rad/s]."""
    acceleration: float | None = None
    """[rad/s^2]."""
    jerk: float | None = None
    """[rad/s^3]."""


@dataclass(frozen=True)
class Tightening:
    """What a task adds to a robot's limits; None leaves the robot's own."""

    joints: Mapping[str, JointTightening] = field(default_factory=dict)
    """By the joint's name."""
    tool_speed: float | None = None
    """[m/s]."""
    workspace: Workspace | None = None
    half_spaces: tuple[HalfSpace, ...] = ()
    collision: Collision | None = None


def load_tightening(path: str | Path) -> Tightening:
    """Read a file with any of the keys `joints`, `tool_speed`, `workspace`, `half_spaces` and
    `collision`, written as in a robot file; `joints` maps a joint's name to its bounds.

    Raises:
        RobotError: no such file, not YAML, or a key is unknown, repeated or out of range; the
            message is one line with the file and the key.
    """
    try:
        return _tightening(read(Path(path)))
    except (FileError, RobotError) as error:
        raise RobotError(f"{path}: {error}") from error


def tighten(robot: RobotDescription, by: Tightening) -> RobotDescription:
    """The robot with the intersection of its limits and others: nothing ever becomes wider.

    The nearer bound wins of a joint's range and derivatives, of the tool's speed and of each side
    of the workspace; half-spaces are added, and the larger margin wins. A bound that is wider than
    the robot's is no error: it changes nothing.

    Raises:
        RobotError: a joint that the robot does not have, limits that leave no position, a
            half-space of a name that the robot has given another, or a margin for a robot without
            a model.
    """
    unknown = [each for each in by.joints if each not in robot.joint_names]
    if unknown:
        known = ", ".join(robot.joint_names)
        raise RobotError(f"joints: {robot.name} has no joint '{unknown[0]}'; its joints: {known}")
    if by.collision is not None and robot.model is None:
        raise RobotError(f"collision: {robot.name} has no model to measure distances with")
    names = {half_space.name: half_space for half_space in robot.half_spaces}
    for half_space in by.half_spaces:
        if names.get(half_space.name, half_space) != half_space:
            raise RobotError(f"half_spaces: {robot.name} has another '{half_space.name}'")
    return replace(
        robot,
        joints=tuple(
            _joint(joint, by.joints.get(joint.name, JointTightening())) for joint in robot.joints
        ),
        tool_speed=_smaller(robot.tool_speed, by.tool_speed),
        workspace=_box(robot.workspace, by.workspace),
        half_spaces=tuple(dict.fromkeys((*robot.half_spaces, *by.half_spaces))),
        collision=_margin(robot.collision, by.collision),
    )


# -- intersections ---------------------------------------------------------------------------------


def _smaller(own: float | None, other: float | None) -> float | None:
    given = [bound for bound in (own, other) if bound is not None]
    return min(given, default=None)


def _joint(own: Joint, by: JointTightening) -> Joint:
    return replace(
        own,
        position=_both(own.position, by.position, f"joints.{own.name}.position", "rad"),
        velocity=min(own.velocity, own.velocity if by.velocity is None else by.velocity),
        acceleration=min(
            own.acceleration, own.acceleration if by.acceleration is None else by.acceleration
        ),
        jerk=min(own.jerk, own.jerk if by.jerk is None else by.jerk),
    )


def _both(
    own: tuple[float, float], by: tuple[float, float] | None, where: str, unit: str
) -> tuple[float, float]:
    if by is None:
        return own
    low, high = max(own[0], by[0]), min(own[1], by[1])
    if low >= high:
        raise RobotError(f"{where}: nothing is left: min {low:g} >= max {high:g} {unit}")
    return low, high


def _box(own: Workspace | None, by: Workspace | None) -> Workspace | None:
    if own is None or by is None:
        return by if own is None else own
    return Workspace(
        *(_both(getattr(own, a), getattr(by, a), f"workspace.{a}", "m") for a in ("x", "y", "z"))
    )


def _margin(own: Collision | None, by: Collision | None) -> Collision | None:
    if own is None or by is None:
        return by if own is None else own
    return Collision(max(own.margin, by.margin))


# -- reading ---------------------------------------------------------------------------------------


def _tightening(content: Any) -> Tightening:
    keys = [each.name for each in fields(Tightening)]
    top = mapping(content, "the file", (), keys)
    joints = top.get("joints", {})
    if not isinstance(joints, Mapping):
        raise FileError(f"joints: expected joints by their names, got {joints!r}")
    return Tightening(
        {name(key, "joints"): _bounds(joints[key], f"joints.{key}") for key in joints},
        read_tool_speed(top["tool_speed"], "tool_speed") if "tool_speed" in top else None,
        read_workspace(top["workspace"], "workspace") if "workspace" in top else None,
        read_half_spaces(top["half_spaces"], "half_spaces") if "half_spaces" in top else (),
        read_collision(top["collision"], "collision") if "collision" in top else None,
    )


def _bounds(content: Any, where: str) -> JointTightening:
    values = mapping(content, where, (), ("position", *DERIVATIVES))
    velocity, acceleration, jerk = (
        number(values[key], f"{where}.{key}", *DERIVATIVES[key]) if key in values else None
        for key in DERIVATIVES
    )
    position = None
    if "position" in values:
        position = interval(values["position"], f"{where}.position", LARGEST)
    return JointTightening(position, velocity, acceleration, jerk)
