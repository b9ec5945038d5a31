"""The robot's body as the fuzz measures it: plain MuJoCo on the robot file's model."""

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.model import RobotModel
from bridle.deploy.robot import RobotDescription

Vector = NDArray[np.float64]

CLOSE = 1e-3
"""Distances are known exactly where they are nearer than this to the margin [m]."""
_FAR = 10.0


class Geometry:
    """Where the tool and the geoms are, for many postures at once.

    Which geoms may not come together is read as the guard reads it (`RobotModel.pairs`); where
    they are, how near, and how fast that changes is found anew.
    """

    def __init__(self, robot: RobotDescription) -> None:
        """Compile the model of a robot that has one."""
        assert robot.model is not None
        self.robot = robot
        self.model = mujoco.MjModel.from_xml_string(robot.model)
        self.data = mujoco.MjData(self.model)
        self._tool = int(self.model.site("tcp").id)
        self.pairs = RobotModel(robot.model, len(robot.joints)).pairs()
        self.n_arm = int(self.model.njnt)
        self.margin = 0.0 if robot.collision is None else robot.collision.margin
        walls = [(h.normal, h.offset, h.name) for h in robot.half_spaces]
        if robot.workspace is not None:
            for i, axis in enumerate("xyz"):
                low, high = getattr(robot.workspace, axis)
                unit = np.eye(3)[i]
                walls += [(-unit, -low, f"{axis} >= {low:g}"), (unit, high, f"{axis} <= {high:g}")]
        self.normals = np.array([wall[0] for wall in walls]).reshape(-1, 3)
        self.offsets = np.array([wall[1] for wall in walls])
        self.walls = tuple(wall[2] for wall in walls)
        kinds = self.model.geom_type
        ends = np.array(self.pairs, int).reshape(-1, 2)
        fixed = (self.model.body_weldid[self.model.geom_bodyid] == 0)[ends]
        self.to_surroundings: NDArray[np.bool_] = fixed.any(axis=1)
        """Which pairs are of something that does not move (P,)."""
        ends[fixed[:, 0]] = ends[fixed[:, 0]][:, ::-1]
        self._a, self._b = ends.T
        moves = self.model.body_weldid[self.model.geom_bodyid] != 0
        self.moving: NDArray[np.int_] = np.flatnonzero(moves)
        """Geoms that a joint moves."""
        self._boxes = np.flatnonzero(kinds[self._b] == mujoco.mjtGeom.mjGEOM_BOX)
        round_ = kinds[self._a[self._boxes]] == mujoco.mjtGeom.mjGEOM_CAPSULE
        self._capsules = self._boxes[round_]
        self._planes = np.flatnonzero(kinds[self._b] == mujoco.mjtGeom.mjGEOM_PLANE)

    # -- one posture -------------------------------------------------------------------------------

    def place(self, q: Vector) -> None:
        """Take a posture (n,) [rad]."""
        self.data.qpos[:] = q[: self.n_arm]
        mujoco.mj_kinematics(self.model, self.data)

    @property
    def tool(self) -> Vector:
        """Position of the tool in the posture (3,) [m]."""
        position: Vector = self.data.site_xpos[self._tool].copy()
        return position

    def wall_slacks(self) -> Vector:
        """How far inside each wall the tool is, in the posture [m]."""
        slacks: Vector = self.offsets - self.normals @ self.data.site_xpos[self._tool]
        return slacks

    def distance(self, pair: int, furthest: float = _FAR) -> float:
        """Of a pair in the posture, `furthest` where it is more [m]."""
        a, b = self.pairs[pair]
        return float(mujoco.mj_geomDistance(self.model, self.data, a, b, furthest, None))

    def nearest(self, furthest: float) -> tuple[float, int]:
        """The smallest distance of any pair in the posture [m], and of which; -1 beyond."""
        lower = self._apart(self.data.geom_xpos[None], self.data.geom_xmat[None])[0]
        best, which = furthest, -1
        for i in np.argsort(lower):
            if lower[i] >= best:
                break
            d = self.distance(int(i), best)
            if d < best:
                best, which = d, int(i)
        return best, which

    def is_free(self, room: float, *, itself: bool = True) -> bool:
        """Whether pairs are further apart than the margin and some room, in the posture [m].

        Args:
            room: [m].
            itself: whether pairs of the robot's own parts count.
        """
        level = self.margin + room
        lower = self._apart(self.data.geom_xpos[None], self.data.geom_xmat[None])[0]
        near = lower < level if itself else (lower < level) & self.to_surroundings
        return all(self.distance(i, level) >= level for i in np.flatnonzero(near).tolist())

    def is_pierced(self) -> bool:
        """Whether the axis of a capsule goes through a box, in the posture.

        There, and only there, MuJoCo's distance of the two may be wrong, and even positive.
        """
        data, sizes = self.data, self.model.geom_size
        for i in self._capsules.tolist():
            a, b = self._a[i], self._b[i]
            turn = data.geom_xmat[b].reshape(3, 3)
            middle = (data.geom_xpos[a] - data.geom_xpos[b]) @ turn
            half = sizes[a, 1] * data.geom_xmat[a].reshape(3, 3)[:, 2] @ turn
            # Where the axis enters and leaves each pair of faces, in shares of its half length.
            half = np.where(np.abs(half) < 1e-12, 1e-12, half)
            faces = (np.array([[-1.0], [1.0]]) * sizes[b] - middle) / half
            if max(-1.0, faces.min(axis=0).max()) <= min(1.0, faces.max(axis=0).min()):
                return True
        return False

    def jacobian(self, q: Vector) -> Vector:
        """Of the tool's position by the arm's joints (3, n_arm) [m/rad]."""
        self.place(q)
        mujoco.mj_comPos(self.model, self.data)
        found = np.zeros((3, self.n_arm))
        mujoco.mj_jacSite(self.model, self.data, found, None, self._tool)
        return found

    # -- what moves around it ----------------------------------------------------------------------

    def nearest_part(self, q: Vector, point: Vector) -> Vector:
        """Centre (3,) [m] of the geom that moves and is nearest to a point (3,) [m]."""
        self.place(q)
        places = self.data.geom_xpos[self.moving]
        nearest: Vector = places[np.linalg.norm(places - point, axis=1).argmin()].copy()
        return nearest

    def near_points(self, postures: Vector, points: Vector, furthest: Vector) -> NDArray[np.bool_]:
        """In which postures a geom that moves may be that near to a point.

        Args:
            postures: (T, n) [rad].
            points: of each posture (T, m, 3) [m].
            furthest: of each point (m,) [m].

        Returns:
            (T,).
        """
        places = np.empty((len(postures), 1, len(self.moving), 3))
        for t, q in enumerate(postures):
            self.place(q)
            places[t, 0] = self.data.geom_xpos[self.moving]
        balls = np.linalg.norm(places - points[:, :, None], axis=3)
        balls -= self.model.geom_rbound[self.moving]
        return np.asarray((balls < furthest[:, None]).any(axis=(1, 2)))

    def from_points(self, postures: Vector, points: Vector) -> Vector:
        """Distances of the surfaces of all geoms that move from points.

        Args:
            postures: (T, n) [rad].
            points: of each posture (T, m, 3) [m].

        Returns:
            (T, m, geoms that move) [m]; inside a geom less than 0, and no further than its ball.
        """
        found = np.empty((*points.shape[:2], len(self.moving)))
        kinds, sizes = self.model.geom_type, self.model.geom_size
        for t, q in enumerate(postures):
            self.place(q)
            for k, geom in enumerate(self.moving.tolist()):
                turn = self.data.geom_xmat[geom].reshape(3, 3)
                local = (points[t] - self.data.geom_xpos[geom]) @ turn
                found[t, :, k] = _from_surface(local, int(kinds[geom]), sizes[geom])
        return found

    def name(self, pair: int) -> str:
        """Of a pair."""
        parts = []
        for geom in self.pairs[pair]:
            own = self.model.geom(geom).name
            parts.append(own or self.model.body(self.model.geom_bodyid[geom]).name)
        return f"{parts[0]} and {parts[1]}"

    # -- many postures -----------------------------------------------------------------------------

    def tools(self, postures: Sequence[Vector] | Vector) -> Vector:
        """Positions of the tool (T, 3) [m]."""
        found = np.empty((len(postures), 3))
        for k, q in enumerate(postures):
            self.place(q)
            found[k] = self.data.site_xpos[self._tool]
        return found

    def distances(self, postures: Vector) -> tuple[Vector, NDArray[np.int_]]:
        """The smallest distance of any pair in each posture of a motion, and of which pair.

        Exact where it is below margin + `CLOSE`, and otherwise no more than said. Between two
        postures no point of a geom moves further than its centre and the turn of its ball do: as
        long as that cannot bring a pair near, it is not measured again.

        Args:
            postures: (T, n) [rad], of one motion.

        Returns:
            (T,) [m] and (T,).
        """
        T, G = len(postures), self.model.ngeom
        places, turns = np.empty((T, G, 3)), np.empty((T, G, 9))
        for k, q in enumerate(postures):
            self.place(q)
            places[k], turns[k] = self.data.geom_xpos, self.data.geom_xmat
        step = np.linalg.norm(np.diff(places, axis=0), axis=2)
        step += np.linalg.norm(np.diff(turns, axis=0), axis=2) * self.model.geom_rbound
        way = np.concatenate([np.zeros((1, G)), np.cumsum(step, axis=0)])
        moved = way[:, self._a] + way[:, self._b]
        level = self.margin + CLOSE
        least, which = np.full(T, _FAR), np.full(T, -1)
        lower = self._apart(places, turns)
        due = np.where(lower < level, np.arange(T)[:, None], T).min(axis=0, initial=T)
        while due.size and (k := int(due.min())) < T:
            self.place(postures[k])
            for i in np.flatnonzero(due == k).tolist():
                d = self.distance(i, 1.0)
                if d < least[k]:
                    least[k], which[k] = d, i
                may = (lower[k + 1 :, i] < level) & (moved[k + 1 :, i] - moved[k, i] > d - level)
                due[i] = k + 1 + int(may.argmax()) if may.any() else T
        return least, which

    def _apart(self, places: Vector, turns: Vector) -> Vector:
        """Lower bounds of the distances of all pairs (T, P) [m].

        Of balls around both geoms, or of one around the first and the second as it is, where that
        is a box or a plane.
        """
        model, a, b = self.model, self._a, self._b
        apart = places[:, a] - places[:, b]
        found: Vector = np.linalg.norm(apart, axis=2) - model.geom_rbound[a] - model.geom_rbound[b]
        for some, kind in ((self._boxes, "box"), (self._planes, "plane")):
            axes = turns[:, b[some]].reshape(len(turns), -1, 3, 3)
            local = np.einsum("tpij,tpi->tpj", axes, apart[:, some])
            if kind == "box":
                beyond = np.maximum(np.abs(local) - model.geom_size[b[some]], 0.0)
                found[:, some] = np.linalg.norm(beyond, axis=2) - model.geom_rbound[a[some]]
            else:
                found[:, some] = local[:, :, 2] - model.geom_rbound[a[some]]
        return found


def _from_surface(local: Vector, kind: int, size: Vector) -> Vector:
    """Signed distances of points (m, 3) in a geom's frame from its surface (m,) [m]."""
    geoms = mujoco.mjtGeom
    match kind:
        case geoms.mjGEOM_SPHERE:
            return np.asarray(np.linalg.norm(local, axis=1) - size[0])
        case geoms.mjGEOM_CAPSULE:
            along = np.clip(local[:, 2], -size[1], size[1])
            beside = np.column_stack([local[:, :2], local[:, 2] - along])
            return np.asarray(np.linalg.norm(beside, axis=1) - size[0])
        case geoms.mjGEOM_CYLINDER:
            around = np.linalg.norm(local[:, :2], axis=1) - size[0]
            beyond = np.column_stack([around, np.abs(local[:, 2]) - size[1]])
        case geoms.mjGEOM_BOX:
            beyond = np.abs(local) - size
        case _:
            raise ValueError(f"no distance from geoms of kind {geoms(kind).name}")
    outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=1)
    return np.asarray(outside + np.minimum(beyond.max(axis=1), 0.0))
