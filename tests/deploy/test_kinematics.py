import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.deploy.exceptions import KinematicsError
from bridle.deploy.kinematics import Kinematics

from .conftest import JOINTS, arm_xml

HOME = np.array([-1.0, -1.0, 1.0, -1.0, -1.0, 0.0]) * np.pi / 2
small = st.floats(-0.05, 0.05)


@pytest.fixture(scope="module")
def arm() -> Kinematics:
    return Kinematics(arm_xml())


@settings(max_examples=50, deadline=None)
@given(offset=st.tuples(small, small, small))
def test_a_shift_moves_the_tool_by_the_offset_and_keeps_its_orientation(offset):
    arm = Kinematics(arm_xml())
    path = np.concatenate([HOME, [0.3]]) + np.linspace(0, 0.3, 16)[:, None]
    shifted = arm.shift(path, np.array(offset))
    for q, p in zip(path, shifted, strict=True):
        before, after = arm.tool_pose(q), arm.tool_pose(p)
        assert np.allclose(after[:3] - before[:3], offset, atol=2e-4)
        assert np.allclose(after[3:], before[3:], atol=0.02)
    assert np.array_equal(shifted[:, 6], path[:, 6])  # the gripper is left alone


def test_each_point_may_have_its_own_offset(arm):
    path = np.tile(HOME, (3, 1))
    offsets = np.array([[0, 0, 0], [0, 0.01, 0], [0, 0.02, 0]])
    moved = [arm.tool_position(q) for q in arm.shift(path, offsets)]
    assert np.allclose(np.array(moved) - arm.tool_position(HOME), offsets, atol=2e-4)


def test_a_pose_out_of_reach_is_an_error(arm):
    with pytest.raises(KinematicsError, match="out of reach"):
        arm.shift(HOME[None], np.array([5.0, 0.0, 0.0]))


def test_joint_names_come_from_the_model(arm):
    assert arm.joint_names == JOINTS[:6]


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<mujoco>", "does not compile"),
        ("", "does not compile"),
        (b"\xff\xfe", "does not compile"),
        ("<mujoco/>", "no site 'tcp'"),
        (
            '<mujoco><worldbody><body><joint type="slide"/><geom size=".1"/>'
            '<site name="tcp"/></body></worldbody></mujoco>',
            "hinge joints only",
        ),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(xml, message):
    with pytest.raises(KinematicsError, match=message):
        Kinematics(xml)
