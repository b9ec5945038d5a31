"""The UR5e with a Robotiq 2F-85 gripper, from the MuJoCo Menagerie files in the ogbench wheel.

What those files leave out is set here: gains with which the arm follows a 20 Hz reference (a real
UR5e under a trajectory controller lags about as little), gravity compensation (a real arm does it
itself), and the contact options that attaching a model drops. Unless they are asked for, the meshes
that are only seen are left out and the collision primitives are shown, which renders some fifty
times faster.
"""

from importlib.util import find_spec
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from bridle.sim.scene import look_at

ARM_JOINTS = (
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
)
GRIPPER_JOINT = "robotiq_85_left_knuckle_joint"
JOINT_NAMES = (*ARM_JOINTS, GRIPPER_JOINT)
"""Joints of commands and joint states, in order; all in radians."""
GRIPPER_CLOSED = 0.8
"""Knuckle position of the closed gripper [rad]; 0 is open."""
GRIPPER_CONTROL = 255.0
"""Control of the gripper's actuator when closed."""
MAX_VELOCITY = np.pi
"""Bound of every joint of the arm, as the data sheet has it [rad/s]."""
HOME = np.array([-1.0, -1.0, 1.0, -1.0, -1.0, 0.0]) * np.pi / 2
"""Arm joints with the tool pointing down in front of the base [rad]."""
COLLISION_GROUP = 4
"""Group of geoms that collide and are never shown."""
TCP_SITE = "tcp"
"""The tool centre point: between the finger tips of the 2F-85 (its site `pinch`)."""

_GRIPPER = "gripper/"
_STIFFNESS, _DAMPING = 4000.0, 200.0
_WRIST_SHARE = 0.25


def _description(name: str) -> Path:
    spec = find_spec("ogbench")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("ogbench, which holds the robot's model", name="ogbench")
    root = Path(spec.submodule_search_locations[0])
    return root / "manipspace" / "descriptions" / name


def licences() -> str:
    """Those of the arm's and the gripper's models."""
    parts = ("universal_robots_ur5e", "robotiq_2f85")
    return "".join(
        f"\n{part}\n\n{(_description(part) / 'LICENSE').read_text(encoding='utf-8')}"
        for part in parts
    )


def _is_visual(geom: mujoco.MjsGeom) -> bool:
    return geom.classname is not None and geom.classname.name == "visual"


def _drop_visuals(spec: mujoco.MjSpec) -> None:
    for geom in [geom for geom in spec.geoms if _is_visual(geom)]:
        spec.delete(geom)
    used = {geom.meshname for geom in spec.geoms}
    for mesh in [mesh for mesh in spec.meshes if mesh.name not in used]:
        spec.delete(mesh)


def _arm(*, lowpoly: bool = True) -> mujoco.MjSpec:
    spec = mujoco.MjSpec.from_file(str(_description("universal_robots_ur5e/ur5e.xml")))
    for key in list(spec.keys):
        spec.delete(key)
    if lowpoly:
        _drop_visuals(spec)
    for light in list(spec.lights):
        spec.delete(light)
    for body in spec.bodies:
        body.gravcomp = 1.0
    for i, actuator in enumerate(spec.actuators):
        share = 1.0 if i < 3 else _WRIST_SHARE
        actuator.gainprm[0] = share * _STIFFNESS
        actuator.biasprm[1] = -share * _STIFFNESS
        actuator.biasprm[2] = -share * _DAMPING
    for geom in spec.geoms:
        if not _is_visual(geom):
            geom.rgba = (0.62, 0.70, 0.82, 1.0)
    return spec


def _simplify_fingers(gripper: mujoco.MjSpec) -> None:
    """One pad a finger instead of two that meet, and no contacts of the linkage behind it.

    Half the contacts of a grasp, and a third less time a step.
    """
    for side in ("right", "left"):
        lower, upper = (gripper.geom(f"{side}_pad{i}") for i in (1, 2))
        lower.pos = (lower.pos + upper.pos) / 2
        lower.size[2] += upper.size[2]
        # Rubber gives: as stiff as the file has it, a finger that is first at a thing knocks the
        # wrist with up to 150 rad/s^2.
        lower.solref[0] = 0.01
        gripper.delete(upper)
        for link in ("driver", "coupler", "spring_link"):
            for geom in gripper.body(f"{side}_{link}").geoms:
                geom.contype = geom.conaffinity = 0


def _show_boxes(gripper: mujoco.MjSpec) -> None:
    """Show a box for each mesh that only collides: its hull has thousands of faces to draw."""
    for body in gripper.bodies:
        for geom in [geom for geom in body.geoms if geom.meshname and not _is_visual(geom)]:
            body.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX,
                meshname=geom.meshname,
                pos=geom.pos,
                quat=geom.quat,
                rgba=geom.rgba,
                group=geom.group,
                contype=0,
                conaffinity=0,
                mass=0,
            )
            geom.group = COLLISION_GROUP


def build(*, lowpoly: bool = True) -> mujoco.MjSpec:
    """The robot, standing at the world's origin and looking along +x, as an editable model."""
    spec = _arm(lowpoly=lowpoly)
    # Attaching keeps the arm's options and drops the gripper's. MuJoCo's implicit integrators apply
    # the servos' damping after the contacts are solved: with them, and steps of 5 ms, what the
    # gripper holds creeps by up to a centimetre while it is lifted; like this by a millimetre.
    spec.option.timestep = 0.0025
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_EULER
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    gripper = mujoco.MjSpec.from_file(str(_description("robotiq_2f85/2f85.xml")))
    if lowpoly:
        _drop_visuals(gripper)
    for body in gripper.bodies:
        body.gravcomp = 1.0
    for geom in gripper.geoms:
        if not _is_visual(geom):
            geom.rgba = (0.25, 0.27, 0.30, 1.0)
    for actuator in gripper.actuators:
        # Its fingers are so light that with all of the damping explicit steps of 2.5 ms swing.
        actuator.biasprm[2] *= 0.5
    _simplify_fingers(gripper)
    _show_boxes(gripper)
    # On the palm, beside the fingers, looking at what is between them.
    eye, target = np.array([0.075, 0, 0.03]), np.array([0.0, 0, 0.145])
    gripper.body("base").add_camera(
        name="wrist", pos=eye, xyaxes=look_at(eye, target, np.array([-1.0, 0, 0])), fovy=75
    )
    spec.attach(gripper, prefix=_GRIPPER, site=spec.site("attachment_site"))
    spec.site(f"{_GRIPPER}pinch").name = TCP_SITE
    spec.camera(f"{_GRIPPER}wrist").name = "wrist"
    return spec


def kinematics_xml() -> str:
    """The arm alone as MJCF text: six hinge joints, collision primitives, the site `tcp`.

    It needs no other file, so it travels with a policy to the robot, for forward and inverse
    kinematics there.
    """
    model = build().compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    wrist, tool = data.body("wrist_3_link"), data.site(TCP_SITE)
    rotation = wrist.xmat.reshape(3, 3).T
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, (rotation @ tool.xmat.reshape(3, 3)).ravel())
    spec = _arm()
    spec.body("wrist_3_link").add_site(
        name=TCP_SITE, pos=rotation @ (tool.xpos - wrist.xpos), quat=quaternion
    )
    spec.compile()
    return str(spec.to_xml())


class RobotIndex:
    """Where the robot's joints and actuators are in a compiled model."""

    def __init__(self, model: mujoco.MjModel) -> None:
        """Look the joints up by name."""
        joints = [model.joint(name) for name in ARM_JOINTS]
        joints.append(model.joint(f"{_GRIPPER}right_driver_joint"))
        self.qpos: NDArray[np.intp] = np.array([int(j.qposadr[0]) for j in joints])
        self.qvel: NDArray[np.intp] = np.array([int(j.dofadr[0]) for j in joints])
        names = [name.removesuffix("_joint") for name in ARM_JOINTS]
        names.append(f"{_GRIPPER}fingers_actuator")
        self.ctrl: NDArray[np.intp] = np.array([int(model.actuator(n).id) for n in names])
        self.tcp = int(model.site(TCP_SITE).id)
        # Control per radian: the arm's actuators take radians, the gripper's 0 to 255.
        self.control_per_radian = np.ones(len(JOINT_NAMES))
        self.control_per_radian[-1] = GRIPPER_CONTROL / GRIPPER_CLOSED
