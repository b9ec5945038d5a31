from dataclasses import replace

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridle.deploy.robot import (
    Collision,
    HalfSpace,
    RobotError,
    Workspace,
    load_robot,
)
from bridle.deploy.tightening import JointTightening, Tightening, load_tightening, tighten

from .guarding import make_robot

ROBOT = load_robot("ur5e_2f85")
FLOOR = HalfSpace("floor", (0.0, 0.0, -1.0), 0.05)
FULL = {
    "joints": {
        "elbow_joint": {"position": [-1.0, 9.0], "velocity": 1.0},
        "wrist_1_joint": {"acceleration": 5.0, "jerk": 9e4},
    },
    "tool_speed": 0.25,
    "workspace": {"x": [0.0, 0.5], "y": [-0.1, 0.9], "z": [0.02, 0.5]},
    "half_spaces": [{"name": "floor", "normal": [0, 0, -1], "offset": 0.05}],
    "collision": {"margin": 0.02},
}


def load(content, tmp_path):
    path = tmp_path / "task.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return load_tightening(path)


def test_each_key_tightens_what_it_names(tmp_path):
    robot = tighten(ROBOT, load(FULL, tmp_path))
    elbow, wrist = robot.joints[2], robot.joints[3]
    assert elbow.position == (-1.0, ROBOT.joints[2].position[1])
    assert (elbow.velocity, elbow.acceleration) == (1.0, ROBOT.joints[2].acceleration)
    assert (wrist.acceleration, wrist.jerk) == (5.0, ROBOT.joints[3].jerk)
    assert robot.tool_speed == 0.25
    assert robot.workspace == Workspace((0.1, 0.5), (-0.1, 0.6), (0.02, 0.5))
    assert robot.half_spaces == (FLOOR,)
    assert robot.collision == Collision(0.02)
    untouched = [i for i in range(7) if i not in (2, 3)]
    assert [robot.joints[i] for i in untouched] == [ROBOT.joints[i] for i in untouched]


def test_an_empty_tightening_changes_nothing(tmp_path):
    assert tighten(ROBOT, load({}, tmp_path)) == ROBOT


def test_what_the_robot_leaves_open_is_set():
    bare = replace(ROBOT, tool_speed=None, workspace=None, collision=None)
    box = Workspace((0.0, 1.0), (0.0, 1.0), (0.0, 1.0))
    robot = tighten(bare, Tightening(tool_speed=0.5, workspace=box, collision=Collision(0.03)))
    assert (robot.tool_speed, robot.workspace, robot.collision) == (0.5, box, Collision(0.03))


def test_tightening_twice_is_tightening_once(tmp_path):
    by = load(FULL, tmp_path)
    assert tighten(tighten(ROBOT, by), by) == tighten(ROBOT, by)


numbers = st.floats(-2.0, 2.0, allow_nan=False)
positive = st.floats(1e-3, 100.0)
maybe = st.none() | positive
intervals = st.tuples(numbers, positive).map(lambda pair: (pair[0], pair[0] + pair[1]))
joints = st.builds(JointTightening, st.none() | intervals, maybe, maybe, maybe)
tightenings = st.builds(
    Tightening,
    joints=st.dictionaries(st.sampled_from(ROBOT.joint_names), joints),
    tool_speed=maybe,
    workspace=st.none() | st.builds(Workspace, intervals, intervals, intervals),
    half_spaces=st.sampled_from([(), (FLOOR,)]),
    collision=st.none() | st.builds(Collision, st.floats(0.0, 0.1)),
)


def leaves_nothing(by):
    both = [
        (joint.position, by.joints.get(joint.name, JointTightening()).position)
        for joint in ROBOT.joints
    ]
    if by.workspace is not None:
        both += [(getattr(ROBOT.workspace, a), getattr(by.workspace, a)) for a in "xyz"]
    return any(b is not None and max(a[0], b[0]) >= min(a[1], b[1]) for a, b in both)


@given(tightenings)
def test_nothing_ever_becomes_wider(by):
    if leaves_nothing(by):
        with pytest.raises(RobotError, match="nothing is left"):
            tighten(ROBOT, by)
        return
    robot = tighten(ROBOT, by)
    own, limits = ROBOT.limits, robot.limits
    assert (limits.position_min >= own.position_min).all()
    assert (limits.position_max <= own.position_max).all()
    for bound in ("velocity", "acceleration", "jerk"):
        assert (getattr(limits, bound) <= getattr(own, bound)).all()
    for joint in robot.joints:
        asked = by.joints.get(joint.name, JointTightening())
        if asked.position is not None:
            assert asked.position[0] <= joint.position[0]
            assert joint.position[1] <= asked.position[1]
        for bound in ("velocity", "acceleration", "jerk"):
            asked_for = getattr(asked, bound)
            assert asked_for is None or getattr(joint, bound) <= asked_for
    assert robot.tool_speed <= min(ROBOT.tool_speed, by.tool_speed or np.inf)
    assert robot.collision.margin >= ROBOT.collision.margin
    assert by.collision is None or robot.collision.margin >= by.collision.margin
    assert {*robot.half_spaces} == {*ROBOT.half_spaces, *by.half_spaces}
    for box in filter(None, (ROBOT.workspace, by.workspace)):
        for axis in "xyz":
            (low, high), (least, most) = getattr(robot.workspace, axis), getattr(box, axis)
            assert least <= low < high <= most
    rest = ("name", "rates", "latency", "watchdogs", "model", "separation", "singularity")
    assert all(getattr(robot, key) == getattr(ROBOT, key) for key in rest)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (Tightening({"tail": JointTightening()}), "joints: ur5e_2f85 has no joint 'tail'; its"),
        (
            Tightening({"elbow_joint": JointTightening((4.0, 5.0))}),
            r"joints.elbow_joint.position: nothing is left: min 4 >= max 3\.14159 rad",
        ),
        (
            Tightening(workspace=Workspace((0.9, 1.5), (0.0, 1.0), (0.0, 1.0))),
            "workspace.x: nothing is left: min 0.9 >= max 0.9 m",
        ),
    ],
)
def test_limits_that_cannot_be_joined_are_an_error(by, message):
    with pytest.raises(RobotError, match=message):
        tighten(ROBOT, by)


def test_two_half_spaces_of_one_name_are_an_error():
    robot = replace(ROBOT, half_spaces=(FLOOR,))
    assert tighten(robot, Tightening(half_spaces=(FLOOR,))).half_spaces == (FLOOR,)
    with pytest.raises(RobotError, match="ur5e_2f85 has another 'floor'"):
        tighten(robot, Tightening(half_spaces=(replace(FLOOR, offset=0.1),)))


def test_a_margin_needs_a_model():
    with pytest.raises(RobotError, match="collision: small has no model"):
        tighten(make_robot(), Tightening(collision=Collision(0.1)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"speed": 1}, "the file: unknown key 'speed'; known: joints, tool_speed"),
        ([], "the file: expected the keys joints, tool_speed, workspace"),
        ("tool_speed: 1\ntool_speed: 2\n", "key 'tool_speed' is given twice"),
        ({"joints": []}, "joints: expected joints by their names"),
        ({"joints": {1: {}}}, "joints: expected a name, got 1"),
        ({"joints": {"a": {"torque": 1}}}, "joints.a: unknown key 'torque'; known: position"),
        ({"joints": {"a": {"velocity": 0}}}, "joints.a.velocity: expected a number"),
        ({"joints": {"a": {"position": [1, 0]}}}, "joints.a.position: min must be below max"),
        ({"tool_speed": "slow"}, "tool_speed: .* got 'slow'"),
        ({"workspace": {"x": [0, 1]}}, "workspace: key 'y' is missing"),
        ({"half_spaces": [{"name": "a"}]}, r"half_spaces\[0\]: key 'normal' is missing"),
        ({"collision": {"margin": None}}, "collision.margin: .* got None"),
    ],
)
def test_a_mistake_in_the_file_is_named_in_one_line(tmp_path, content, message):
    with pytest.raises(RobotError, match=message) as error:
        load(content, tmp_path)
    assert str(tmp_path / "task.yaml") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(RobotError, match=r"none\.yaml: cannot be read"):
        load_tightening(tmp_path / "none.yaml")
