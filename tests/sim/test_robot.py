import mujoco
import numpy as np
import pytest

from bridle.sim.robots import ur5e


@pytest.fixture(scope="module")
def model():
    return ur5e.build().compile()


def test_the_kinematic_model_agrees_with_the_full_one(model):
    index, full = ur5e.RobotIndex(model), mujoco.MjData(model)
    arm = mujoco.MjModel.from_xml_string(ur5e.kinematics_xml())
    data = mujoco.MjData(arm)
    assert [arm.joint(i).name for i in range(arm.njnt)] == list(ur5e.ARM_JOINTS)
    random = np.random.default_rng(0)
    for _ in range(20):
        q = random.uniform(-np.pi, np.pi, 6)
        full.qpos[index.qpos[:6]] = data.qpos[:] = q
        mujoco.mj_kinematics(model, full)
        mujoco.mj_kinematics(arm, data)
        for what in ("xpos", "xmat"):
            difference = getattr(full.site("tcp"), what) - getattr(data.site("tcp"), what)
            assert np.abs(difference).max() < 1e-9


def test_the_kinematic_model_needs_no_file():
    assert "<mesh" not in ur5e.kinematics_xml()


def test_the_arm_does_not_sag(model):
    index, data = ur5e.RobotIndex(model), mujoco.MjData(model)
    data.qpos[index.qpos[:6]] = ur5e.HOME
    data.ctrl[index.ctrl[:6]] = ur5e.HOME
    mujoco.mj_forward(model, data)
    before = data.site("tcp").xpos.copy()
    mujoco.mj_step(model, data, round(2.0 / model.opt.timestep))
    mujoco.mj_kinematics(model, data)
    assert np.abs(data.site("tcp").xpos - before).max() < 5e-4


def test_the_arm_follows_a_step_within_a_tenth_of_a_second(model):
    index, data = ur5e.RobotIndex(model), mujoco.MjData(model)
    data.qpos[index.qpos[:6]] = ur5e.HOME
    data.ctrl[index.ctrl[:6]] = ur5e.HOME + 0.1
    mujoco.mj_step(model, data, round(0.15 / model.opt.timestep))
    assert (data.qpos[index.qpos[:6]] - ur5e.HOME > 0.085).all()


def test_gripper_commands_are_knuckle_angles(model):
    index, data = ur5e.RobotIndex(model), mujoco.MjData(model)
    data.qpos[index.qpos[:6]] = ur5e.HOME
    data.ctrl[index.ctrl[:6]] = ur5e.HOME
    for target in (0.8, 0.4, 0.0):
        data.ctrl[index.ctrl[6]] = target * index.control_per_radian[6]
        mujoco.mj_step(model, data, round(1.0 / model.opt.timestep))
        assert data.qpos[index.qpos[6]] == pytest.approx(target, abs=0.03)


@pytest.mark.parametrize("stiffness", [0.9, 1.0, 1.1])
@pytest.mark.parametrize("target", [0.0, 0.1, 0.25, 0.5, 0.8])
def test_a_robot_at_rest_stays_at_rest(target, stiffness):
    """Explicit damping of light fingers may swing for ever."""
    model = ur5e.build().compile()
    model.actuator_gainprm *= stiffness
    model.actuator_biasprm *= stiffness
    index, data = ur5e.RobotIndex(model), mujoco.MjData(model)
    data.qpos[index.qpos[:6]] = ur5e.HOME
    data.ctrl[index.ctrl[:6]] = ur5e.HOME
    data.ctrl[index.ctrl[6]] = target * index.control_per_radian[6]
    mujoco.mj_step(model, data, round(4.0 / model.opt.timestep))
    fastest = 0.0
    for _ in range(400):
        mujoco.mj_step(model, data)
        fastest = max(fastest, np.abs(data.qvel[index.qvel]).max())
    assert fastest < 2e-3
