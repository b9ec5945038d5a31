"""guard_node: the only publisher of commands. A process of its own; it only carries the guard."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from bridle.deploy.chunks import ChunkRefused, StampClock, parse_chunk
from bridle.deploy.guard import Command, Guard, GuardState, Mode
from bridle.deploy.language import is_stop
from bridle.deploy.robot import load_robot
from bridle.deploy.tightening import load_tightening, tighten
from bridle.ros_nodes import qos
from bridle.ros_nodes.messages import (
    MessageError,
    array_message,
    joint_vectors,
    nanoseconds,
    obstacles_of,
    status,
    trajectory,
    trajectory_arrays,
)
from bridle.ros_nodes.params import declare, param
from bridle.ros_nodes.process import every, run, transition

INTERFACES: dict[str, tuple[str, Any]] = {
    "forward_position": ("forward_position_controller/commands", Float64MultiArray),
    "joint_trajectory": ("joint_trajectory_controller/joint_trajectory", JointTrajectory),
}
"""How a robot is commanded -> topic and message."""
DISCOVERY, FORGET = 4.0, 25.0
"""Time in which other nodes are discovered (they announce themselves every 3 s, unless told
otherwise), and after which a killed one is forgotten [s]."""
MAX_SPEECH = 4000
"""Characters of a text that are read for stop words in well under a millisecond."""
SETTLE = 0.5
"""Time for which the robot must have been listening before the first command [s]."""
LEVELS = {
    Mode.NOMINAL: DiagnosticStatus.OK,
    Mode.CAUTION: DiagnosticStatus.WARN,
    Mode.HOLD: DiagnosticStatus.WARN,
    Mode.LATCHED: DiagnosticStatus.ERROR,
}


ADVICE = {
    DiagnosticStatus.OK: Mode.NOMINAL,
    DiagnosticStatus.WARN: Mode.CAUTION,
    DiagnosticStatus.ERROR: Mode.HOLD,
}
"""What the policy's guardian says -> what the guard does."""


@dataclass(frozen=True)
class GuardParams:
    """Parameters of guard_node."""

    robot: str = param("Robot file (YAML), or the name of one that comes with Bridle.")
    limits: str = param("File (YAML) with tighter limits for a task; empty: the robot's own.", "")
    caution_speed: float = param("Share of the speed limits where the policy asks for help.", 0.5)
    keep_path: bool = param(
        "Bend the tool's path least at a barrier, not that of the joints.", False
    )
    command_interface: str = param(
        f"How the robot is commanded: {' or '.join(INTERFACES)}.", "forward_position"
    )
    autostart: bool = param("Configure and activate without a lifecycle manager.", True)

    def __post_init__(self) -> None:
        if self.command_interface not in INTERFACES:
            raise ValueError(
                f"command_interface must be {' or '.join(INTERFACES)}, "
                f"got {self.command_interface!r}"
            )
        if not 0 < self.caution_speed <= 1:
            raise ValueError(f"caution_speed must lie in (0, 1], got {self.caution_speed}")


class GuardNode(LifecycleNode):
    """Carries messages to the guard and its commands to the robot."""

    def __init__(self) -> None:
        """Declare parameters; everything else waits for `configure`."""
        super().__init__("guard_node")
        self.params = declare(self, GuardParams)
        self._state: GuardState | None = None
        self._position: NDArray[np.float64] | None = None
        self._measured_at = -np.inf
        self._active = False
        self._heard_since = -np.inf
        self._latched_by = ""
        self._refused = 0
        self._last_refusal = ""
        self._last_intervention = self._last_moved = ""
        self._published: tuple[str, str] | None = None

    # -- lifecycle ---------------------------------------------------------------------------------

    @transition
    def on_configure(self) -> None:
        """Read the robot file, open the topics."""
        robot = load_robot(self.params.robot)
        if self.params.limits:
            robot = tighten(robot, load_tightening(self.params.limits))
        self._robot = robot
        self._guard = Guard(robot, keep_path=self.params.keep_path)
        self._stamps = StampClock()
        topic, kind = INTERFACES[self.params.command_interface]
        self._wait_until_alone(topic)
        self._commands = self.create_publisher(kind, topic, qos.COMMAND)
        self._state_publisher = self.create_publisher(DiagnosticStatus, "guard_state", qos.LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "diagnostics", qos.EVENT)
        self.create_subscription(JointState, "joint_states", self._on_joint_state, qos.SENSOR)
        self.create_subscription(JointTrajectory, "action_chunk", self._on_chunk, qos.CHUNK)
        self.create_subscription(DiagnosticStatus, "familiarity", self._on_familiarity, qos.EVENT)
        if robot.separation is not None:
            self.create_subscription(Float64MultiArray, "obstacles", self._on_obstacles, qos.SENSOR)
        self.create_subscription(String, "correction", self._on_correction, qos.EVENT)
        self.create_service(Trigger, "stop", self._on_stop)
        self.create_service(Trigger, "reset", self._on_reset)
        every(self, self._guard.dt, self._tick)
        every(self, 0.5, self._watch)
        self.get_logger().info(f"guarding {robot.name} at {robot.rates.command:g} Hz")

    def _wait_until_alone(self, topic: str) -> None:
        """Two that command one robot are worse than none."""
        topic = self.resolve_topic_name(topic)
        began = time.monotonic()
        while (waited := time.monotonic() - began) < DISCOVERY or self.count_publishers(topic):
            if waited > FORGET:
                raise ValueError(f"another node commands this robot on {topic}; stop it first")
            if waited > DISCOVERY:
                self.get_logger().warning(
                    f"waiting: another node commands this robot on {topic}",
                    throttle_duration_sec=5.0,
                )
            time.sleep(0.1)

    @transition
    def on_activate(self) -> None:
        """Command the robot from where it is, once it has been seen. A stop stays a stop."""
        if self._state is not None and self._state.mode is Mode.LATCHED:
            self._latched_by = self._state.why
        self._state = None
        self._heard_since = time.monotonic()
        self._active = True

    @transition
    def on_deactivate(self) -> None:
        """Stop commanding; refused while the robot moves."""
        if self._state is not None and not self._state.at_rest:
            raise ValueError("not deactivated while the robot moves: stop it first")
        self._active = False

    @transition
    def on_cleanup(self) -> None:
        """Refused: a process is configured once."""
        raise ValueError("restart the process to configure it anew")

    @transition
    def on_shutdown(self) -> None:
        """Bring the robot to rest; the process ends with a signal."""
        self.begin_rest()

    def begin_rest(self) -> None:
        """Begin the stop that comes before the end of the process."""
        self._stop("the guard is shutting down")

    @property
    def at_rest(self) -> bool:
        """Whether nothing is commanded to move."""
        return self._state is None or self._state.at_rest

    # -- what arrives ------------------------------------------------------------------------------

    def _on_joint_state(self, message: JointState) -> None:
        now = time.monotonic()
        try:
            self._position, _ = joint_vectors(message, self._robot.joint_names)
        except MessageError as error:
            # Not a measurement: the last good one ages until the guard holds.
            self.get_logger().warning(str(error), throttle_duration_sec=1.0)
            return
        self._measured_at = now
        self._stamps.record(nanoseconds(message.header.stamp), now)

    def _on_chunk(self, message: JointTrajectory) -> None:
        if self._state is None:
            return
        now = time.monotonic()
        try:
            stamp, names, times, positions = trajectory_arrays(message)
            chunk = parse_chunk(
                names,
                times,
                positions,
                joint_names=self._robot.joint_names,
                observed_at=self._stamps.to_monotonic(stamp),
            )
            self._state = self._guard.accept(self._state, chunk, now)
        except ChunkRefused as error:
            self._refused += 1
            self._last_refusal = str(error)
            self.get_logger().warning(str(error), throttle_duration_sec=1.0)

    def _on_familiarity(self, message: DiagnosticStatus) -> None:
        if self._state is None:
            return
        # What is no known level, STALE for one, is not to be followed.
        mode = ADVICE.get(message.level, Mode.HOLD)
        speed = self.params.caution_speed if mode is Mode.CAUTION else 1.0
        self._state = self._guard.advise(self._state, mode, message.message, speed)

    def _on_obstacles(self, message: Float64MultiArray) -> None:
        if self._state is None:
            return
        try:
            obstacles = obstacles_of(message)
        except MessageError as error:
            # No report: the last good one ages until the guard holds.
            self.get_logger().warning(str(error), throttle_duration_sec=1.0)
            return
        self._state = self._guard.see(self._state, obstacles, time.monotonic())

    def _on_correction(self, message: String) -> None:
        text = message.data
        # A text too long to read within a control period is no speech; stopping is always safe.
        if len(text) > MAX_SPEECH or is_stop(text):
            self._stop(f"a person said {text[:80]!r}")

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._stop("the service stop was called")
        response.success, response.message = True, "stopping"
        return response

    def _stop(self, why: str) -> None:
        # What is said before the first command holds from the first command on.
        self._latched_by = why
        if self._state is not None:
            self._state = self._guard.stop(self._state, why, time.monotonic())
            self._publish_status()

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        now = time.monotonic()
        try:
            if self._state is None or self._position is None:
                raise ValueError("the guard is not active, or has not seen the robot yet")
            if not self._alone:
                raise ValueError("another node commands the robot")
            if now - self._measured_at > self._robot.watchdogs.joint_states:
                raise ValueError(f"no joint state for {now - self._measured_at:.2f} s")
            self._state = self._guard.reset(self._state, self._position, now)
            self._latched_by = ""
        except ValueError as error:
            response.success, response.message = False, str(error)
            return response
        self._publish_status()
        response.success, response.message = True, "released; waiting for the next chunk"
        return response

    # -- the loop ----------------------------------------------------------------------------------

    def _tick(self) -> None:
        if not self._active or self._position is None:
            return
        now = time.monotonic()
        if self._state is None:
            # A robot that does not listen yet would see the first motion as a jump; one that
            # listens to another as well would get two motions in one.
            # And where a silent driver left it, it need not be any more.
            old = now - self._measured_at > self._robot.watchdogs.joint_states
            if self._commands.get_subscription_count() == 0 or not self._alone or old:
                self._heard_since = now
            if now - self._heard_since < SETTLE:
                return
            self._state = self._guard.start(self._position, now)
            if self._latched_by:
                self._state = self._guard.stop(self._state, self._latched_by, now)
        self._state, command = self._guard.tick(self._state, self._position, self._measured_at, now)
        self._send(command)
        rule = ""
        if command.intervention is not None:
            rule = command.intervention.rule
            self._last_intervention = str(command.intervention)
            self._last_moved = f"{command.intervention.moved:.4f}"
        # Not the numbers: an age grows with every tick.
        if (self._state.mode, rule) != self._published:
            self._published = (self._state.mode, rule)
            self._publish_status()

    def _send(self, command: Command) -> None:
        if self.params.command_interface == "forward_position":
            self._commands.publish(array_message("position", command.position))
            return
        times = np.array([self._guard.dt])
        self._commands.publish(
            # Stamp zero: to be executed from now on, whatever the robot's clock says.
            trajectory(0, self._robot.joint_names, times, command.position[None])
        )

    # -- reports -----------------------------------------------------------------------------------

    @property
    def _alone(self) -> bool:
        return self.count_publishers(self._commands.topic_name) <= 1

    def _watch(self) -> None:
        if not self._alone:
            why = "another node commands this robot"
            if self._state is None:
                self.get_logger().warning(f"waiting: {why}", throttle_duration_sec=5.0)
            else:
                self._stop(why)
        self._publish_status()

    def _publish_status(self) -> None:
        if self._state is None:
            return
        state = self._state
        sentence = f"{state.mode}: {state.why}" if state.why else str(state.mode)
        message = status(
            "guard",
            LEVELS[state.mode],
            sentence,
            {
                "mode": str(state.mode),
                "chunks_accepted": state.accepted,
                "chunks_refused": self._refused,
                "last_refusal": self._last_refusal,
                "interventions": state.interventions,
                "last_intervention": self._last_intervention,
                "last_moved_rad": self._last_moved,
                "holds": state.holds,
            },
        )
        self._state_publisher.publish(message)
        array = DiagnosticArray(status=[message])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def main() -> int:
    """Entry point of the process."""
    return run(GuardNode)


if __name__ == "__main__":
    raise SystemExit(main())
