"""Random postures of a robot, and what holds in them."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.limits import box
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.guard.pairs import Pairs
from bridle.deploy.robot import RobotDescription

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Samples:
    """Postures all over the joints' ranges, evenly."""

    postures: Vector
    """(S, n) [rad]."""
    tools: Vector
    """(S, 3) [m]."""
    inside: NDArray[np.bool_]
    """Whether the tool is in the workspace and in all half-spaces (S,)."""
    free: NDArray[np.bool_]
    """Whether no pair is nearer than the margin (S,)."""
    near: Vector
    """Share of postures in which a pair is nearer than the margin (P,)."""
    speeds: Vector
    """Highest speed of the tool within the joints' velocity limits, in postures inside, or in all
    where none is (I,) [m/s]."""
    torques: Vector
    """Share of the motors' torque that standing still, and full acceleration, take (I, 2, n); 0
    for joints without one."""
    names: tuple[str, ...]
    """Of the pairs (P,)."""
    geoms: int
    """Of the model."""

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """Which postures keep all limits (S,)."""
        both: NDArray[np.bool_] = self.inside & self.free
        return both

    @property
    def middle(self) -> Vector:
        """A posture with the tool near the middle of where it may be (n,) [rad]."""
        some = np.flatnonzero(self.allowed if self.allowed.any() else np.ones_like(self.inside))
        apart = np.linalg.norm(self.tools[some] - self.tools[some].mean(axis=0), axis=1)
        found: Vector = self.postures[some[apart.argmin()]]
        return found


def sample(robot: RobotDescription, count: int, seed: int) -> Samples:
    """Draw postures of a robot that has a model.

    Raises:
        KinematicsError: the model does not fit its joints.
    """
    assert robot.model is not None
    model = RobotModel(robot.model, len(robot.joints))
    limits, random = robot.limits, np.random.default_rng(seed)
    postures = random.uniform(limits.position_min, limits.position_max, (count, len(robot.joints)))
    half_spaces = robot.half_spaces
    if robot.workspace is not None:
        half_spaces = (*box(robot.workspace), *half_spaces)
    normals = np.array([h.normal for h in half_spaces]).reshape(-1, 3)
    offsets = np.array([h.offset for h in half_spaces])
    pairs = Pairs(model, () if robot.collision is None else model.pairs())
    margin = 0.0 if robot.collision is None else robot.collision.margin
    tools, near = np.empty((count, 3)), np.zeros((count, len(pairs)), np.bool_)
    for k, q in enumerate(postures):
        model.place(q)
        tools[k] = model.tool
        for i in pairs.near(margin):
            near[k, i] = pairs.distance(i, margin) < margin
    inside: NDArray[np.bool_] = (tools @ normals.T <= offsets).all(axis=1)
    some = postures[inside] if inside.any() else postures
    return Samples(
        postures,
        tools,
        inside,
        np.logical_not(near.any(axis=1)),
        near.mean(axis=0),
        _speeds(model, some, limits.velocity),
        _torques(robot, model, some),
        tuple(pairs.name(i) for i in range(len(pairs))),
        int(model.model.ngeom),
    )


def _speeds(model: RobotModel, postures: Vector, velocity: Vector) -> Vector:
    """The length of J u is largest at a corner of the box of velocities."""
    arm = velocity[model.arm]
    # One of two opposite corners is enough.
    corners = np.array([(1, *signs) for signs in product((-1, 1), repeat=max(0, len(arm) - 1))])
    found = np.zeros(len(postures))
    for k, q in enumerate(postures):
        model.place(q)
        velocities = model.tool_jacobian()[:3, model.arm] @ (corners * arm).T
        found[k] = np.linalg.norm(velocities, axis=0).max()
    return found


def _torques(robot: RobotDescription, model: RobotModel, postures: Vector) -> Vector:
    """As `TorqueLimit` estimates them, for a robot that is slow."""
    available = np.array([np.inf if j.torque is None else j.torque for j in robot.joints])
    acceleration, still = robot.limits.acceleration, np.zeros(len(robot.joints))
    found = np.zeros((len(postures), 2, len(robot.joints)))
    for k, q in enumerate(postures):
        model.place(q)
        mass, bias = model.dynamics(still)
        found[k, 0] = np.abs(bias) / available
        found[k, 1] = (np.abs(bias) + np.abs(mass) @ acceleration) / available
    return found
