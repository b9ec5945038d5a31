"""The model beside the shipped robot file against the simulator it stands for."""

from functools import cache

import mujoco
import numpy as np
import pytest

from bridle.deploy.guard.model import RobotModel
from bridle.deploy.robot import SHIPPED, load_robot
from bridle.sim.expert import Expert
from bridle.sim.robots import ur5e
from bridle.sim.robots.ur5e_guard import guard_xml
from bridle.sim.tasks import TASKS

ROBOT = load_robot("ur5e_2f85")


@cache
def guarded() -> RobotModel:
    return RobotModel(ROBOT.model, len(ROBOT.joints))


@cache
def simulator() -> tuple[mujoco.MjModel, mujoco.MjData, ur5e.RobotIndex]:
    model = ur5e.build().compile()
    return model, mujoco.MjData(model), ur5e.RobotIndex(model)


def place(q):
    """Both at arm joints (6,) [rad]."""
    model, data, index = simulator()
    data.qpos[index.qpos[:6]] = q
    mujoco.mj_kinematics(model, data)
    guarded().place(np.append(q, 0.0))


def test_the_shipped_file_is_what_the_simulator_writes():
    text = (SHIPPED / "ur5e_2f85.xml").read_text(encoding="utf-8")
    assert text == guard_xml(), "python -m bridle.sim.robots.ur5e_guard writes it anew"


def test_the_arm_is_that_of_the_robot_file_and_its_tool_that_of_the_simulator():
    model = guarded().model
    assert tuple(model.joint(i).name for i in range(6)) == ROBOT.joint_names[:6]
    for q in np.random.default_rng(0).uniform(-np.pi, np.pi, (20, 6)):
        place(q)
        assert np.abs(guarded().tool - simulator()[1].site("tcp").xpos).max() < 1e-6


def test_the_arm_is_as_heavy_as_in_the_simulator():
    model, data, index = simulator()
    data.qvel[:] = 0
    for q in np.random.default_rng(0).uniform(-np.pi, np.pi, (20, 6)):
        place(q)
        mujoco.mj_forward(model, data)
        _, bias = guarded().dynamics(np.zeros(7))
        # Where the gripper's mass is depends a little on how far it is closed.
        assert np.abs(bias[:6] - data.qfrc_bias[index.qvel[:6]]).max() < 0.1


# -- the hull --------------------------------------------------------------------------------------


def points(model, geom, random):
    """What spans a geom, in the world (p, 3) [m]: corners, vertices or points of the surface."""
    size = model.geom_size[geom]
    match mujoco.mjtGeom(model.geom_type[geom]):
        case mujoco.mjtGeom.mjGEOM_MESH:
            first = model.mesh_vertadr[model.geom_dataid[geom]]
            count = model.mesh_vertnum[model.geom_dataid[geom]]
            own = model.mesh_vert[first : first + count]
        case mujoco.mjtGeom.mjGEOM_BOX:
            own = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T * size
        case mujoco.mjtGeom.mjGEOM_CAPSULE:
            own = random.normal(size=(200, 3))
            own *= size[0] / np.linalg.norm(own, axis=1, keepdims=True)
            own[:, 2] += np.sign(own[:, 2]) * size[1]
        case mujoco.mjtGeom.mjGEOM_CYLINDER:
            angle = random.uniform(0, 2 * np.pi, 200)
            ends = size[1] * random.choice([-1, 1], 200)
            own = np.stack([size[0] * np.cos(angle), size[0] * np.sin(angle), ends], 1)
    data = simulator()[1]
    return data.geom_xpos[geom] + own @ data.geom_xmat[geom].reshape(3, 3).T


def outside(geom, where):
    """How far points (p, 3) lie outside a geom of the guard's (p,) [m]; below 0 inside."""
    model, data = guarded().model, guarded().data
    own = (where - data.geom_xpos[geom]) @ data.geom_xmat[geom].reshape(3, 3)
    size = model.geom_size[geom]
    match mujoco.mjtGeom(model.geom_type[geom]):
        case mujoco.mjtGeom.mjGEOM_BOX:
            return (np.abs(own) - size).max(axis=1)
        case mujoco.mjtGeom.mjGEOM_CAPSULE:
            own[:, 2] -= np.clip(own[:, 2], -size[1], size[1])
            return np.linalg.norm(own, axis=1) - size[0]
        case mujoco.mjtGeom.mjGEOM_CYLINDER:
            radius = np.linalg.norm(own[:, :2], axis=1)
            return np.maximum(radius - size[0], np.abs(own[:, 2]) - size[1])


def counterpart(name):
    """Bodies of the guard's model that stand for one of the simulator's."""
    return ("gripper", "fingers") if name.startswith("gripper/") else (name,)


def gripper_positions():
    """Of the linkage, from open to closed and back: whole states of the simulator."""
    model, data, index = simulator()
    mujoco.mj_resetData(model, data)
    closed = np.concatenate([np.linspace(0, 1, 15), np.linspace(1, 0, 15)])
    for share in closed * ur5e.GRIPPER_CLOSED:
        data.qpos[index.qpos[:6]] = data.ctrl[index.ctrl[:6]] = ur5e.HOME
        data.ctrl[index.ctrl[6]] = share * index.control_per_radian[6]
        mujoco.mj_step(model, data, 60)
        yield data.qpos.copy()


def test_every_part_that_collides_lies_in_one_of_the_guards():
    """So distances between the guard's geoms are never more than those of the robot."""
    model, data, _ = simulator()
    random = np.random.default_rng(0)
    states = list(gripper_positions())
    assert np.ptp([state[simulator()[2].qpos[6]] for state in states]) > 0.75
    body_of = guarded().model.geom_bodyid
    # What does not collide in the simulator is a part of the robot all the same.
    parts = [g for g in range(model.ngeom) if not is_a_picture(model, g)]
    assert len(parts) == 21
    for _ in range(300):
        data.qpos[:] = states[random.integers(len(states))]
        place(random.uniform(-np.pi, np.pi, 6))
        for geom in parts:
            name = model.body(model.geom_bodyid[geom]).name
            bodies = [guarded().model.body(each).id for each in counterpart(name)]
            mine = np.flatnonzero(np.isin(body_of, bodies))
            where = points(model, geom, random)
            assert min(outside(each, where).max() for each in mine) < 0, name


def test_every_link_as_it_is_drawn_lies_in_the_guards():
    """The simulator's own capsules are up to 6 cm thinner."""
    model = ur5e.build(lowpoly=False).compile()
    drawn = np.flatnonzero(model.geom_group == 2)
    rotation = np.empty(9)
    seen = set()
    for geom in drawn:
        body = model.body(model.geom_bodyid[geom]).name
        if body.startswith("gripper/"):
            continue  # What is drawn of it is what collides.
        mesh = model.mesh(model.geom_dataid[geom])
        first, count = int(mesh.vertadr[0]), int(mesh.vertnum[0])
        mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
        own = model.mesh_vert[first : first + count : 7] @ rotation.reshape(3, 3).T
        where = own + model.geom_pos[geom]
        mine = np.flatnonzero(guarded().model.geom_bodyid == guarded().model.body(body).id)
        frame = guarded().data.body(body)
        where = frame.xpos + where @ frame.xmat.reshape(3, 3).T
        outsides = [outside(each, where) for each in mine]
        assert np.min(outsides, axis=0).max() < 0, body
        seen.add(body)
    assert len(seen) == 7


def is_a_picture(model, geom):
    """A box that is shown for a mesh, and only shown."""
    box = model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_BOX
    return box and not model.geom_contype[geom]


# -- the tasks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["pick-place", "pick-place-post"])
def test_an_expert_never_comes_near_a_limit_of_the_body(task):
    """A guard that got in the way of what the robot is for would be switched off."""
    env, model = TASKS[task](), guarded()
    pairs, nearest = model.pairs(), 1.0
    for seed in range(4):
        env.reset(seed=seed)
        expert = Expert(env)
        while (action := expert.act()).phase != "stay":
            env.step(action.executed)
            for q in (action.executed, env.joint_state()[0]):
                model.place(np.asarray(q, np.float64))
                nearest = min(nearest, *(model.distance(a, b, 0.1) for a, b in pairs))
                x, y, z = model.tool
                box = ROBOT.workspace
                assert box.x[0] + 0.05 < x < box.x[1] - 0.05
                assert box.y[0] + 0.05 < y < box.y[1] - 0.05
                assert box.z[0] + 0.005 < z < box.z[1] - 0.05
    assert nearest > ROBOT.collision.margin + 0.005


def test_only_the_fingers_may_come_to_the_table():
    model = guarded()
    with_table = {
        name
        for pair in model.pairs()
        if "table" in (names := [*map(model.name, pair)])
        for name in names
    }
    assert {"palm", "knuckles", "wrist_3_link", "forearm_link"} <= with_table
    assert "fingers" not in with_table
