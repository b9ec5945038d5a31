"""Pairs of geoms: which may be near, and how fast they can come together, for next to nothing."""

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.model import TOOL, RobotModel

Vector = NDArray[np.float64]
Indices = NDArray[np.int_]


class Pairs:
    """Pairs of geoms of one model, in whatever posture it is in."""

    def __init__(self, model: RobotModel, pairs: Sequence[tuple[int, int]]) -> None:
        """Take pairs (P), see `RobotModel.pairs`."""
        self.model, self.pairs = model, tuple(pairs)
        compiled = model.model
        kinds = compiled.geom_type
        box, plane = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_PLANE
        ends = np.array(pairs, int).reshape(-1, 2)
        # The second is the one that a ball around the first is compared with.
        rank = (kinds == box).astype(int) + 2 * (kinds == plane)
        fixed = compiled.body_weldid[compiled.geom_bodyid] == 0
        rank = rank * (1 + fixed)
        swap = rank[ends[:, 0]] > rank[ends[:, 1]]
        ends[swap] = ends[swap][:, ::-1]
        self._first, self._second = ends.T
        radii = compiled.geom_rbound
        self._radii = radii[self._first].copy()
        boxes = (kinds[self._second] == box)[:, None]
        self._planes: Indices = np.flatnonzero(kinds[self._second] == plane)
        # Anything else than a box or a plane is a ball: a box of no size, and a radius.
        self._halves = np.where(boxes, compiled.geom_size[self._second], 0.0)
        self._radii += np.where(boxes[:, 0], 0.0, radii[self._second])
        self._names = tuple(f"{model.name(a)} and {model.name(b)}" for a, b in pairs)
        self.levers = _pair_levers(model, ends)
        """How fast each pair can come together at most, by each joint (P, n) [m/rad]: holds in
        every posture. A joint that moves both does not change their distance; one that moves one
        of them changes it no faster than by how far its farthest point is from the axis."""

    def __len__(self) -> int:
        return len(self.pairs)

    def lower(self) -> Vector:
        """Lower bounds of the distances (P,) [m]: of balls around the first of each pair."""
        data = self.model.data
        places = data.geom_xpos
        axes = data.geom_xmat.reshape(-1, 3, 3)[self._second]
        local = np.einsum("pij,pi->pj", axes, places[self._first] - places[self._second])
        beyond = np.maximum(np.abs(local) - self._halves, 0.0)
        found: Vector = np.sqrt(np.einsum("pi,pi->p", beyond, beyond))
        found[self._planes] = local[self._planes, 2]
        found -= self._radii
        return found

    def near(self, furthest: Vector | float) -> list[int]:
        """Pairs that may be nearer than `furthest`, a number or one each (P,) [m]."""
        found: list[int] = np.flatnonzero(self.lower() < furthest).tolist()
        return found

    def distance(self, i: int, furthest: float) -> float:
        """Signed distance of pair i [m], `furthest` where it is more."""
        return self.model.distance(*self.pairs[i], furthest)

    def distances(self, some: Sequence[int], furthest: float) -> list[float]:
        """Signed distances of some pairs [m], `furthest` where they are more."""
        distance = self.model.distance
        return [distance(*self.pairs[i], furthest) for i in some]

    def name(self, i: int) -> str:
        """Of pair i."""
        return self._names[i]


def tool_levers(model: RobotModel) -> Vector:
    """Largest distance of the tool from each joint's axis (n,) [m/rad]."""
    site = model.model.site(TOOL)
    body = int(model.model.site_bodyid[site.id])
    return _levers(model, body, float(np.linalg.norm(site.pos)))


def _pair_levers(model: RobotModel, ends: NDArray[np.int_]) -> Vector:
    compiled = model.model
    each = {
        geom: _levers(
            model,
            int(compiled.geom_bodyid[geom]),
            float(np.linalg.norm(compiled.geom_pos[geom]) + compiled.geom_rbound[geom]),
        )
        for geom in np.unique(ends).tolist()
    }
    levers = np.zeros((len(ends), model.n_joints))
    for row, (a, b) in zip(levers, ends.tolist(), strict=True):
        row[:] = np.where((each[a] > 0) & (each[b] > 0), 0.0, each[a] + each[b])
    return levers


def _levers(model: RobotModel, body: int, beyond: float) -> Vector:
    """Of a point within `beyond` [m] of a body's origin: what lies between it and each joint."""
    compiled: mujoco.MjModel = model.model
    levers = np.zeros(model.n_joints)
    reach = beyond
    while body:
        first = int(compiled.body_jntadr[body])
        for joint in reversed(range(first, first + int(compiled.body_jntnum[body]))):
            beside = float(np.linalg.norm(compiled.jnt_pos[joint]))
            levers[joint] = reach + beside
            # It moves the origin of its body too, round itself.
            reach += 2 * beside
        reach += float(np.linalg.norm(compiled.body_pos[body]))
        body = int(compiled.body_parentid[body])
    return levers
