import math
from dataclasses import replace

import numpy as np
import pytest
import yaml

from bridle.deploy.robot import (
    SHIPPED,
    Allowance,
    Collision,
    HalfSpace,
    JointLimits,
    RobotError,
    Separation,
    Singularity,
    load_robot,
)

MODEL = "<mujoco><worldbody><site name='tcp'/></worldbody></mujoco>"
FLOOR = {"name": "floor", "normal": [0.0, 0.0, -1.0], "offset": 0.1}


@pytest.fixture
def content(tmp_path):
    """The shipped file, to be changed, with a small model in its place, and what it leaves out."""
    (tmp_path / "ur5e_2f85.xml").write_text(MODEL)
    shipped = yaml.safe_load((SHIPPED / "ur5e_2f85.yaml").read_text())
    return shipped | {
        "half_spaces": [FLOOR, {"name": "door", "normal": [0.6, 0.8, 0], "offset": -0.5}],
        "separation": {"uncertainty": 0.05, "max_age": 0.2, "settling": 0.15},
        "singularity": {"least": 0.02, "near": 0.06},
    }


def load(content, tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return load_robot(path)


def test_the_shipped_ur5e_is_read_in_joint_order():
    robot = load_robot("ur5e_2f85")
    assert robot.joint_names[0] == "shoulder_pan_joint"
    assert robot.joint_names[-1] == "robotiq_85_left_knuckle_joint"
    limits = robot.limits
    np.testing.assert_allclose(limits.position_max[:6], np.pi * np.array([2, 2, 1, 2, 2, 2]))
    np.testing.assert_allclose(limits.position_min[:6], -limits.position_max[:6])
    np.testing.assert_allclose(limits.velocity, [2.5] * 6 + [5.0])
    np.testing.assert_allclose(limits.acceleration, [25.0] * 6 + [150.0])
    np.testing.assert_allclose(limits.jerk, [1000.0] * 6 + [10000.0])
    assert [joint.torque for joint in robot.joints] == [150.0] * 3 + [28.0] * 3 + [None]
    assert robot.joints[-1].position == (0.0, 0.8)
    assert robot.joints[-1].tracking_tolerance is None
    assert (robot.rates.command, robot.rates.policy) == (200.0, 20.0)
    assert robot.watchdogs.joint_states == 0.05
    assert robot.watchdogs.chunk == 0.5
    assert robot.workspace is not None
    assert robot.workspace.x == (0.1, 0.9)


def test_a_path_gives_the_same_robot_as_the_name():
    assert load_robot(SHIPPED / "ur5e_2f85.yaml") == load_robot("ur5e_2f85")


def test_a_robot_without_a_workspace_has_none(content, tmp_path):
    del content["workspace"]
    assert load(content, tmp_path).workspace is None


OPTIONAL = ("model", "tool_speed", "workspace", "half_spaces")
NEED_A_MODEL = ("collision", "separation", "singularity")


def test_what_is_optional_is_as_the_file_has_it(content, tmp_path):
    del content["joints"][0]["torque"]
    robot = load(content, tmp_path)
    assert robot.model == MODEL
    assert robot.tool_speed == 1.5
    assert robot.half_spaces == (
        HalfSpace("floor", (0.0, 0.0, -1.0), 0.1),
        HalfSpace("door", (0.6, 0.8, 0.0), -0.5),
    )
    assert robot.collision == Collision(margin=0.01)
    assert robot.allowance == Allowance(joint=0.008, body=0.008, speed=0.06, acceleration=0.05)
    assert robot.separation == Separation(uncertainty=0.05, max_age=0.2, settling=0.15)
    assert robot.singularity == Singularity(least=0.02, near=0.06)
    assert robot.joints[0].torque is None


def test_what_is_optional_may_be_missing(content, tmp_path):
    for key in (*OPTIONAL, *NEED_A_MODEL):
        content.pop(key, None)
    robot = load(content, tmp_path)
    assert {getattr(robot, key) for key in OPTIONAL + NEED_A_MODEL} == {None, ()}


@pytest.mark.parametrize("key", NEED_A_MODEL)
def test_what_is_about_the_body_needs_a_model(content, tmp_path, key):
    for other in (*OPTIONAL, *NEED_A_MODEL):
        if other != key:
            content.pop(other, None)
    with pytest.raises(RobotError, match=f"{key}: it needs the key 'model'"):
        load(content, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"<mujoco", "model: ur5e_2f85.xml: .* does not compile"),
        (b"<mujoco><include file='/etc/passwd'/></mujoco>", "may not refer to other files"),
        (b"\xff", "model: ur5e_2f85.xml: cannot be read"),
        (b" " * 2**18 + b" ", "model: ur5e_2f85.xml: .* larger than 262144 bytes"),
        (None, "model: ur5e_2f85.xml: cannot be read"),
    ],
)
def test_a_model_is_looked_at_when_it_is_read(content, tmp_path, text, message):
    path = tmp_path / "ur5e_2f85.xml"
    path.unlink() if text is None else path.write_bytes(text)
    with pytest.raises(RobotError, match=message) as error:
        load(content, tmp_path)
    assert "\n" not in str(error.value)


def allowed(**values):
    return {"joint": 0.0, "body": 0.0, "speed": 0.0, "acceleration": 0.0} | values


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(content):
        for key in path:
            content = content[key]
        content[last] = value

    return change


def drop(*path):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("speed", 1), "unknown key 'speed'"),
        (drop("rates"), "key 'rates' is missing"),
        (drop("joints", 2, "velocity"), r"joints\[2\]: key 'velocity' is missing"),
        (put("joints", 2, "snap", 1), r"joints\[2\]: unknown key 'snap'"),
        (drop("joints", 2, "jerk"), r"joints\[2\]: key 'jerk' is missing"),
        (put("joints", 2, "jerk", "low"), r"joints\[2\].jerk: expected a number .* got 'low'"),
        (put("joints", 2, "jerk", None), r"joints\[2\].jerk: expected a number .* got None"),
        (put("joints", 2, "jerk", 1e7), r"joints\[2\].jerk: .* got 10000000"),
        (put("joints", 2, "torque", 0.0), r"joints\[2\].torque: .* got 0.0"),
        (put("joints", 2, "torque", "150"), r"joints\[2\].torque: .* got '150'"),
        (put("joints", 0, "unit", "deg"), r"joints\[0\].unit: expected rad, got 'deg'"),
        (put("joints", 0, "velocity", math.nan), r"joints\[0\].velocity: .* got nan"),
        (put("joints", 0, "velocity", 0), r"joints\[0\].velocity: expected a number"),
        (put("joints", 0, "velocity", True), "got True"),
        (put("joints", 0, "velocity", "fast"), "got 'fast'"),
        (put("joints", 0, "acceleration", -1.0), r"joints\[0\].acceleration"),
        (
            put("joints", 0, "position", [1.0, 1.0]),
            r"position: min must be below max, got \[1, 1\]",
        ),
        (put("joints", 0, "position", [1.0]), r"expected \[min, max\]"),
        (put("joints", 0, "position", [-math.inf, 1.0]), "got -inf"),
        (put("joints", 1, "name", "elbow_joint"), "'elbow_joint' is given twice"),
        (put("joints", []), "at least one"),
        (put("joints", "many"), "expected a list"),
        (put("rates", "command", 0), "rates.command"),
        (put("rates", "policy", 400), "rates.policy"),
        (put("watchdogs", "chunk", 0.0), "watchdogs.chunk"),
        (put("latency", -0.1), "latency"),
        (put("workspace", "z", [1, 0]), "workspace.z"),
        (put("workspace", None), "workspace: expected the keys"),
        (put("name", ""), "name: expected a name"),
        (put("model", 3), "model: expected a name, got 3"),
        (put("model", "../ur5e_2f85.xml"), "model: expected the name of a file beside this one"),
        (put("model", "a\\\\b.xml"), "model: expected the name of a file beside this one"),
        (put("model", ".."), "model: expected the name of a file beside this one"),
        (put("tool_speed", None), r"tool_speed: expected a number in \[0.001, 100\], got None"),
        (put("tool_speed", 0.0), "tool_speed: .* got 0.0"),
        (put("half_spaces", {}), "half_spaces: expected a list, got {}"),
        (put("half_spaces", [{**FLOOR, "wall": 1}]), r"half_spaces\[0\]: unknown key 'wall'"),
        (put("half_spaces", [{"name": "a"}]), r"half_spaces\[0\]: key 'normal' is missing"),
        (put("half_spaces", [FLOOR, FLOOR]), "half_spaces: 'floor' is given twice"),
        (put("half_spaces", [{**FLOOR, "name": 1}]), r"half_spaces\[0\].name: expected a name"),
        (put("half_spaces", [{**FLOOR, "normal": 1}]), r"half_spaces\[0\].normal: expected a list"),
        (put("half_spaces", [{**FLOOR, "normal": [0, 1]}]), "normal: expected three numbers"),
        (put("half_spaces", [{**FLOOR, "normal": [0, 1, 1]}]), "a normal of length 1"),
        (put("half_spaces", [{**FLOOR, "normal": [0, 1, "0"]}]), "normal: expected a number"),
        (put("half_spaces", [{**FLOOR, "offset": math.inf}]), r"half_spaces\[0\].offset: .* inf"),
        (put("allowance", {"joint": 0.001}), "allowance: key 'body' is missing"),
        (put("allowance", allowed(body=-1.0)), "allowance.body: .* got -1"),
        (put("allowance", allowed(joint=9)), "allowance.joint: .* got 9"),
        (put("allowance", allowed(acceleration=1)), "allowance.acceleration: .* got 1"),
        (put("collision", 0.01), "collision: expected the keys margin, got 0.01"),
        (put("collision", {}), "collision: key 'margin' is missing"),
        (put("collision", "pairs", []), "collision: unknown key 'pairs'; known: margin"),
        (put("collision", "margin", -0.01), "collision.margin: .* got -0.01"),
        (drop("separation", "max_age"), "separation: key 'max_age' is missing"),
        (put("separation", "speed", 1.6), "separation: unknown key 'speed'"),
        (put("separation", "uncertainty", "5 cm"), "separation.uncertainty: .* got '5 cm'"),
        (put("separation", "max_age", 0.001), r"separation.max_age: .* \[0.005, 10\], got 0.001"),
        (put("separation", "settling", -1), r"separation.settling: .* \[0, 2\], got -1"),
        (put("singularity", {"least": 0.02}), "singularity: key 'near' is missing"),
        (put("singularity", {"least": 0, "near": 1}), "singularity.least: .* got 0"),
        (put("singularity", {"least": 0.06, "near": 0.02}), "least must be below near"),
        (put("singularity", {"least": 0.02, "near": 0.06, "length": 1}), "unknown key 'length'"),
    ],
)
def test_a_mistake_in_the_file_is_named_in_one_line(content, tmp_path, change, message):
    change(content)
    with pytest.raises(RobotError, match=message) as error:
        load(content, tmp_path)
    assert str(tmp_path / "robot.yaml") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["name: a\nname: b\n", "name: [", "- 1\n", ""])
def test_text_that_is_no_robot_is_refused(tmp_path, text):
    with pytest.raises(RobotError, match=r"robot\.yaml") as error:
        load(text, tmp_path)
    assert "\n" not in str(error.value)


def test_unknown_robots_and_missing_files_are_refused(tmp_path):
    with pytest.raises(RobotError, match="known: ur5e_2f85"):
        load_robot("ur50")
    with pytest.raises(RobotError, match="cannot be read"):
        load_robot(tmp_path / "none.yaml")


def limits(
    low=(-1.0, -2.0),
    high=(1.0, 2.0),
    velocity=(1.0, 2.0),
    acceleration=(5.0, 6.0),
    jerk=(50.0, 60.0),
):
    return JointLimits(*(np.array(x) for x in (low, high, velocity, acceleration, jerk)))


def test_limits_are_only_ever_tightened():
    other = limits((-3.0, -1.0), (0.5, 9.0), (9.0, 1.0), (1.0, 99.0), (99.0, 9.0))
    both = limits().tightened_by(other)
    np.testing.assert_array_equal(both.position_min, [-1, -1])
    np.testing.assert_array_equal(both.position_max, [0.5, 2])
    np.testing.assert_array_equal(both.velocity, [1, 1])
    np.testing.assert_array_equal(both.acceleration, [1, 6])
    np.testing.assert_array_equal(both.jerk, [50, 9])


def test_limits_that_leave_nothing_are_an_error():
    with pytest.raises(RobotError, match="no position is left for joint 1: min 3 >= max 2"):
        limits().tightened_by(limits((-1.0, 3.0), (1.0, 4.0)))


def test_limits_of_other_joints_are_an_error():
    one = JointLimits(*(np.array([x]) for x in (-1.0, 1.0, 1.0, 1.0, 1.0)))
    with pytest.raises(RobotError, match="2 joints cannot be tightened by limits of 1"):
        limits().tightened_by(one)


def test_limits_cannot_be_written_to_and_do_not_follow_their_source():
    source = np.array([1.0, 2.0])
    built = replace(limits(), velocity=source)
    source[0] = 99.0
    assert built.velocity[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        built.velocity[0] = 99.0


@pytest.mark.parametrize("bad", [(np.nan, 1.0), (0.0, 1.0), (1.0,), (-1.0, 1.0)])
def test_bad_bounds_are_refused(bad):
    with pytest.raises(RobotError):
        limits(velocity=bad)
