"""policy_node in this process: which bundles it arms, and what it says of unfamiliar situations."""

import json

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.lifecycle import TransitionCallbackReturn  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_msgs.msg import Float64MultiArray  # noqa: E402
from trajectory_msgs.msg import JointTrajectory  # noqa: E402

from bridle.deploy.bundle import GUARD, load_bundle, sha256  # noqa: E402
from bridle.ros_nodes import qos  # noqa: E402
from bridle.ros_nodes.policy_node import PolicyNode, PolicyParams  # noqa: E402
from bridle.ros_nodes.transport import without_shared_memory  # noqa: E402

from ..deploy.conftest import JOINTS, exported, policy  # noqa: E402, F401
from ..deploy.familiar import calibrated_copy  # noqa: E402
from ..integration.conftest import isolation  # noqa: E402, F401

HOME = [-1.57, -1.57, 1.57, -1.57, -1.57, 0.0, 0.0]


@pytest.fixture(scope="module")
def bundle(exported):  # noqa: F811
    return load_bundle(exported)


@pytest.fixture
def start():
    """Make a node with parameters and configure it; what came of it."""
    nodes = []

    def make(**params):
        line = ["--ros-args"]
        for name, value in {"strategy": "replace", "autostart": False, **params}.items():
            line += ["-p", f"{name}:={json.dumps(value)}"]
        with without_shared_memory():
            rclpy.init(args=line)
            nodes.append(PolicyNode())
        return nodes[-1], nodes[-1].trigger_configure()

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()


def heard(node, enough):
    """What a node publishes while a robot at rest reports: familiarity, chunks and diagnostics."""
    found = statuses, chunks, diagnostics = [], [], []
    robot = rclpy.create_node("robot")
    robot.create_subscription(DiagnosticStatus, "familiarity", statuses.append, qos.EVENT)
    robot.create_subscription(JointTrajectory, "action_chunk", chunks.append, qos.CHUNK)
    robot.create_subscription(DiagnosticArray, "diagnostics", diagnostics.append, qos.EVENT)
    states = robot.create_publisher(JointState, "joint_states", qos.SENSOR)
    scene = robot.create_publisher(Float64MultiArray, "observation/object_state", qos.SENSOR)

    def tell():
        state = JointState(name=list(JOINTS), position=HOME, velocity=[0.0] * 7)
        state.header.stamp = robot.get_clock().now().to_msg()
        states.publish(state)
        scene.publish(Float64MultiArray(data=[0.0] * 8))

    robot.create_timer(0.02, tell)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.add_node(robot)
    node.trigger_activate()
    for _ in range(2000):
        executor.spin_once(timeout_sec=0.01)
        if enough(*found):
            break
    node.trigger_deactivate()
    robot.destroy_node()
    return found


def test_a_bundle_whose_calibration_is_of_other_weights_is_not_armed(bundle, tmp_path, start):
    folder = calibrated_copy(bundle, tmp_path / "other").path
    content = json.loads((folder / GUARD).read_text()) | {"weights_digest": "0" * 64}
    (folder / GUARD).write_text(json.dumps(content))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][GUARD] = sha256((folder / GUARD).read_bytes())
    (folder / "manifest.json").write_text(json.dumps(manifest))
    node, outcome = start(bundle=str(folder))
    assert outcome is TransitionCallbackReturn.FAILURE
    assert "guard.json is of other weights, '000000000000'" in node.failure


def test_a_bundle_that_is_calibrated_for_another_strategy_is_not_armed(bundle, tmp_path, start):
    folder = calibrated_copy(bundle, tmp_path / "rtc", strategy="rtc").path
    node, outcome = start(bundle=str(folder))
    assert outcome is TransitionCallbackReturn.FAILURE
    assert "is calibrated for strategy rtc, not replace; serve it with that" in node.failure


def test_it_is_armed_where_nobody_asks_for_the_calibration(bundle, tmp_path, start):
    folder = calibrated_copy(bundle, tmp_path / "off", strategy="rtc").path
    _, outcome = start(bundle=str(folder), familiarity="off")
    assert outcome is TransitionCallbackReturn.SUCCESS


@pytest.mark.parametrize(
    ("high", "level", "why"),
    [
        ((), DiagnosticStatus.OK, ""),
        (("support",), DiagnosticStatus.WARN, "support"),
        (("support", "residual"), DiagnosticStatus.ERROR, " and "),
    ],
)
def test_every_chunk_comes_with_its_familiarity(bundle, tmp_path, start, high, level, why):
    node, outcome = start(bundle=str(calibrated_copy(bundle, tmp_path / "copy", *high).path))
    assert outcome is TransitionCallbackReturn.SUCCESS
    statuses, chunks, diagnostics = heard(
        node, lambda _, c, d: len(c) >= 3 and d and len(d[-1].status) == 2
    )
    assert len(statuses) >= len(chunks) >= 3
    for status in statuses:
        assert status.level == level
        assert why in status.message
        assert bool(why) == bool(status.message)
        scores = {v.key: float(v.value) for v in status.values}
        assert set(scores) == {"support", "continuity", "residual"}
        assert np.isfinite([scores["support"], scores["residual"]]).all()
    assert [s.name for s in diagnostics[-1].status] == ["policy", "familiarity"]
    moves = np.ptp([point.positions for point in chunks[-1].points], axis=0).max() > 0.01
    assert moves == (level != DiagnosticStatus.ERROR)


def test_without_a_guardian_every_chunk_says_that_nothing_is_wrong(bundle, start):
    """What the guard was told by the guardian of another policy would hold it for ever."""
    node, outcome = start(bundle=str(bundle.path))
    assert outcome is TransitionCallbackReturn.SUCCESS
    statuses, chunks, _ = heard(node, lambda _, c, d: len(c) >= 2)
    assert len(statuses) >= len(chunks) >= 2
    assert {(s.level, s.message) for s in statuses} == {(DiagnosticStatus.OK, "")}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"familiarity": "perhaps"}, "familiarity must be auto or off, got 'perhaps'"),
        ({"conservative_steps": -1}, r"steps must lie in 0..100, got -1"),
        ({"conservative_largest": 2.0}, r"largest must lie in \(0, 1\], got 2"),
        ({"caution_speed": 0.0}, r"caution_speed must lie in \(0, 1\], got 0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PolicyParams(bundle="b", **settings)
