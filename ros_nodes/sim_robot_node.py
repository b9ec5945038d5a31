"""sim_robot_node: the simulated robot, in real time, behind the topics of a real one.

It takes position commands as a robot driver does, publishes joint states and observations, and
counts, at every physics step, whether the simulated joints leave the limits in the robot file.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from bridle import sim
from bridle.deploy.robot import load_robot
from bridle.ros_nodes import qos
from bridle.ros_nodes.command_stream import CommandStream
from bridle.ros_nodes.messages import array_message
from bridle.ros_nodes.params import declare, param
from bridle.ros_nodes.process import every, run, waiting

COMMAND_DT = 0.005
"""How long a command is executed [s]: the period of the controller that sends them."""
MAX_CATCH_UP = 200
"""Commands made up for after a stall, no more than the middleware keeps; beyond that the simulation
slips behind real time."""


@dataclass(frozen=True)
class SimRobotParams:
    """Parameters of sim_robot_node."""

    task: str = param("Task to simulate.", "pick-place")
    seed: int = param("Seed of the episode that the next reset starts.", 0, dynamic=True)
    robot: str = param("Robot file whose limits are counted against.", "ur5e_2f85")
    joint_state_rate: float = param("Joint states and observations per second [Hz].", 100.0)
    camera_rate: float = param("Frames per second of camera/front, 0 for none [Hz].", 0.0)

    def __post_init__(self) -> None:
        if not 1 <= self.joint_state_rate <= 1000:
            raise ValueError(
                f"joint_state_rate must lie in 1..1000 Hz, got {self.joint_state_rate}"
            )
        if not 0 <= self.camera_rate <= 60:
            raise ValueError(f"camera_rate must lie in 0..60 Hz, got {self.camera_rate}")


class LimitCounter:
    """Counts physics steps at which the simulated joints are outside the robot's limits.

    Acceleration is counted for the joints that must track their command; one that may stall (a
    gripper on an object) is stopped by what it touches, not by the guard.
    """

    def __init__(self, robot: str, dt: float) -> None:
        """Count against the limits of a robot file, at physics steps of `dt` [s]."""
        description = load_robot(robot)
        limits = description.limits
        tracks = np.array([j.tracking_tolerance is not None for j in description.joints])
        self._lower, self._upper = limits.position_min, limits.position_max
        self._velocity = limits.velocity
        self._acceleration = np.where(tracks, limits.acceleration, np.inf)
        self._dt = dt
        self.clear()

    def clear(self) -> None:
        """Start again from zero."""
        self.violations = {"position": 0, "velocity": 0, "acceleration": 0}
        self.steps = 0
        self.largest = {"velocity": 0.0, "acceleration": 0.0}
        self._last: NDArray[np.float64] | None = None

    def count(self, position: NDArray[np.float64], velocity: NDArray[np.float64]) -> str | None:
        """Take in the state after one physics step; a sentence when it is outside the limits."""
        acceleration = np.zeros_like(velocity)
        if self._last is not None:
            acceleration = (velocity - self._last) / self._dt
        self._last = velocity.copy()
        self.steps += 1
        outside = np.maximum(self._lower - position, position - self._upper)
        found = None
        if (outside > 1e-6).any():
            self.violations["position"] += 1
            worst = int(outside.argmax())
            found = f"joint {worst} is {outside[worst]:.3g} rad outside its limits"
        for name, value, bound in (
            ("velocity", velocity, self._velocity),
            ("acceleration", acceleration, self._acceleration),
        ):
            share = float((np.abs(value) / bound).max())
            self.violations[name] += share > 1
            self.largest[name] = max(self.largest[name], share)
            if share > 1:
                worst = int((np.abs(value) / bound).argmax())
                found = f"{name} of joint {worst} is {value[worst]:.3g}, allowed {bound[worst]:.3g}"
        return found


class SimRobotNode(Node):
    """The simulated robot."""

    def __init__(self) -> None:
        """Start the first episode and the clock of the physics."""
        super().__init__("sim_robot_node")
        self.params = declare(self, SimRobotParams)
        self.env = sim.make(self.params.task)
        self._stream = CommandStream(load_robot(self.params.robot), COMMAND_DT)
        self.counter = LimitCounter(self.params.robot, self.env.physics_dt)
        self._episode = -1
        self._joint_states = self.create_publisher(JointState, "joint_states", qos.SENSOR)
        self._episode_publisher = self.create_publisher(String, "episode", qos.LATCHED)
        self._image_publisher = self.create_publisher(Image, "camera/front/image_raw", qos.IMAGE)
        self._extra = {
            "object_state": self.create_publisher(
                Float64MultiArray, "observation/object_state", qos.SENSOR
            )
        }
        trajectory = "joint_trajectory_controller/joint_trajectory"
        self._commands: list[tuple[Any, Callable[[Any], None]]] = [
            (self.create_subscription(kind, topic, callback, qos.COMMAND), callback)
            for kind, topic, callback in (
                (Float64MultiArray, "forward_position_controller/commands", self._on_command),
                (JointTrajectory, trajectory, self._on_trajectory),
            )
        ]
        self.create_service(Trigger, "reset_episode", self._on_reset)
        self._start_episode()
        every(self, COMMAND_DT, self._advance)
        every(self, 1 / self.params.joint_state_rate, self._publish_state)
        every(self, 0.1, self._publish_episode)
        if self.params.camera_rate:
            self._image_timer = every(self, 1 / self.params.camera_rate, self._publish_image)
        self.get_logger().info(f"simulating {self.params.task} on {self.params.robot}")

    def _start_episode(self) -> None:
        self._episode += 1
        self._seed = int(self.get_parameter("seed").value)
        self.env.reset(seed=self._seed)
        position, _ = self.env.joint_state()
        self._stream.restart(position)
        self.env.set_command(position)
        self.counter.clear()
        self._success = False
        self._success_time = math.nan
        self._refused = 0
        self._epoch = time.monotonic()
        self._executed = 0
        self._slipped = 0

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._start_episode()
        self._publish_state()
        self._publish_episode()
        response.success = True
        response.message = f"episode {self._episode}, seed {self._seed}"
        return response

    # -- commands ----------------------------------------------------------------------------------

    def _on_command(self, message: Float64MultiArray) -> None:
        self._take(np.asarray(message.data, np.float64))

    def _on_trajectory(self, message: JointTrajectory) -> None:
        names = sim.JOINT_NAMES
        if sorted(message.joint_names) != sorted(names) or not message.points:
            self._refuse(f"joint_trajectory: expected the joints {names}")
            return
        order = [message.joint_names.index(name) for name in names]
        positions = np.asarray(message.points[-1].positions, np.float64)
        self._take(positions[order] if len(positions) == len(names) else positions)

    def _take(self, command: NDArray[np.float64]) -> None:
        why = self._stream.take(command)
        if why is not None:
            self._refuse(why)

    def _refuse(self, why: str) -> None:
        self._refused += 1
        # After a reset the controller still holds the old pose until it is reset, too.
        if self._stream.started:
            self.get_logger().warning(f"refused {why}", throttle_duration_sec=1.0)

    # -- physics -----------------------------------------------------------------------------------

    def _advance(self) -> None:
        for subscription, callback in self._commands:
            for message in waiting(subscription, MAX_CATCH_UP):
                callback(message)
        due = int((time.monotonic() - self._epoch) / COMMAND_DT) - self._executed
        if due > MAX_CATCH_UP:
            self._slipped += due - MAX_CATCH_UP
            self._executed += due - MAX_CATCH_UP
            due = MAX_CATCH_UP
        if self._stream.flowing:
            # After a stall of this process commands are still on their way: late, not missing.
            due = min(due, max(1, len(self._stream)))
        for _ in range(due):
            self._execute()
            self._executed += 1
        if self._stream.drop_stale():
            self._refuse("commands that are too old")
        if due and not self._success and self.env.is_success():
            self._success = True
            self._success_time = time.monotonic() - self._epoch
            self._publish_episode()

    def _execute(self) -> None:
        """One period: the setpoint moves evenly, as in a driver faster than its commands."""
        before, after = self._stream.setpoint, self._stream.step()
        steps = round(COMMAND_DT / self.env.physics_dt)
        for share in np.arange(1, steps + 1) / steps:
            self.env.set_command(before + share * (after - before))
            self.env.advance(1)
            outside = self.counter.count(*self.env.joint_state())
            if outside is not None:
                touched = ", ".join(self.env.touched()) or "nothing"
                self.get_logger().warning(
                    f"{outside}; it touches {touched}", throttle_duration_sec=0.2
                )

    # -- what is published -------------------------------------------------------------------------

    def _publish_state(self) -> None:
        position, velocity = self.env.joint_state()
        message = JointState(
            name=list(sim.JOINT_NAMES), position=position.tolist(), velocity=velocity.tolist()
        )
        message.header.stamp = self.get_clock().now().to_msg()
        observation = self.env.observe()
        for key, publisher in self._extra.items():
            publisher.publish(array_message(key, observation[key]))
        self._joint_states.publish(message)

    def _publish_episode(self) -> None:
        state = {
            "episode": self._episode,
            "seed": self._seed,
            "seconds": round(time.monotonic() - self._epoch, 3),
            "success": self._success,
            "success_seconds": None if math.isnan(self._success_time) else self._success_time,
            "tool": [round(float(x), 5) for x in self.env.observe()["tcp_pose"][:3]],
            "violations": self.counter.violations,
            "largest_share": {k: round(v, 3) for k, v in self.counter.largest.items()},
            "physics_steps": self.counter.steps,
            "refused_commands": self._refused,
            "slipped_steps": self._slipped,
        }
        self._episode_publisher.publish(String(data=json.dumps(state)))

    def _publish_image(self) -> None:
        try:
            frame = self.env.render()
        except sim.RenderingError as error:
            self.get_logger().warning(f"no camera: {error}")
            self._image_timer.cancel()
            return
        message = Image(
            height=frame.shape[0], width=frame.shape[1], encoding="rgb8", step=3 * frame.shape[1]
        )
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = "front"
        message.data = frame.tobytes()
        self._image_publisher.publish(message)


def main() -> int:
    """Entry point of the process."""
    return run(SimRobotNode)


if __name__ == "__main__":
    raise SystemExit(main())
