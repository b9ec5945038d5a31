"""guard_node in this process: when it begins to command."""

import time

import pytest

rclpy = pytest.importorskip("rclpy")

from rclpy.clock_type import ClockType  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.lifecycle import TransitionCallbackReturn  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_msgs.msg import Float64MultiArray  # noqa: E402

from bridle.ros_nodes import guard_node, qos  # noqa: E402
from bridle.ros_nodes.transport import without_shared_memory  # noqa: E402

from ..deploy.conftest import JOINTS  # noqa: E402
from ..integration.conftest import isolation  # noqa: E402, F401

HOME = [-1.57, -1.57, 1.57, -1.57, -1.57, 0.0, 0.0]


def test_it_does_not_begin_where_a_silent_driver_left_the_robot(monkeypatch):
    monkeypatch.setattr(guard_node, "DISCOVERY", 0.0)
    with without_shared_memory():
        rclpy.init(args=["--ros-args", "-p", "robot:=ur5e_2f85", "-p", "autostart:=false"])
        node, robot = guard_node.GuardNode(), rclpy.create_node("robot")
    try:
        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        clocks = {timer.clock.clock_type for timer in node.timers}
        assert clocks == {ClockType.STEADY_TIME}, "it goes on when the system's time is set back"
        commands = []
        topic = "forward_position_controller/commands"
        robot.create_subscription(Float64MultiArray, topic, commands.append, qos.COMMAND)
        states = robot.create_publisher(JointState, "joint_states", qos.SENSOR)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.add_node(robot)

        def tell(*_):
            state = JointState(name=list(JOINTS), position=HOME, velocity=[0.0] * 7)
            state.header.stamp = robot.get_clock().now().to_msg()
            states.publish(state)

        def spin(seconds, done=lambda: False):
            end = time.monotonic() + seconds
            while time.monotonic() < end and not done():
                executor.spin_once(timeout_sec=0.01)

        node.trigger_activate()
        talking = robot.create_timer(0.02, tell)
        spin(20, lambda: node._position is not None and node._commands.get_subscription_count())
        talking.cancel()
        assert not commands
        spin(3 * guard_node.SETTLE)
        assert not commands, "its position is old"
        talking.reset()
        spin(20, lambda: len(commands) > 10)
        assert list(commands[0].data) == pytest.approx(HOME)
    finally:
        node.destroy_node()
        robot.destroy_node()
        rclpy.try_shutdown()
