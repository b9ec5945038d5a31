"""The UR5e and its surroundings as a guard sees them: the model beside the robot file.

Run with `python -m bridle.sim.robots.ur5e_guard FILE` to write it. It is the arm of the simulator
with a hull of each link and of the gripper, and the table with what is around it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import mujoco
import numpy as np
from numpy.typing import NDArray

from bridle.sim.robots import ur5e
from bridle.sim.scene import add_table

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Round:
    """A cylinder or capsule along the z or y axis of a body."""

    kind: Literal["cylinder", "capsule"]
    axis: Literal["y", "z"]
    radius: float
    """[m]."""
    ends: tuple[float, float]
    """Where its straight part begins and ends on the axis [m]."""
    at: float = 0.0
    """Where the axis is, along the other one of y and z [m]."""


ARM = {
    "base": (Round("cylinder", "z", 0.077, (-0.001, 0.100)),),
    "shoulder_link": (
        Round("cylinder", "z", 0.061, (-0.161, 0.081)),
        Round("cylinder", "y", 0.065, (0.0, 0.075)),
    ),
    "upper_arm_link": (
        Round("cylinder", "y", 0.065, (-0.161, 0.081)),
        Round("capsule", "z", 0.059, (0.0, 0.425)),
        Round("cylinder", "y", 0.063, (-0.079, 0.073), 0.425),
    ),
    "forearm_link": (
        Round("cylinder", "y", 0.062, (-0.049, 0.196)),
        Round("cylinder", "z", 0.057, (0.0, 0.060)),
        Round("capsule", "z", 0.049, (0.0, 0.390)),
        Round("cylinder", "y", 0.041, (-0.057, 0.054), 0.392),
    ),
    "wrist_1_link": (
        Round("cylinder", "y", 0.041, (-0.061, 0.167)),
        Round("cylinder", "z", 0.041, (-0.057, 0.056), 0.127),
    ),
    "wrist_2_link": (
        Round("cylinder", "z", 0.041, (-0.061, 0.141)),
        Round("cylinder", "y", 0.041, (-0.061, 0.101), 0.100),
    ),
    "wrist_3_link": (Round("cylinder", "y", 0.045, (0.052, 0.101)),),
}
"""What holds each link: its shape as it is drawn, and what collides in the simulator, whose
capsules are up to 6 cm thinner than the arm. A millimetre more than what was measured."""
GRIPPER = {
    "palm": ((-0.0385, -0.0435, -0.157), (0.0385, 0.0435, -0.054)),
    "knuckles": ((-0.0205, -0.0755, -0.1015), (0.0205, 0.0755, -0.020)),
    "fingers": ((-0.012, -0.0755, -0.054), (0.012, 0.0755, 0.019)),
}
"""Boxes that hold the gripper however far it is closed, in the frame of the tool, whose z points
along the fingers: lower and upper corner [m]. A millimetre more than what was measured."""
STANDING = ("table", "pedestal", "floor")
"""What stands around the robot."""
EXCLUDED = (
    # What is grasped lies on the table: to it the fingers come as near as they must. The workspace
    # of the tool is what keeps them out of it.
    ("fingers", "table"),
    # Joined by one link between them, these two cannot touch, but are always near: the upper arm
    # swings past the base, and the outer wrist turns about the inner one.
    ("base", "upper_arm_link"),
    ("wrist_1_link", "wrist_3_link"),
    # On these it turns, about the vertical.
    ("base", "shoulder_link"),
    ("pedestal", "shoulder_link"),
    ("table", "shoulder_link"),
)
"""Pairs of bodies that are not kept apart."""
HEADER = """
Written by bridle.sim.robots.ur5e_guard, from the models of the UR5e and the Robotiq 2F-85 in
MuJoCo Menagerie; their licences are below. Base frame: its origin is in the middle of the base,
x points forward, z up.
"""


def guard_xml() -> str:
    """MJCF text: six hinges, primitives, the site `tcp`.

    The gripper moves nothing here: its hull holds it however far it is closed, and its mass is
    where that of the open one is.
    """
    full = ur5e.build()
    add_table(full, shadows=False)
    model = full.compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    root = Element("mujoco", model="ur5e_2f85")
    SubElement(root, "compiler", angle="radian", autolimits="true")
    world = SubElement(root, "worldbody")
    for name in STANDING:
        _geom(SubElement(world, "body", name=name), model, model.geom(name).id)
    parent = world
    for name in ARM:
        parent = _link(parent, model, name)
    _gripper(parent, model, data)
    contact = SubElement(root, "contact")
    for first, second in EXCLUDED:
        SubElement(contact, "exclude", body1=first, body2=second)
    ElementTree.indent(root)
    comment = indent(HEADER + ur5e.licences(), "  ").rstrip()
    return f"<!--{comment}\n-->\n{ElementTree.tostring(root, encoding='unicode')}\n"


def _geom(parent: Element, model: mujoco.MjModel, geom: int) -> None:
    """A copy of one of the simulator's."""
    kind = mujoco.mjtGeom(model.geom_type[geom]).name.removeprefix("mjGEOM_").lower()
    SubElement(
        parent,
        "geom",
        name=model.geom(geom).name,
        type=kind,
        size=_text(model.geom_size[geom]),
        pos=_text(model.geom_pos[geom]),
    )


def _link(parent: Element, model: mujoco.MjModel, name: str) -> Element:
    """A link with its joint, its mass and its hull."""
    body = model.body(name)
    link = SubElement(parent, "body", name=name, pos=_text(body.pos), quat=_text(body.quat))
    SubElement(
        link,
        "inertial",
        pos=_text(body.ipos),
        quat=_text(body.iquat),
        mass=_text(body.mass),
        diaginertia=_text(body.inertia),
    )
    if body.jntnum[0]:
        joint = model.joint(int(body.jntadr[0]))
        SubElement(
            link,
            "joint",
            name=joint.name,
            axis=_text(joint.axis),
            range=_text(joint.range),
            armature=_text(joint.armature),
        )
    for part in ARM[name]:
        middle, half = sum(part.ends) / 2, (part.ends[1] - part.ends[0]) / 2
        along_y = part.axis == "y"
        position = (0, middle, part.at) if along_y else (0, part.at, middle)
        attributes = {"euler": _text(np.array([-np.pi / 2, 0, 0]))} if along_y else {}
        size = np.array([part.radius, half])
        # Of no mass: that of the link is given.
        SubElement(
            link,
            "geom",
            attributes,
            type=part.kind,
            size=_text(size),
            pos=_text(np.array(position)),
            mass="0",
        )
    return link


def _gripper(wrist: Element, model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """Two bodies on the flange in the frame of the tool: what may touch the table, and the rest."""
    tool, flange = data.site(ur5e.TCP_SITE), data.body(wrist.attrib["name"])
    rotation = flange.xmat.reshape(3, 3).T
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, (rotation @ tool.xmat.reshape(3, 3)).ravel())
    position = rotation @ (tool.xpos - flange.xpos)
    gripper = SubElement(wrist, "body", name="gripper", pos=_text(position), quat=_text(quaternion))
    mass, centre, inertia = _inertia(model, data)
    # Rounded: what lies off the axis are grams, and MuJoCo's way with meshes changes.
    SubElement(
        gripper,
        "inertial",
        pos=f"0 0 {centre[2]:.3f}",
        mass=f"{mass:.3f}",
        diaginertia=" ".join(f"{x:.2g}" for x in np.diag(inertia)),
    )
    SubElement(gripper, "site", name=ur5e.TCP_SITE)
    bodies = {"fingers": SubElement(gripper, "body", name="fingers")}
    for name, (lower, upper) in GRIPPER.items():
        SubElement(
            bodies.get(name, gripper),
            "geom",
            name=name,
            type="box",
            size=_text((np.array(upper) - lower) / 2),
            pos=_text((np.array(upper) + lower) / 2),
            mass="0",
        )


def _inertia(model: mujoco.MjModel, data: mujoco.MjData) -> tuple[float, Vector, Vector]:
    """Of the gripper: mass [kg], centre (3,) [m] and inertia about it (3, 3) [kg m^2], in the frame
    of the tool.
    """
    bodies = [b for b in range(model.nbody) if model.body(b).name.startswith("gripper/")]
    masses = model.body_mass[bodies]
    centre = masses @ data.xipos[bodies] / masses.sum()
    inertia = np.zeros((3, 3))
    for body, mass in zip(bodies, masses, strict=True):
        axes, lever = data.ximat[body].reshape(3, 3), data.xipos[body] - centre
        inertia += axes @ np.diag(model.body_inertia[body]) @ axes.T
        inertia += mass * (lever @ lever * np.eye(3) - np.outer(lever, lever))
    tool = data.site(ur5e.TCP_SITE)
    rotation = tool.xmat.reshape(3, 3)
    return float(masses.sum()), rotation.T @ (centre - tool.xpos), rotation.T @ inertia @ rotation


def _text(values: Vector | float) -> str:
    """Numbers without what rounding leaves of a zero: the same file on every machine."""
    return " ".join(f"{x:.7g}" for x in (np.round(np.atleast_1d(values), 9) + 0.0).tolist())


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(guard_xml(), encoding="utf-8")
