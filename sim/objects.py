"""Things that lie on the table: built, placed and looked at."""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Colour = tuple[float, float, float, float]

HALF = 0.02
"""Half the edge of a cube [m]."""
RED, GREEN, BLUE = (0.86, 0.23, 0.20, 1.0), (0.18, 0.62, 0.36, 1.0), (0.20, 0.40, 0.80, 1.0)
LIFTED = 0.04
"""A thing that is this much higher than where it lies was picked up [m]."""
NEAR = 0.03
"""The tool has reached a thing that is this close [m]."""
WOOD, GREY = (0.62, 0.46, 0.30, 1.0), (0.55, 0.57, 0.60, 1.0)
FRICTION = (1.0, 0.005, 0.0001)


def add_body(spec: mujoco.MjSpec, name: str, *, free: bool = True) -> mujoco.MjsBody:
    """A body of that name: free to move, or a mocap body that is put where it is wanted."""
    body = spec.worldbody.add_body(name=name, mocap=not free)
    if free:
        body.add_freejoint(name=name)
    return body


def add_box(
    body: mujoco.MjsBody,
    half: tuple[float, float, float],
    rgba: Colour,
    *,
    position: tuple[float, float, float] = (0, 0, 0),
    mass: float = 0.0,
    name: str = "",
    friction: tuple[float, float, float] = FRICTION,
) -> None:
    """A box of half edges `half` [m] at `position` [m] on the body; `mass` [kg] if it moves."""
    geom = body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=half,
        pos=position,
        friction=friction,
        rgba=rgba,
    )
    if mass:
        geom.mass = mass


def add_cube(spec: mujoco.MjSpec, name: str, rgba: Colour) -> None:
    """A cube of 4 cm and 79 g that can be picked up."""
    add_box(add_body(spec, name), (HALF, HALF, HALF), rgba, mass=0.079, name=name)


def add_spot(spec: mujoco.MjSpec, name: str, radius: float, rgba: Colour) -> None:
    """A flat disc that marks a place and touches nothing."""
    add_body(spec, name, free=False).add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=(radius, 0.0008, 0),
        rgba=rgba,
        contype=0,
        conaffinity=0,
    )


@dataclass(frozen=True)
class Body:
    """A body of a compiled model that is placed before an episode and looked at during it."""

    model: mujoco.MjModel
    data: mujoco.MjData
    name: str

    def place(self, position: Vector, yaw: float = 0.0) -> None:
        """Put it at `position` (3,) [m], upright, turned by `yaw` [rad], at rest."""
        pose = [*position, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        mocap = int(self.model.body(self.name).mocapid[0])
        if mocap >= 0:
            self.data.mocap_pos[mocap], self.data.mocap_quat[mocap] = pose[:3], pose[3:]
        else:
            address = int(self.model.joint(self.name).qposadr[0])
            self.data.qpos[address : address + 7] = pose

    @property
    def position(self) -> Vector:
        """Position (3,) [m], as of the last kinematics."""
        place: Vector = self.data.body(self.name).xpos.copy()
        return place

    @property
    def rotation(self) -> Vector:
        """Rotation matrix (3, 3), as of the last kinematics."""
        matrix: Vector = self.data.body(self.name).xmat.reshape(3, 3).copy()
        return matrix

    @property
    def yaw(self) -> float:
        """Angle of its x axis about the vertical [rad], -pi to pi."""
        return float(np.arctan2(self.rotation[1, 0], self.rotation[0, 0]))

    @property
    def cube_yaw(self) -> float:
        """Yaw of a cube [rad], -pi/4 to pi/4: it looks the same after a quarter turn.

        A cube that lies on another face has another axis up; its yaw is that of any level axis.
        """
        rotation = self.rotation
        level = rotation[:, int(np.abs(rotation[2]).argmin())]
        yaw = float(np.arctan2(level[1], level[0]))
        return (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4

    def cube_state(self) -> Vector:
        """Position [m], and cosine and sine of four times the yaw (5,)."""
        yaw = self.cube_yaw
        return np.concatenate([self.position, [np.cos(4 * yaw), np.sin(4 * yaw)]])

    def pose_state(self) -> Vector:
        """Position [m], and cosine and sine of the yaw (5,)."""
        return np.concatenate([self.position, [np.cos(self.yaw), np.sin(self.yaw)]])
