"""A simulated robot whose commands come from here: with gaps, with pauses, and from two sides."""

import numpy as np
import pytest
from std_msgs.msg import Float64MultiArray

from bridle import sim
from bridle.ros_nodes import qos
from bridle.ros_nodes.messages import array_message
from bridle.ros_nodes.operator import Operator
from bridle.ros_nodes.up import Graph, simulated_graph

pytestmark = pytest.mark.slow

SPEED = 2.0
"""How fast the commands turn joint 0 [rad/s]."""


@pytest.fixture(scope="module")
def operator(bundle):
    specs = simulated_graph(
        str(bundle), task="pick-place", robot="ur5e_2f85", seed=0, camera_rate=0.0, log=""
    )
    robot = [spec for spec in specs if spec.name == "sim_robot_node"]
    with Graph(robot), Operator(sim.JOINT_NAMES) as operator:
        yield operator


@pytest.fixture
def commands(operator):
    stream = Commands(operator)
    yield stream
    stream.end()
    # Nothing that happened to the stream may show in the motion.
    assert operator.episode["physics_steps"] > 400
    assert operator.episode["violations"] == {"position": 0, "velocity": 0, "acceleration": 0}


class Commands:
    """A controller that sends a command every 5 ms, or as often as it is scheduled."""

    def __init__(self, operator):
        """Start an episode, and the stream where the robot is."""
        self.operator, self.sent, self.silent = operator, 0, False
        operator.wait_for("the robot", lambda: bool(operator.episode), 30)
        before = operator.episode["episode"]
        operator.trigger("reset_episode")
        operator.wait_for("the episode", lambda: operator.episode["episode"] > before, 5)
        operator.spin(0.5)
        self.here = operator.position.copy()
        self.velocity = self.wanted = 0.0
        topic = "forward_position_controller/commands"
        self._publisher = operator._node.create_publisher(Float64MultiArray, topic, qos.COMMAND)
        operator.wait_for("meeting it", lambda: self._publisher.get_subscription_count() > 0, 5)
        self.timer = operator._node.create_timer(0.005, self._send)

    def _send(self):
        # As sharply as the limits allow.
        self.velocity += np.clip(self.wanted - self.velocity, -0.125, 0.125)
        self.here[0] += self.velocity * 0.005
        self.sent += 1
        if not self.silent:
            self.publish(self.here)

    def publish(self, command):
        self._publisher.publish(array_message("position", command))

    def pass_time(self, count):
        """Until so many commands later."""
        end = self.sent + count
        self.operator.wait_for(f"{count} commands", lambda: self.sent >= end, 60)

    def turn(self, count):
        """Turn joint 0 for so many commands, stop, and wait for the robot."""
        self.wanted = SPEED
        self.pass_time(count)
        self.wanted = 0.0
        self.pass_time(50)
        self.operator.wait_for(
            "the robot arriving", lambda: abs(self.here[0] - self.operator.position[0]) < 1e-3, 10
        )

    def refused(self):
        self.operator.spin(0.3)  # the counters are published ten times a second
        return self.operator.episode["refused_commands"]

    def end(self):
        self.operator._node.destroy_timer(self.timer)
        self.operator._node.destroy_publisher(self._publisher)
        self.operator.spin(0.5)


def test_a_stream_is_followed(commands):
    before = commands.here[0]
    commands.turn(150)
    assert commands.here[0] > before + 1.0
    assert commands.refused() == 0


def test_commands_that_were_skipped_are_not_made_up_for_by_a_leap(commands):
    operator = commands.operator
    commands.wanted = SPEED
    commands.pass_time(100)
    commands.silent, broke = True, commands.here[0]
    commands.pass_time(100)
    commands.silent = False
    highest = 0.0
    for _ in range(20):
        commands.pass_time(10)
        highest = max(highest, operator.position[0] - broke)
    assert commands.refused() >= 100
    assert highest < 1e-3
    assert np.abs(operator.velocity[:6]).max() < 0.01
    # It is not lost for ever: a stream that comes back to where it broke is followed again.
    commands.here[0], commands.velocity = operator.position[0], 0.0
    commands.turn(100)


def test_a_stream_that_pauses_in_mid_motion_is_followed_to_its_end(commands):
    """A controller that is not scheduled for a while, and goes on where it was."""
    for direction, pause in ((1, 0.02), (-1, 0.05), (1, 0.2), (-1, 1.0)):
        commands.wanted = direction * SPEED
        commands.pass_time(80)
        commands.timer.cancel()
        commands.operator.spin(pause)
        commands.timer.reset()
    commands.turn(80)
    assert commands.refused() == 0


def test_of_two_streams_one_is_followed(commands):
    other = commands.here + 0.2 * np.eye(7)[0]
    timer = commands.operator._node.create_timer(0.005, lambda: commands.publish(other))
    commands.turn(20)
    commands.operator._node.destroy_timer(timer)
    assert commands.refused() >= 10
