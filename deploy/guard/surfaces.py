"""Where the surface of the robot's body is nearest to a point, and how that moves."""

from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.model import RobotModel

Vector = NDArray[np.float64]

_GEOM = mujoco.mjtGeom


class Nearest(NamedTuple):
    """Of every geom that moves (G)."""

    distances: Vector
    """From its surface to the point (G,) [m]; below 0 inside."""
    gradients: Vector
    """Their derivatives by the joint positions (G, n) [m/rad]."""


class Surfaces:
    """The geoms that move, each as a box, a segment or a point that is rounded, or as a cylinder.

    Outside a geom the nearest point of its surface is exact; inside, the nearest face of its box or
    its cylinder stands for it. What is none of these is the ball that holds it.
    """

    def __init__(self, model: RobotModel) -> None:
        """Of a model, in whatever posture it is in."""
        self.model = model
        compiled, geoms = model.model, model.moving_geoms
        self._geoms = np.array(geoms, int)
        self.names = tuple(model.name(geom) for geom in geoms)
        kinds, sizes = compiled.geom_type[self._geoms], compiled.geom_size[self._geoms]
        n = len(geoms)
        self._halves, self._rounds = np.zeros((n, 3)), np.zeros(n)
        self._cylinders = kinds == _GEOM.mjGEOM_CYLINDER
        for i, (kind, size) in enumerate(zip(kinds, sizes, strict=True)):
            match kind:
                case _GEOM.mjGEOM_BOX:
                    self._halves[i] = size
                case _GEOM.mjGEOM_CAPSULE:
                    self._halves[i, 2], self._rounds[i] = size[1], size[0]
                case _GEOM.mjGEOM_CYLINDER:
                    self._halves[i] = size[0], 0.0, size[1]
                case _GEOM.mjGEOM_SPHERE:
                    self._rounds[i] = size[0]
                case _:
                    self._rounds[i] = compiled.geom_rbound[geoms[i]]

    def distances(self, point: Vector) -> Vector:
        """From every surface to a point (3,) [m], in the posture that the model is in: (G,) [m]."""
        return self._measured(point)[0]

    def nearest(self, point: Vector) -> Nearest:
        """The same with the gradients.

        With the normal n at the nearest point p of a surface, towards the point outside,
        dd/dq = -n J(p).
        """
        distances, normals, axes = self._measured(point)
        normals = np.einsum("gij,gj->gi", axes, normals)
        places = np.asarray(point) - distances[:, None] * normals
        return Nearest(distances, -self.model.rates(self._geoms, places, normals))

    def _measured(self, point: Vector) -> tuple[Vector, Vector, Vector]:
        """Distances, normals in the frames of the geoms, and these frames (G, 3, 3)."""
        data, cylinders = self.model.data, self._cylinders
        axes = data.geom_xmat[self._geoms].reshape(-1, 3, 3)
        local = np.einsum("gji,gj->gi", axes, np.asarray(point) - data.geom_xpos[self._geoms])
        # A cylinder is a rectangle in the plane of its axis and the point: (around, 0, along).
        around = np.hypot(local[:, 0], local[:, 1])
        flat = local.copy()
        flat[cylinders, 0], flat[cylinders, 1] = around[cylinders], 0.0
        beyond = np.abs(flat) - self._halves
        # The middle of the rectangle has no side that could be the nearest.
        beyond[cylinders, 1] = -np.inf
        outside = np.maximum(beyond, 0.0)
        lengths = np.sqrt(np.einsum("gi,gi->g", outside, outside))
        nearest = beyond.argmax(axis=1)
        inside = lengths == 0.0
        normals = outside / np.where(inside, 1.0, lengths)[:, None]
        normals[inside, nearest[inside]] = 1.0
        normals *= np.copysign(1.0, flat)
        distances = np.where(inside, beyond.max(axis=1), lengths) - self._rounds
        # Back from the plane into the frame.
        turned = cylinders & (around > 1e-12)
        sideways = local[turned, :2] / around[turned, None]
        normals[turned, :2] = normals[turned, :1] * sideways
        return distances, normals, axes
