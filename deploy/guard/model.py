"""The robot's body as the guard sees it: where its tool and its geoms are, and how they move."""

import math
from itertools import combinations
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from bridle.deploy.exceptions import KinematicsError
from bridle.deploy.inspection import inspect_kinematic_model

Vector = NDArray[np.float64]

TOOL = "tcp"
"""Site of the tool."""


class Distance(NamedTuple):
    """Between two geoms."""

    value: float
    """Signed [m]: negative where they overlap."""
    gradient: Vector
    """Its derivative by the joint positions (n,) [m/rad]."""


class RobotModel:
    """Forward kinematics and distances of an arm of hinges, in one configuration at a time.

    The arm is the first joints of the robot; further ones (a gripper) move nothing here.
    """

    def __init__(self, mjcf: str, n_joints: int) -> None:
        """Compile a model with primitive geoms.

        Args:
            mjcf: the model.
            n_joints: joints of the robot (n), at least as many as the model has.

        Raises:
            KinematicsError: it does not compile, has a joint that is no hinge or more joints than
                the robot, a mesh that could collide, or no site `tcp`.
        """
        inspect_kinematic_model(mjcf)
        try:
            self.model = model = mujoco.MjModel.from_xml_string(mjcf)
        except (ValueError, mujoco.FatalError) as error:
            why = " ".join(str(error).split())
            raise KinematicsError(f"the model of the robot does not compile: {why}") from error
        if (model.jnt_type != mujoco.mjtJoint.mjJNT_HINGE).any() or model.njnt > n_joints:
            raise KinematicsError(f"the model of the robot may have {n_joints} joints, all hinges")
        self._tool = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, TOOL)
        if self._tool < 0:
            raise KinematicsError(f"the model of the robot has no site '{TOOL}'")
        self.n_joints, self._n_arm = n_joints, int(model.njnt)
        self.data = mujoco.MjData(model)
        self._from_to = np.zeros(6)
        self._bodies: list[int] = model.geom_bodyid.tolist()
        self._jacobians = np.zeros((2, 3, self._n_arm))
        self.place(np.zeros(n_joints))

    def place(self, q: Vector) -> None:
        """Take a configuration (n,) [rad]."""
        self.data.qpos[:] = q[: self._n_arm]
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)

    @property
    def arm(self) -> slice:
        """The joints that move something here."""
        return slice(0, self._n_arm)

    # -- tool --------------------------------------------------------------------------------------

    @property
    def tool(self) -> Vector:
        """Position of the tool in the base frame (3,) [m]."""
        position: Vector = self.data.site_xpos[self._tool].copy()
        return position

    def tool_jacobian(self) -> Vector:
        """Linear, then angular velocity of the tool by joint velocities (6, n)."""
        jacobian = np.zeros((6, self.n_joints))
        linear, angular = self._jacobians
        mujoco.mj_jacSite(self.model, self.data, linear, angular, self._tool)
        jacobian[:3, : self._n_arm] = linear
        jacobian[3:, : self._n_arm] = angular
        return jacobian

    # -- geoms -------------------------------------------------------------------------------------

    @property
    def moving_geoms(self) -> tuple[int, ...]:
        """Geoms that a joint moves."""
        moves = self.model.body_weldid[self.model.geom_bodyid] != 0
        return tuple(np.flatnonzero(moves).tolist())

    def point_jacobian(self, geom: int) -> Vector:
        """Velocity of a geom's centre by joint velocities (3, n)."""
        linear = self._jacobians[0]
        body = self.model.geom_bodyid[geom]
        mujoco.mj_jac(self.model, self.data, linear, None, self.data.geom_xpos[geom], body)
        jacobian = np.zeros((3, self.n_joints))
        jacobian[:, self.arm] = linear
        return jacobian

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of geoms that may not come together.

        One of them moves, their bodies are not joined, and the model lets them collide, as MuJoCo
        has it: by `contype` and `conaffinity` and no `exclude`, or as a `pair` of its own.

        Raises:
            KinematicsError: a geom that moves is a mesh: its distance is not bounded in time.
        """
        model = self.model
        moves = model.body_weldid[model.geom_bodyid] != 0
        if (model.geom_type[moves] == mujoco.mjtGeom.mjGEOM_MESH).any():
            raise KinematicsError("geoms of the robot's model must be primitives, not meshes")
        above = model.body_weldid[model.body_parentid]
        excluded = set(model.exclude_signature.tolist())
        found = {
            (min(a, b), max(a, b))
            for a, b in zip(model.pair_geom1.tolist(), model.pair_geom2.tolist(), strict=True)
        }
        for a, b in combinations(range(model.ngeom), 2):
            collide = (model.geom_contype[a] & model.geom_conaffinity[b]) | (
                model.geom_contype[b] & model.geom_conaffinity[a]
            )
            bodies = sorted(int(model.geom_bodyid[geom]) for geom in (a, b))
            first, second = (int(model.body_weldid[body]) for body in bodies)
            joined = first == second or above[first] == second or above[second] == first
            if collide and not joined and (bodies[0] << 16) + bodies[1] not in excluded:
                found.add((a, b))
        return tuple(sorted(pair for pair in found if moves[list(pair)].any()))

    def distance(self, a: int, b: int, furthest: float) -> float:
        """Signed distance between two geoms [m], `furthest` where it is more."""
        return float(mujoco.mj_geomDistance(self.model, self.data, a, b, furthest, self._from_to))

    def distance_gradient(self, a: int, b: int, furthest: float) -> Distance | None:
        """Signed distance between two geoms, with its gradient; None where it is `furthest`.

        With the nearest points p_a, p_b and d = |p_b - p_a|, negative where they overlap,

            dd/dq = (p_b - p_a)/d (J_b(p_b) - J_a(p_a)).
        """
        value = self.distance(a, b, furthest)
        if value >= furthest:
            return None
        start, end = self._from_to[:3], self._from_to[3:]
        gradient = np.zeros(self.n_joints)
        length = math.dist(start, end)
        if length < 1e-9:
            # They touch: which way is apart cannot be told. Whoever asks must stop.
            return Distance(value, gradient)
        normal = (end - start) * (math.copysign(1.0, value) / length)
        first, second = self._jacobians
        mujoco.mj_jac(self.model, self.data, first, None, start, self._bodies[a])
        mujoco.mj_jac(self.model, self.data, second, None, end, self._bodies[b])
        gradient[: self._n_arm] = normal @ second - normal @ first
        return Distance(value, gradient)

    def name(self, geom: int) -> str:
        """Of a geom: its own, or its body's."""
        own = self.model.geom(geom).name
        return own or str(self.model.body(self.model.geom_bodyid[geom]).name)

    # -- dynamics ----------------------------------------------------------------------------------

    def dynamics(self, v: Vector) -> tuple[Vector, Vector]:
        """Mass matrix (n, n) [kg m^2] and bias (n,) [N m] of gravity and velocity at `v` [rad/s].

        Further joints than the arm's have neither.
        """
        n, model, data = self._n_arm, self.model, self.data
        data.qvel[:] = v[:n]
        mujoco.mj_crb(model, data)
        mujoco.mj_comVel(model, data)
        mass, bias = np.zeros((n, n)), np.zeros(n)
        mujoco.mj_fullM(model, data, mass)
        mujoco.mj_rne(model, data, 0, bias)
        all_mass, all_bias = np.zeros((self.n_joints,) * 2), np.zeros(self.n_joints)
        all_mass[:n, :n], all_bias[:n] = mass, bias
        return all_mass, all_bias
