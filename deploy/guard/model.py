"""The robot's body as the guard sees it: where its tool and its geoms are, and how they move."""

from collections.abc import Sequence
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
_NEXT, _LAST = [1, 2, 0], [2, 0, 1]


class Distances(NamedTuple):
    """Between the geoms of those pairs that are near."""

    which: list[int]
    """Pairs, as they were given (m)."""
    values: Vector
    """Signed (m,) [m]: negative where they overlap."""
    gradients: Vector
    """Their derivatives by the joint positions (m, n) [m/rad]; 0 where two geoms touch."""


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
            KinematicsError: it does not compile, has a joint that is no hinge, or one with a
                reference, or more joints than the robot, a mesh that could collide, or no site
                `tcp`.
        """
        inspect_kinematic_model(mjcf)
        try:
            self.model = model = mujoco.MjModel.from_xml_string(mjcf)
        except (ValueError, mujoco.FatalError) as error:
            why = " ".join(str(error).split())
            raise KinematicsError(f"the model of the robot does not compile: {why}") from error
        if (model.jnt_type != mujoco.mjtJoint.mjJNT_HINGE).any() or model.njnt > n_joints:
            raise KinematicsError(f"the model of the robot may have {n_joints} joints, all hinges")
        if model.qpos0.any():
            raise KinematicsError("a joint of the robot's model has a reference other than 0")
        self._tool = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, TOOL)
        if self._tool < 0:
            raise KinematicsError(f"the model of the robot has no site '{TOOL}'")
        self.n_joints, self._n_arm = n_joints, int(model.njnt)
        self.data = mujoco.MjData(model)
        self._from_to = np.zeros(6)
        self._carried = self._carrying()[model.geom_bodyid]
        """(G, joints of the arm): 1 where a joint moves a geom."""
        self._jacobians = np.zeros((2, 3, self._n_arm))
        self.place(np.zeros(n_joints))

    def _carrying(self) -> Vector:
        """(B, joints of the arm): 1 where a joint moves a body."""
        model = self.model
        found = np.zeros((model.nbody, self._n_arm))
        for body in range(1, model.nbody):
            found[body] = found[model.body_parentid[body]]
            first = model.body_jntadr[body]
            found[body, first : first + model.body_jntnum[body]] = 1.0
        return found

    def place(self, q: Vector) -> None:
        """Take a configuration (n,) [rad]."""
        self.data.qpos[:] = q[: self._n_arm]
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)

    @property
    def arm(self) -> slice:
        """The joints that move something here."""
        return slice(0, self._n_arm)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Of the joints that move something here, in order."""
        return tuple(self.model.joint(i).name for i in range(self._n_arm))

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

    def rates(self, geoms: NDArray[np.int_], points: Vector, normals: Vector) -> Vector:
        """How fast points of geoms move along directions, by joint velocities (m, n) [m/rad].

        Args:
            geoms: (m,).
            points: one of each (m, 3) [m].
            normals: (m, 3).
        """
        rates = np.zeros((len(geoms), self.n_joints))
        rates[:, self.arm] = self._carried[geoms] * self._turns(points, normals)
        return rates

    def _turns(self, points: Vector, normals: Vector) -> Vector:
        """For points p and directions n (m, 3), and every hinge of the arm: n (u x (p - c))."""
        axes, centres = self.data.xaxis[: self._n_arm], self.data.xanchor[: self._n_arm]
        turns: Vector = _cross(points, normals) @ axes.T - normals @ _cross(axes, centres).T
        return turns

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of geoms that may not come together.

        One of them moves, their bodies are not joined, and the model lets them collide, as MuJoCo
        has it: by `contype` and `conaffinity` and no `exclude`, or as a `pair` of its own. A body
        and its parent are joined unless the parent is fixed to the world: what stands there may be
        in the way of the first link too.

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
            parent = above[first] == second or above[second] == first
            joined = first == second or (parent and first != 0 and second != 0)
            if collide and not joined and (bodies[0] << 16) + bodies[1] not in excluded:
                found.add((a, b))
        return tuple(sorted(pair for pair in found if moves[list(pair)].any()))

    def distance(self, a: int, b: int, furthest: float) -> float:
        """Signed distance between two geoms [m], `furthest` where it is more."""
        return float(mujoco.mj_geomDistance(self.model, self.data, a, b, furthest, self._from_to))

    def distances(self, pairs: Sequence[tuple[int, int]], furthest: Sequence[float]) -> Distances:
        """Signed distances of pairs of geoms that are nearer than `furthest` each, with gradients.

        With the nearest points p_a, p_b, at the distance d along n = (p_b - p_a) / d, d negative
        where they overlap,

            dd/dq_j = n (J_b(p_b) - J_a(p_a))_j = (o_bj - o_aj) n ((p_a - c_j) x u_j)',

        for a hinge j with the axis u_j through c_j, o_bj being 1 where it moves b and 0 elsewhere:
        n lies along p_b - p_a, so p_a serves for both.
        """
        model, data, ends = self.model, self.data, np.empty((len(pairs), 6))
        which: list[int] = []
        values: list[float] = []
        for k, ((a, b), most) in enumerate(zip(pairs, furthest, strict=True)):
            value = mujoco.mj_geomDistance(model, data, a, b, most, ends[len(which)])
            if value < most:
                which.append(k)
                values.append(value)
        m, n = len(which), self._n_arm
        found, gradients = np.array(values), np.zeros((m, self.n_joints))
        if m:
            start = ends[:m, :3]
            way = ends[:m, 3:] - start
            length = np.sqrt(np.einsum("mi,mi->m", way, way))
            # Where they touch, which way is apart cannot be told. Whoever asks must stop.
            touch = length < 1e-9
            normal = way * (np.copysign(~touch, found) / np.where(touch, 1.0, length))[:, None]
            first, second = np.array([pairs[k] for k in which]).T
            carried = self._carried[second] - self._carried[first]
            gradients[:, :n] = carried * self._turns(start, normal)
        return Distances(which, found, gradients)

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


def _cross(a: Vector, b: Vector) -> Vector:
    """Cross products (m, 3) of few vectors, many times faster than NumPy's."""
    found: Vector = a[:, _NEXT] * b[:, _LAST] - a[:, _LAST] * b[:, _NEXT]
    return found
