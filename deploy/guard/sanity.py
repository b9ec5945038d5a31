"""Whether a robot's limits are sane: numbers that follow from them, and what is odd about these."""

from dataclasses import dataclass, field

import numpy as np

from bridle.deploy.exceptions import KinematicsError, RobotError
from bridle.deploy.guard.guard import Guard
from bridle.deploy.guard.limits import TorqueLimit
from bridle.deploy.guard.sampling import Samples, sample
from bridle.deploy.robot import Joint, RobotDescription

POSTURES = 2000
"""Drawn at random."""
SLOW_BUILD_UP = 0.2
"""An acceleration that takes longer to build up makes every stop long [s]."""
FREE_OFTEN = 0.01
"""A limit that leaves less than this share of postures is probably a mistake."""
NEAR_OFTEN = 0.5
"""A pair that is too near in more than this share of postures is probably part of one thing."""


@dataclass(frozen=True)
class JointReport:
    """What a joint's limits mean."""

    name: str
    low: float
    """[rad]."""
    high: float
    """[rad]."""
    velocity: float
    """[rad/s]."""
    acceleration: float
    """[rad/s^2]."""
    jerk: float
    """[rad/s^3]."""
    build_up: float
    """Time until the acceleration is at its limit, a / j [s]."""
    stop_time: float
    """From full speed to rest [s]."""
    stop_distance: float
    """[rad]."""
    standing_torque: float | None = None
    """Largest share of its torque that it takes to stand still."""
    full_torque: float | None = None
    """The same with every joint at its full acceleration."""

    @classmethod
    def of(cls, joint: Joint, standing: float | None, full: float | None) -> "JointReport":
        """Of a joint of a robot file.

        With the velocity v, acceleration a and jerk j, a stop takes v/a + a/j, or 2 sqrt(v/j) where
        the full acceleration is not reached, and goes half as far as full speed would in that time.
        """
        v, a, j = joint.velocity, joint.acceleration, joint.jerk
        seconds = v / a + a / j if v >= a * a / j else 2 * (v / j) ** 0.5
        low, high = joint.position
        return cls(joint.name, low, high, v, a, j, a / j, seconds, v * seconds / 2, standing, full)


@dataclass(frozen=True)
class BodyReport:
    """What the limits of the body mean, over random postures."""

    geoms: int
    pairs: int
    """Of geoms that may not come together."""
    too_near: dict[str, float]
    """Pair -> share of postures in which it is nearer than the margin; those above a quarter."""
    inside: float
    """Share of postures with the tool in the workspace."""
    free: float
    """Share of postures in which no pair is nearer than the margin."""
    allowed: float
    """Share of postures in which both hold."""
    tool_speed: float | None
    """Limit [m/s]."""
    reachable_speed: float
    """Highest speed of the tool that the joints' velocities allow [m/s]."""


@dataclass
class Report:
    """On a robot."""

    robot: str
    joints: list[JointReport] = field(default_factory=list)
    body: BodyReport | None = None
    errors: list[str] = field(default_factory=list)
    """Why the guard cannot work like this."""
    warnings: list[str] = field(default_factory=list)
    """What is odd."""


def examine(
    robot: RobotDescription, *, postures: int = POSTURES, seed: int = 0
) -> tuple[Report, Samples | None]:
    """Examine a robot, with what a task adds to its limits (`tighten`).

    Args:
        robot: the robot.
        postures: how many are drawn.
        seed: of the draw.

    Returns:
        The report, and the postures where the robot has a model that can be used.
    """
    report, samples = Report(robot.name), None
    try:
        Guard(robot)
        if robot.model is not None:
            samples = sample(robot, postures, seed)
    except (RobotError, KinematicsError) as error:
        report.errors.append(str(error))
    _joints(robot, samples, report)
    _watchdogs(robot, report)
    if samples is not None:
        _body(robot, samples, report)
    elif robot.model is None:
        report.warnings.append(
            "no model: neither the tool's place and speed nor collisions are limited"
        )
    return report, samples


def _joints(robot: RobotDescription, samples: Samples | None, report: Report) -> None:
    usable = TorqueLimit(np.ones(1)).usable
    for i, joint in enumerate(robot.joints):
        torques = None
        if samples is not None and joint.torque is not None:
            torques = samples.torques[:, :, i]
        standing, full = (None, None) if torques is None else torques.max(axis=0).tolist()
        found = JointReport.of(joint, standing, full)
        report.joints.append(found)
        _judge_joint(found, joint, robot, report)
        if torques is None:
            continue
        if (torques[:, 0] > usable).any():
            report.errors.append(
                f"{joint.name}: standing still takes up to {standing:.0%} of its torque, "
                f"{usable:.0%} are used"
            )
        elif (slowed := float((torques[:, 1] > usable).mean())) > 0:
            report.warnings.append(
                f"{joint.name}: in {slowed:.0%} of postures full acceleration takes more than the "
                f"{usable:.0%} of its torque that are used, {full:.0%} at most: there the guard "
                "goes slower"
            )


def _judge_joint(found: JointReport, joint: Joint, robot: RobotDescription, report: Report) -> None:
    name, reach = found.name, found.high - found.low
    if found.stop_distance > reach:
        report.warnings.append(
            f"{name}: from {found.velocity:g} rad/s it stops within {found.stop_distance:.3g} rad, "
            f"its whole range is {reach:.3g} rad: that speed is never reached"
        )
    if found.build_up > SLOW_BUILD_UP:
        report.warnings.append(
            f"{name}: with a jerk of {found.jerk:g} rad/s^3 its acceleration takes "
            f"{found.build_up:.2g} s to build up, so long is every stop delayed"
        )
    if found.build_up < 1 / robot.rates.command:
        report.warnings.append(
            f"{name}: its acceleration is built up in {1e3 * found.build_up:.2g} ms, less than a "
            "control period: the jerk limits nothing"
        )
    lag = found.velocity * robot.latency
    if joint.tracking_tolerance is not None and joint.tracking_tolerance <= lag:
        report.warnings.append(
            f"{name}: at full speed it is {lag:.3g} rad behind its command by the latency alone, "
            f"more than its tracking tolerance of {joint.tracking_tolerance:g} rad: it would stop"
        )


def _watchdogs(robot: RobotDescription, report: Report) -> None:
    dogs, rates, warn = robot.watchdogs, robot.rates, report.warnings.append
    if dogs.joint_states < 3 / rates.command:
        warn(
            f"watchdogs.joint_states: {dogs.joint_states:g} s are less than three control periods: "
            "one late message stops the robot"
        )
    if dogs.chunk < 2 / rates.policy:
        warn(
            f"watchdogs.chunk: {dogs.chunk:g} s are less than two steps of the policy "
            f"({2 / rates.policy:g} s): the robot would stop between chunks"
        )
    if dogs.chunk_arrival >= dogs.chunk:
        warn(
            f"watchdogs.chunk_arrival: a chunk that arrives {dogs.chunk_arrival:g} s old is taken, "
            f"and too old already for watchdogs.chunk, {dogs.chunk:g} s"
        )


def _body(robot: RobotDescription, samples: Samples, report: Report) -> None:
    shares = samples.near.tolist()
    too_near = {n: s for n, s in zip(samples.names, shares, strict=True) if s > 0.25}
    fastest = float(samples.speeds.max())
    report.body = body = BodyReport(
        samples.geoms,
        len(samples.names),
        too_near,
        float(samples.inside.mean()),
        float(samples.free.mean()),
        float(samples.allowed.mean()),
        robot.tool_speed,
        fastest,
    )
    for name, share in too_near.items():
        if share == 1:
            report.errors.append(
                f"{name} are nearer than the margin in every posture: built so; leave the pair out "
                "in the model (<exclude>)"
            )
        elif share > NEAR_OFTEN:
            report.warnings.append(
                f"{name} are nearer than the margin in {share:.0%} of postures: is the hull too "
                "large?"
            )
    if not samples.inside.any():
        report.errors.append("no posture has its tool in the workspace")
    elif not body.allowed:
        report.errors.append("in no posture with its tool in the workspace nothing is too near")
    elif body.allowed < FREE_OFTEN:
        report.warnings.append(f"only {body.allowed:.2%} of postures keep all limits")
    _judge_speed(robot, fastest, report)


def _judge_speed(robot: RobotDescription, fastest: float, report: Report) -> None:
    warn = report.warnings.append
    if robot.tool_speed is None:
        warn(f"no tool_speed: the joints allow the tool up to {fastest:.2f} m/s")
    elif robot.tool_speed > fastest:
        warn(
            f"tool_speed {robot.tool_speed:g} m/s is never reached: the joints allow {fastest:.2f}"
        )
    if robot.workspace is None and not robot.half_spaces:
        warn("no workspace: the tool may go wherever the joints reach")
    if robot.collision is None:
        warn("no collision: nothing keeps the robot from itself and what stands around it")
        return
    step = min(fastest, robot.tool_speed or fastest) / robot.rates.command
    if robot.collision.margin < step:
        warn(
            f"collision.margin: the tool moves up to {1e3 * step:.1f} mm in a control period, more "
            f"than the margin of {1e3 * robot.collision.margin:g} mm"
        )
