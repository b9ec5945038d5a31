"""One step along a reference, bent no more than the limits ask for, with a stop that was judged."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.along import Companion
from bridle.deploy.guard.check import ROUNDING, Checker, Violation
from bridle.deploy.guard.limits import (
    AccelerationLimit,
    CollisionLimit,
    JerkLimit,
    Limit,
    Obstacle,
    PositionLimit,
    SeparationLimit,
    SingularityLimit,
    Situation,
    ToolSpeedLimit,
    TorqueLimit,
    VelocityLimit,
    WorkspaceLimit,
    box,
)
from bridle.deploy.guard.model import TOOL, RobotModel
from bridle.deploy.guard.motion import Motion, Motions, Posture
from bridle.deploy.guard.pairs import Pairs
from bridle.deploy.guard.program import Constraints, nearest, tool_metric
from bridle.deploy.guard.pursuit import Bound, Pursued, Pursuit
from bridle.deploy.guard.reference import Reference
from bridle.deploy.guard.surfaces import Surfaces
from bridle.deploy.guard.surroundings import Body, Surroundings
from bridle.deploy.robot import JointLimits, RobotDescription, RobotError

Vector = NDArray[np.float64]

CREST = 5e-4
"""Distances are kept by this much more than they have to be: between two postures that are looked
at they may be a little less [m]."""
HORIZON = 0.14
"""Pairs of geoms further apart than this, beyond what they have to be, bend nothing [m]."""
_BARE = f'<mujoco><worldbody><site name="{TOOL}"/></worldbody></mujoco>'


class Step(NamedTuple):
    """What to command next."""

    posture: Posture
    stop: Motion
    """From there to rest, or the stop that is under way."""
    stopping: float
    """Time into the stop [s]."""
    bound: Bound | None
    """What kept it from the reference, if anything did."""


class Follower:
    """Follows a reference with what a robot may do.

    Three ways to go on are tried, in this order, and judged (`Checker`, `Surroundings`), each with
    the stop that would follow it:

    1. towards the reference;
    2. the velocity nearest to that one within every barrier (`nearest`);
    3. one step of the stop that was judged before.

    The third is always there, so there is always a command that can be followed by a stop within
    all limits.
    """

    def __init__(self, robot: RobotDescription, *, keep_path: bool = False) -> None:
        """Prepare for a robot.

        Args:
            robot: its body, limits and rates.
            keep_path: bend the tool's path as little as can be, rather than that of the joints.

        Raises:
            KinematicsError: its model does not fit its joints.
            RobotError: it has a torque or another limit of its body, and no model, or a model with
                other joints.
        """
        limits = _kept(robot)
        self._keep_path = keep_path
        self.limits, self.dt, self._latency = limits, 1.0 / robot.rates.command, robot.latency
        self._answer = self.dt + robot.latency
        self.names = robot.joint_names
        body = (robot.workspace, robot.half_spaces, robot.tool_speed, robot.collision)
        torques = any(joint.torque is not None for joint in robot.joints)
        if robot.model is None and any((*body, robot.separation, robot.singularity, torques)):
            raise RobotError(f"{robot.name} has limits of its body, and no model of it")
        self.model = RobotModel(robot.model or _BARE, len(robot.joints))
        if self.model.joint_names != self.names[: len(self.model.joint_names)]:
            raise RobotError(
                f"the first joints of {robot.name} are {', '.join(self.names)}; its model has "
                f"{', '.join(self.model.joint_names)}"
            )
        # The arm's joints wait for one another; a gripper must not keep them waiting.
        n, arm = len(robot.joints), self.model.arm.stop or len(robot.joints)
        groups = [slice(0, arm), *(slice(i, i + 1) for i in range(arm, n))]
        self._pursuits = [Pursuit(group, limits, self.names, self.dt) for group in groups]
        self._companion = Companion(limits, self.dt, self._pursuits[0].meetings)
        self._motions = Motions(limits)
        self._body, self._shaping = _limits(robot, self.model)
        self._checker = Checker(limits, robot.joint_names, self.dt)
        self._surroundings = Surroundings(self._body, self.dt, robot.latency)
        self._build_up = float((limits.acceleration / limits.jerk).max())

    def stop(self, posture: Posture) -> Motion:
        """The stop from a posture.

        Raises:
            RobotError: none is found, which no posture within the limits is without.
        """
        stop = self._motions.stop(posture)
        if stop is None:
            raise RobotError(f"no stop is found from {posture}")
        return stop

    def advance(
        self,
        before: Posture,
        step: Vector,
        stop: Motion,
        stopping: float,
        reference: Reference,
        now: float,
        *,
        speed: float = 1.0,
        obstacles: Sequence[Obstacle] = (),
    ) -> Step | Violation:
        """The next command, one period after the last one.

        Args:
            before: the last command.
            step: mean velocity of the period that led to it (n,) [rad/s].
            stop: the stop judged with it.
            stopping: time into that stop [s].
            reference: what is asked for.
            now: when the step begins [s].
            speed: share of the velocity limits to be used.
            obstacles: what moves around the robot.

        Returns:
            The step; or why there must be none: somebody is too near, or a motion came out that is
            none.
        """
        situation = self._situation(before, obstacles)
        too_near = self._too_near(obstacles)
        if too_near is not None:
            return too_near
        acceleration = self._acceleration(situation)
        ways = self._ways(before, reference, now, speed, acceleration)
        situation = situation.but(wanted=np.concatenate([way.mean for way in ways]))
        constraints = Constraints.of_rows(self._shaping, situation)
        posture = _together([way.posture for way in ways])
        reason = next((way.bound for way in ways if way.bound is not None), None)
        if posture is not None:
            broken = constraints.broken(posture.v)
            if broken is None:
                found = self._judged(before, step, posture, situation)
                if isinstance(found, Motion):
                    return Step(posture, found, 0.0, reason)
                if found.rule == "check":
                    return found
                reason = Bound(*found[:5])
            else:
                reason = Bound(*broken)
        bent = self._bent(before, situation, constraints, acceleration)
        if bent is not None:
            found = self._judged(before, step, bent, situation)
            if isinstance(found, Motion):
                return Step(bent, found, 0.0, reason)
            if found.rule == "check":
                return found
            reason = Bound(*found[:5])
        stopping += self.dt
        if reason is None:
            reason = Bound("check", "", math.nan, math.nan, "")
        return Step(stop.at(stopping), stop, stopping, reason)

    def limits_at(self, posture: Posture) -> JointLimits:
        """The limits of the commands, with the accelerations that the motors can give there."""
        return replace(self.limits, acceleration=self._acceleration(self._situation(posture, ())))

    def standing(self, before: Posture, there: Vector) -> Violation | None:
        """The first limit that the robot is outside of, further than the last command is.

        Args:
            before: the last command.
            there: where the robot stands (n,) [rad].
        """
        outside = np.maximum(self.limits.position_min - there, there - self.limits.position_max)
        was = np.maximum(self.limits.position_min - before.q, before.q - self.limits.position_max)
        worse = ~(outside <= np.maximum(was, 0.0) + ROUNDING)
        if worse.any():
            i = int(worse.argmax())
            value, detail = float(there[i]), "where the robot stands"
            bound = float(np.clip(value, self.limits.position_min[i], self.limits.position_max[i]))
            return Violation("position", self.names[i], value, bound, "rad", detail)
        return self._surroundings.standing(before.q, there)

    # -- inside ------------------------------------------------------------------------------------

    def _too_near(self, obstacles: Sequence[Obstacle]) -> Violation | None:
        """Where something may reach a robot at rest before it could answer, it has to be at rest.

        Not even away from it: which way that is has changed by then.
        """
        limit = self._body.separation
        if limit is None:
            return None
        for obstacle in obstacles:
            distances, needed = limit.distances(obstacle), limit.needed(obstacle, self._answer)
            i = int(distances.argmin())
            # So written that nan is near.
            if not distances[i] > needed:
                value = float(distances[i])
                return Violation("separation", limit.name_of(i), value, needed, "m", "too near")
        return None

    def _ways(
        self, before: Posture, reference: Reference, now: float, speed: float, acceleration: Vector
    ) -> list[Pursued]:
        """Of the joints that move together, each, one period with the reference or towards it."""
        times = (0.0, self.dt / 2, self.dt, self._pursuits[0].lookahead)
        near = reference.instants([now + t for t in times])
        along = self._companion(before, reference, near[:3], now, speed, acceleration)
        ahead = Posture(*near[3])
        return [
            pursuit(before, reference, ahead, now, speed, acceleration, along)
            for pursuit in self._pursuits
        ]

    def _situation(self, before: Posture, obstacles: Sequence[Obstacle]) -> Situation:
        self.model.place(before.q)
        return Situation(
            *before,
            wanted=before.v,
            dt=self.dt,
            latency=self._latency,
            limits=self.limits,
            model=self.model,
            obstacles=tuple(obstacles),
            lower=None if self._body.pairs is None else self._body.pairs.lower(),
            build_up=self._build_up,
        )

    def _acceleration(self, situation: Situation) -> Vector:
        found = [limit.acceleration(situation) for limit in self._shaping]
        least: Vector = np.minimum.reduce([each for each in found if each is not None])
        return least

    def _bent(
        self,
        before: Posture,
        situation: Situation,
        constraints: Constraints,
        acceleration: Vector,
    ) -> Posture | None:
        """Within all barriers; None where nothing is."""
        # What was judged before has left it elsewhere.
        self.model.place(before.q)
        share = min(limit.share(situation) for limit in self._shaping)
        bounded = constraints.within(self._shaping, situation)
        metric = tool_metric(self.model) if self._keep_path else None
        solution = nearest(share * situation.wanted, bounded, metric)
        if solution is None:
            return None
        motion = self._motions.to_velocity(before, solution.velocity, acceleration)
        return None if motion is None else motion.at(self.dt)

    def _judged(
        self, before: Posture, step: Vector, after: Posture, s: Situation
    ) -> Motion | Violation:
        """The stop that may follow a command, or what speaks against all of them."""
        earlier = before.q - step * self.dt
        found = Violation("check", "", math.nan, math.nan, "", "no stop is found")
        for together in (True, False):
            stop = self._motions.stop(after, together=together)
            if stop is None:
                continue
            violation = self._checker.violation(before, step, after, stop)
            if violation is None:
                violation = self._surroundings.violation(
                    earlier, before.q, after.q, stop, s.obstacles, s.lower
                )
            if violation is None:
                return stop
            found = violation
        return found


def _together(parts: Sequence[Posture | None]) -> Posture | None:
    """All joints, where there is something of each."""
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return None
    return Posture(*(np.concatenate(each) for each in zip(*found, strict=True)))


def _kept(robot: RobotDescription) -> JointLimits:
    """The limits of the commands, so that the joints that follow them keep the robot's."""
    limits = robot.limits
    follow = [joint.tracking_tolerance is not None for joint in robot.joints]
    reach = limits.position_max - limits.position_min
    more = np.where(follow, robot.allowance.joint, 0.0)
    if (reach < 4 * more).any():
        i = int((reach - 4 * more).argmin())
        raise RobotError(
            f"{robot.joint_names[i]} may move {reach[i]:.4g} rad, of which the robot's allowance "
            f"takes {2 * more[i]:.4g}: too little is left"
        )
    return replace(
        limits,
        position_min=limits.position_min + more,
        position_max=limits.position_max - more,
        velocity=limits.velocity * (1 - robot.allowance.speed),
        acceleration=limits.acceleration * (1 - robot.allowance.acceleration),
    )


def _limits(robot: RobotDescription, model: RobotModel) -> tuple[Body, tuple[Limit, ...]]:
    """What of the body is limited, and all limits that shape a velocity."""
    shaping: list[Limit] = [PositionLimit(), VelocityLimit(), AccelerationLimit(), JerkLimit()]
    half_spaces = robot.half_spaces
    if robot.workspace is not None:
        half_spaces = (*box(robot.workspace), *half_spaces)
    more = CREST + robot.allowance.body
    half_spaces = tuple(replace(each, offset=each.offset - more) for each in half_spaces)
    if half_spaces:
        shaping.append(WorkspaceLimit(half_spaces))
    speed = math.inf
    if robot.tool_speed is not None:
        speed = robot.tool_speed * (1 - robot.allowance.speed)
        shaping.append(ToolSpeedLimit(speed))
    pairs, margin = None, 0.0
    if robot.collision is not None:
        pairs, margin = Pairs(model, model.pairs()), robot.collision.margin + more
        shaping.append(CollisionLimit(pairs, margin=margin, horizon=margin + HORIZON))
    separation = None
    if robot.separation is not None:
        separation = SeparationLimit(
            Surfaces(model),
            uncertainty=robot.separation.uncertainty + robot.allowance.body,
            settling=robot.separation.settling,
        )
        shaping.append(separation)
    torques = [math.inf if joint.torque is None else joint.torque for joint in robot.joints]
    if not all(map(math.isinf, torques)):
        shaping.append(TorqueLimit(np.array(torques)))
    if robot.singularity is not None:
        shaping.append(SingularityLimit(least=robot.singularity.least, near=robot.singularity.near))
    return Body(model, half_spaces, speed, pairs, margin, separation), tuple(shaping)
