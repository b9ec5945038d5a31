"""The scene every table-top task stands in: table, light, cameras, and things to ignore."""

import mujoco
import numpy as np
from numpy.typing import NDArray

from bridle.sim.objects import FRICTION, add_body

Vector = NDArray[np.float64]

TABLE = np.array([[0.0, -0.60], [0.90, 0.60]])
"""Lower and upper corner of the table's top, the plane z = 0 [m]."""
CAMERAS = ("front", "wrist")
"""Cameras of every scene; `wrist` rides on the gripper."""


def look_at(eye: Vector, target: Vector, up: Vector) -> list[float]:
    """Axes x and y (6,) of a camera at `eye` that looks at `target` with `up` upwards."""
    backward = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross(up, backward)
    right /= np.linalg.norm(right)
    return [*right, *np.cross(backward, right)]


def add_table(spec: mujoco.MjSpec, *, shadows: bool) -> None:
    """A table whose top is the plane z = 0, light, and the camera `front`."""
    world = spec.worldbody
    world.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(0.45, 0.60, 0.02),
        pos=(0.45, 0, -0.02),
        rgba=(0.80, 0.74, 0.64, 1),
        friction=FRICTION,
    )
    world.add_geom(
        name="pedestal",
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=(0.09, 0.05, 0),
        pos=(0, 0, -0.049),
        rgba=(0.35, 0.37, 0.40, 1),
        contype=0,
        conaffinity=0,
    )
    world.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=(4, 4, 0.1),
        pos=(0, 0, -0.5),
        rgba=(0.92, 0.93, 0.95, 1),
        contype=0,
        conaffinity=0,
    )
    for name, position, direction, bright in (
        ("key", (0.3, -0.8, 2.0), (0.1, 0.4, -1), (0.40, 0.40, 0.40)),
        ("fill", (1.5, 0.8, 1.5), (-1, -0.5, -1), (0.20, 0.20, 0.22)),
    ):
        world.add_light(
            name=name,
            pos=position,
            dir=direction,
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            diffuse=bright,
            castshadow=shadows and name == "key",
        )
    # Looks at the middle of the table from in front of the robot, a little from the side.
    eye = np.array([1.25, -0.55, 0.75])
    axes = look_at(eye, np.array([0.40, 0.0, 0.08]), np.array([0.0, 0, 1]))
    world.add_camera(name="front", pos=eye, xyaxes=axes, fovy=45)
    spec.visual.headlight.ambient = (0.35, 0.35, 0.35)
    spec.visual.headlight.diffuse = (0.15, 0.15, 0.15)
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=(0.75, 0.82, 0.90),
        rgb2=(0.95, 0.96, 0.98),
        width=64,
        height=384,
    )
    quality = spec.visual.quality
    quality.offsamples = 4 if shadows else 0
    if not shadows:
        # Round things with a third of the faces draw twice as fast.
        quality.numslices, quality.numstacks, quality.numquads = 14, 8, 2
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960
    # Depth has its precision near the near plane; nothing is nearer to a camera than 2 cm.
    spec.stat.extent = 2.0
    spec.visual.map.znear, spec.visual.map.zfar = 0.01, 10.0


_SHAPES = (
    (mujoco.mjtGeom.mjGEOM_BOX, (0.016, 0.022, 0.012)),
    (mujoco.mjtGeom.mjGEOM_CYLINDER, (0.018, 0.015, 0)),
    (mujoco.mjtGeom.mjGEOM_SPHERE, (0.017, 0, 0)),
    (mujoco.mjtGeom.mjGEOM_ELLIPSOID, (0.026, 0.016, 0.014)),
    (mujoco.mjtGeom.mjGEOM_CAPSULE, (0.012, 0.016, 0)),
)
_COLOURS = (
    (0.93, 0.76, 0.20, 1),
    (0.55, 0.30, 0.62, 1),
    (0.20, 0.62, 0.66, 1),
    (0.90, 0.50, 0.20, 1),
    (0.40, 0.40, 0.42, 1),
)
MAX_DISTRACTORS = 2 * len(_SHAPES)


def add_distractors(spec: mujoco.MjSpec, count: int) -> None:
    """Things that lie about and are not meant: `distractor0`, `distractor1`, ..."""
    for i in range(count):
        shape, size = _SHAPES[i % len(_SHAPES)]
        geom = add_body(spec, f"distractor{i}").add_geom(
            name=f"distractor{i}",
            type=shape,
            size=size,
            rgba=_COLOURS[(2 * i + 1) % len(_COLOURS)],
            friction=FRICTION,
            mass=0.06,
            condim=6,
        )
        # What is round must not roll off.
        geom.friction[1:] = (0.01, 0.01)
