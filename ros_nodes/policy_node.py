"""policy_node: joint states and observations in, action chunks out.

Callbacks only store what arrives. All planning happens in one thread of its own, so that a slow
network never delays a message.
"""

import math
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast, get_args

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Vector3Stamped
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from bridle.deploy.backends import CHOICES
from bridle.deploy.bundle import GUARD, load_bundle
from bridle.deploy.confinement import verify_confined
from bridle.deploy.exceptions import InferenceError, KinematicsError
from bridle.deploy.execution import ExecutionConfig, Mask, Strategy, suited
from bridle.deploy.execution.conservative import ConservativeConfig
from bridle.deploy.familiarity.alarm import AlarmConfig, Assessment, Level
from bridle.deploy.familiarity.guardian import Guardian
from bridle.deploy.robot import load_robot
from bridle.deploy.runtime import Runtime
from bridle.deploy.senses import Observation
from bridle.deploy.serving import PolicyServer, TimedChunk
from bridle.deploy.steering import Steering, SteeringConfig
from bridle.ros_nodes import qos
from bridle.ros_nodes.messages import (
    joint_vectors,
    nanoseconds,
    status,
    trajectory,
)
from bridle.ros_nodes.params import declare, param
from bridle.ros_nodes.process import every, run, transition

AUTO, OFF = "auto", "off"
LEVELS = {
    Level.NOMINAL: DiagnosticStatus.OK,
    Level.CAUTION: DiagnosticStatus.WARN,
    Level.HOLD: DiagnosticStatus.ERROR,
}
"""How familiar a chunk is -> as a status."""


@dataclass(frozen=True)
class PolicyParams:
    """Parameters of policy_node."""

    bundle: str = param("Folder of the bundle to serve.")
    robot: str = param(
        "Robot file (YAML), or the name of one that comes with Bridle; empty: the bundle's.", ""
    )
    key: str = param("Public key that must have signed the bundle; empty: anyone may have.", "")
    provider: str = param(f"What runs the network: {', '.join(CHOICES)}.", "cpu")
    threads: int = param("Threads of one inference.", 1)
    seed: int = param("Seed of the sampling noise.", 0)
    strategy: str = param(
        f"How a chunk follows the one before: {', '.join(get_args(Strategy))}, or auto: rtc for a "
        "policy that can do it, else replace.",
        AUTO,
    )
    candidates: int = param("Chunks sampled at once with rtc, of which one is executed.", 4)
    mask: str = param(
        "What rtc guides a chunk by: hard: by what is executed before it arrives; soft: less and "
        "less by what is planned after that, too; auto: hard for a policy that sees pictures or "
        "points, else soft.",
        AUTO,
    )
    safest: int = param(
        "Chunks sampled at once where the bundle has a critic of feasibility, of which a safe one "
        "is executed.",
        16,
    )
    blend_steps: int = param("Control steps from one chunk to the next with blend.", 4)
    ensemble_decay: float = param("How much less each newer chunk weighs with ensemble.", 0.01)
    familiarity: str = param(
        "Whether a calibrated bundle slows and holds the robot where it is unfamiliar: auto, off.",
        AUTO,
    )
    caution_speed: float = param("Share of the speed where one score is unusual.", 0.5)
    conservative_steps: int = param(
        "Steps that each chunk is moved up the policy's own density; 0: it is executed as sampled.",
        0,
    )
    conservative_largest: float = param("Furthest that they move a joint [rad].", 0.02)
    correction_hold: float = param("Time a nudge or a grip stays in force [s].", 3.0)
    max_nudge: float = param("Largest offset from the policy's path [m].", 0.10)
    observation_timeout: float = param("Age at which observation/<key> is too old [s].", 0.5)
    autostart: bool = param("Configure and activate without a lifecycle manager.", True)

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.provider not in CHOICES:
            raise ValueError(f"provider must be one of {', '.join(CHOICES)}, got {self.provider!r}")
        if self.familiarity not in (AUTO, OFF):
            raise ValueError(f"familiarity must be {AUTO} or {OFF}, got {self.familiarity!r}")
        AlarmConfig(self.caution_speed)
        self.execution("replace")
        self.conservative()

    def conservative(self) -> ConservativeConfig:
        """How a chunk is corrected."""
        return ConservativeConfig(self.conservative_steps, largest=self.conservative_largest)

    def execution(self, suited: Strategy) -> ExecutionConfig:
        """How chunks follow each other.

        Args:
            suited: what suits the policy, for `auto`.
        """
        strategy = suited if self.strategy == AUTO else cast(Strategy, self.strategy)
        return ExecutionConfig(
            strategy,
            self.blend_steps,
            self.ensemble_decay,
            self.candidates,
            cast(Mask, self.mask),
            self.safest,
        )


class PolicyNode(LifecycleNode):
    """Serves a bundle."""

    def __init__(self) -> None:
        """Declare parameters; everything else waits for `configure`."""
        super().__init__("policy_node")
        self._server: PolicyServer | None = None
        self._planner: threading.Thread | None = None
        self._wake = threading.Event()
        self._steering_lock = threading.Lock()
        self._stopping = threading.Event()
        self._reissue = False
        self._extra: dict[str, tuple[NDArray[np.float32], float]] = {}
        self._chunks = 0
        self._slowest = 0.0
        self._widest = 0.0
        self._furthest = 0.0
        self._feasibility: dict[str, float] = {}
        self._problem = ""
        self._guardian: Guardian | None = None
        self._familiarity: DiagnosticStatus | None = None
        self.params = declare(self, PolicyParams)

    # -- lifecycle ---------------------------------------------------------------------------------

    @transition
    def on_configure(self) -> None:
        """Verify and load the bundle, warm it up, open the topics."""
        signer = Path(self.params.key) if self.params.key else None
        bundle = load_bundle(Path(self.params.bundle), signer)
        verify_confined(bundle)
        robot = load_robot(self.params.robot or bundle.manifest.robot)
        runtime = Runtime(bundle, self.params.provider, self.params.threads)
        steering = SteeringConfig(
            hold=self.params.correction_hold, max_offset=self.params.max_nudge
        )
        pictures = [s.name for s in bundle.manifest.inputs if len(s.shape) > 3]
        if pictures:
            raise ValueError(f"{', '.join(pictures)}: cameras are not served over topics yet")
        execution = self.params.execution(suited(runtime))
        if GUARD in bundle.contents and self.params.familiarity == AUTO:
            alarm = AlarmConfig(self.params.caution_speed)
            self._guardian = Guardian(bundle, runtime, execution, alarm)
        server = PolicyServer(
            bundle,
            runtime,
            seed=self.params.seed,
            steering=steering,
            execution=execution,
            conservative=self.params.conservative(),
            guardian=self._guardian,
            robot=robot,
        )
        server.warm_up()
        joints = robot.joints
        self._grips = {"open": joints[-1].position[0], "close": joints[-1].position[1]}
        self._server = server
        self._channels = {spec.name: spec.shape[-1] for spec in bundle.manifest.inputs}
        self._chunk_publisher = self.create_publisher(JointTrajectory, "action_chunk", qos.CHUNK)
        self._familiarity_publisher = self.create_publisher(
            DiagnosticStatus, "familiarity", qos.EVENT
        )
        self._diagnostics = self.create_publisher(DiagnosticArray, "diagnostics", qos.EVENT)
        self.create_subscription(JointState, "joint_states", self._on_joint_state, qos.SENSOR)
        for key in server.extra_keys:
            self.create_subscription(
                Float64MultiArray, f"observation/{key}", partial(self._on_extra, key), qos.SENSOR
            )
        self.create_subscription(Vector3Stamped, "nudge", self._on_nudge, qos.EVENT)
        self.create_subscription(String, "grip", self._on_grip, qos.EVENT)
        self.create_subscription(Float64, "pace", self._on_pace, qos.LATCHED)
        self.create_subscription(String, "instruction", self._on_instruction, qos.LATCHED)
        every(self, 0.25, self._publish_diagnostics)
        self.get_logger().info(
            f"serving {self.params.bundle}: {bundle.manifest.task} on {robot.name}, "
            f"by {runtime.provider}, strategy {execution.strategy}, "
            f"{'watched' if self._guardian else 'not watched'} for unfamiliar situations"
        )

    @transition
    def on_activate(self) -> None:
        """Start planning from a clean history."""
        assert self._server is not None
        self._server.clear()
        self._familiarity = None
        self._extra.clear()
        self._stopping = threading.Event()
        self._planner = threading.Thread(target=self._plan_forever, daemon=True)
        self._planner.start()

    @transition
    def on_deactivate(self) -> None:
        """Stop planning; the guard brings the robot to rest when no chunk follows."""
        self.stop_planning()

    @transition
    def on_cleanup(self) -> None:
        """Refused: a process is configured once."""
        raise ValueError("restart the process to configure it anew")

    @transition
    def on_shutdown(self) -> None:
        """Stop planning for good; the process ends with a signal."""
        self.stop_planning()

    def stop_planning(self) -> None:
        """End the planning thread."""
        self._stopping.set()
        self._wake.set()
        if self._planner is not None:
            self._planner.join(timeout=5.0)
            self._planner = None

    def destroy_node(self) -> None:
        """Stop planning before the node goes."""
        self.stop_planning()
        super().destroy_node()

    # -- what arrives ------------------------------------------------------------------------------

    @property
    def _active(self) -> bool:
        return self._planner is not None

    def _on_joint_state(self, message: JointState) -> None:
        if not self._active or self._server is None:
            return
        try:
            position, velocity = joint_vectors(message, self._server.manifest.joint_names)
            self._server.observe(
                Observation(
                    stamp=nanoseconds(message.header.stamp),
                    time=time.monotonic(),
                    position=position,
                    velocity=velocity,
                    extra=self._fresh_extra(),
                )
            )
        except ValueError as error:
            self._report(str(error))

    def _fresh_extra(self) -> dict[str, NDArray[np.float32]]:
        """What has arrived lately: an old picture of the scene is none."""
        now = time.monotonic()
        return {
            key: values
            for key, (values, received) in self._extra.items()
            if now - received < self.params.observation_timeout
        }

    def _on_extra(self, key: str, message: Float64MultiArray) -> None:
        values = np.asarray(message.data, np.float32)
        channels = self._channels[key]
        if values.shape != (channels,) or not np.isfinite(values).all():
            self._report(f"observation/{key}: expected {channels} finite numbers")
            return
        self._extra[key] = values, time.monotonic()

    def _on_nudge(self, message: Vector3Stamped) -> None:
        if message.header.frame_id not in ("", "base"):
            self._report(f"nudge: frame 'base' expected, got {message.header.frame_id[:40]!r}")
            return
        v = message.vector
        self._steer(lambda s: s.nudged(np.array([v.x, v.y, v.z]), time.monotonic()))

    def _on_grip(self, message: String) -> None:
        if message.data not in self._grips:
            self._report(f"grip: expected open or close, got {message.data!r}")
            return
        self._steer(lambda s: s.gripped(self._grips[message.data], time.monotonic()))

    def _on_pace(self, message: Float64) -> None:
        self._steer(lambda s: s.paced(message.data), reissue=False)

    def _on_instruction(self, message: String) -> None:
        if self._server is None or not self._server.manifest.follows_instructions:
            return
        try:
            self._server.instruct(message.data)
        except InferenceError as error:
            self._report(f"instruction: {error}")
        else:
            self.get_logger().info(f"instruction in force: {message.data[:80]}")

    def _steer(self, change: Callable[[Steering], Steering], *, reissue: bool = True) -> None:
        if self._server is None:
            return
        try:
            with self._steering_lock:
                self._server.steering = change(self._server.steering)
        except ValueError as error:
            self._report(str(error))
            return
        if reissue:
            self._reissue = True
            self._wake.set()

    # -- planning ----------------------------------------------------------------------------------

    def _plan_forever(self) -> None:
        assert self._server is not None
        # Its own: a later activation must not revive this thread.
        stopping = self._stopping
        due = time.monotonic()
        while not stopping.is_set():
            self._wake.wait(timeout=max(0.0, due - time.monotonic()))
            self._wake.clear()
            if stopping.is_set():
                return
            now = time.monotonic()
            if self._server.missing:
                due = now + 0.01
                continue
            try:
                if now >= due:
                    chunk: TimedChunk | None = self._server.plan()
                    due = max(due + self._server.replan_seconds, now)
                else:
                    wanted, self._reissue = self._reissue, False
                    chunk = self._server.reissue() if wanted else None
                if chunk is not None:
                    self._publish(chunk)
                    self._problem = ""
            except KinematicsError as error:
                with self._steering_lock:
                    self._server.steering = self._server.steering.released()
                self._report(f"the nudge is given up: {error}")
                due = now
            except ValueError as error:
                self._report(str(error))
                due = now + 0.05
            except Exception:
                # A planner that died would leave the robot waiting for ever.
                self._report(f"planning failed: {traceback.format_exc()}")
                due = now + 0.05

    def _publish(self, chunk: TimedChunk) -> None:
        assert self._server is not None
        # Before the chunk, so that the guard knows what to make of it.
        if chunk.assessment is not None:
            self._tell(chunk.assessment)
        else:
            # What another policy's guardian has said is not for this one.
            message = status("familiarity", DiagnosticStatus.OK, "", {})
            self._familiarity_publisher.publish(message)
        if self._guardian and (late := self._guardian.overdue(self._server.delay_steps)):
            self.get_logger().warning(late, throttle_duration_sec=30.0)
        names = self._server.manifest.joint_names
        self._chunk_publisher.publish(trajectory(chunk.stamp, names, chunk.times, chunk.positions))
        self._chunks += 1
        self._slowest = max(self._slowest, chunk.seconds)
        if not math.isnan(chunk.seam):
            self._widest = max(self._widest, chunk.seam)
        self._furthest = max(self._furthest, chunk.moved)
        if not math.isnan(chunk.feasibility):
            self._feasibility = {"feasibility": round(chunk.feasibility, 3)}

    # -- reports -----------------------------------------------------------------------------------

    def _tell(self, assessment: Assessment) -> None:
        """Say how familiar the policy is with where it is."""
        message = status("familiarity", LEVELS[assessment.level], assessment.why, assessment.scores)
        self._familiarity_publisher.publish(message)
        self._familiarity = message
        if assessment.level is not Level.NOMINAL:
            self.get_logger().warning(
                f"asks for help, {assessment.level}: {assessment.why}", throttle_duration_sec=1.0
            )

    def _report(self, problem: str) -> None:
        self._problem = problem
        self.get_logger().warning(problem, throttle_duration_sec=1.0)

    def _publish_diagnostics(self) -> None:
        missing = self._server.missing if self._active and self._server else ()
        ok = self._active and not self._problem and not missing
        sentence = self._problem or ("planning" if self._active else "inactive")
        if missing:
            sentence = f"waiting for {', '.join(missing)}"
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        message.status = [
            status(
                "policy",
                DiagnosticStatus.OK if ok else DiagnosticStatus.WARN,
                sentence,
                {
                    "chunks": self._chunks,
                    "slowest_inference_ms": round(1e3 * self._slowest, 2),
                    "widest_seam_rad": round(self._widest, 4),
                    "furthest_move_rad": round(self._furthest, 4),
                    "delay_steps": 0 if self._server is None else self._server.delay_steps,
                    **self._feasibility,
                },
            )
        ]
        if self._familiarity is not None:
            message.status = [*message.status, self._familiarity]
        self._slowest = self._widest = self._furthest = 0.0
        self._diagnostics.publish(message)


def main() -> int:
    """Entry point of the process."""
    return run(PolicyNode)


if __name__ == "__main__":
    raise SystemExit(main())
