"""correction_node: what a person says becomes one typed correction, and what came of it.

Stop words do not need this node: the guard hears them itself, in one hop. Here they are only
answered, once the guard has confirmed.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Vector3Stamped
from rclpy.node import Node
from std_msgs.msg import Float64, String

from bridle.deploy.bundle import read_manifest
from bridle.deploy.language import (
    DIRECTIONS,
    Correction,
    Grip,
    Instruct,
    NotUnderstood,
    Nudge,
    Pace,
    Stop,
    interpret,
    to_json,
)
from bridle.ros_nodes import qos
from bridle.ros_nodes.params import declare, param
from bridle.ros_nodes.process import every, run

STOP_CONFIRMATION = 0.5
"""Time the guard has to confirm a stop [s]."""


@dataclass(frozen=True)
class CorrectionParams:
    """Parameters of correction_node."""

    bundle: str = param("Bundle being served, for the instructions it knows.")
    log: str = param("File that every correction is appended to as a JSON line; empty: none.", "")


class CorrectionNode(Node):
    """Parses corrections and passes them on."""

    def __init__(self) -> None:
        """Read the known instructions and open the topics."""
        super().__init__("correction_node")
        self.params = declare(self, CorrectionParams)
        manifest = read_manifest(Path(self.params.bundle))
        if self.params.log:
            Path(self.params.log).open("a").close()  # a place that cannot be written fails here
        self._manifest = manifest
        self._pace_in_force = 1.0
        self._guard_mode = ""
        self._guard_heard_at = float("-inf")
        self._in_force = ""
        self._stops: list[tuple[float, Correction, str]] = []
        self._outcomes = self.create_publisher(String, "correction_outcome", qos.EVENT)
        self._instruction = self.create_publisher(String, "instruction", qos.LATCHED)
        self._nudge = self.create_publisher(Vector3Stamped, "nudge", qos.EVENT)
        self._grip = self.create_publisher(String, "grip", qos.EVENT)
        self._pace = self.create_publisher(Float64, "pace", qos.LATCHED)
        self.create_subscription(String, "correction", self._on_correction, qos.EVENT)
        self.create_subscription(DiagnosticStatus, "guard_state", self._on_guard, qos.LATCHED)
        every(self, 0.05, self._answer_stops)

    def _on_guard(self, message: DiagnosticStatus) -> None:
        self._guard_heard_at = time.monotonic()
        self._guard_mode = next((v.value for v in message.values if v.key == "mode"), "")
        self._answer_stops()

    def _on_correction(self, message: String) -> None:
        correction = interpret(
            message.data,
            self._manifest.instructions,
            follows_instructions=self._manifest.follows_instructions,
            pace=self._pace_in_force,
        )
        if isinstance(correction, Stop):
            self._stops.append((time.monotonic(), correction, message.data))
            self._answer_stops()
            return
        if isinstance(correction, NotUnderstood):
            self._answer(correction, message.data, "not_understood", correction.why)
            return
        if self._guard_mode == "LATCHED":
            self._answer(
                correction, message.data, "refused", "the robot is stopped; reset it first"
            )
            return
        self._carry_out(correction, message.data)

    def _carry_out(self, correction: Correction, text: str) -> None:
        match correction:
            case Nudge():
                nudge = Vector3Stamped()
                nudge.header.frame_id = correction.frame
                nudge.header.stamp = self.get_clock().now().to_msg()
                x, y, z = (c * correction.metres for c in DIRECTIONS[correction.direction])
                nudge.vector.x, nudge.vector.y, nudge.vector.z = x, y, z
                self._nudge.publish(nudge)
            case Grip():
                self._grip.publish(String(data=correction.grip))
            case Pace():
                self._pace_in_force = correction.factor
                self._pace.publish(Float64(data=correction.factor))
            case Instruct() if self._manifest.follows_instructions:
                self._in_force = correction.instruction
                self._instruction.publish(String(data=correction.instruction))
            case Instruct():
                self._answer(correction, text, "refused", "this policy does not take instructions")
                return
        self._answer(correction, text, "sent", "")

    def _answer_stops(self) -> None:
        waiting = []
        for said_at, correction, text in self._stops:
            # The guard answers every stop, also when it has stopped already.
            if self._guard_mode == "LATCHED" and self._guard_heard_at >= said_at:
                self._answer(correction, text, "done", "the guard has stopped the robot")
            elif time.monotonic() - said_at > STOP_CONFIRMATION:
                why = "the guard has not confirmed the stop: use the emergency stop"
                self._answer(correction, text, "failed", why)
            else:
                waiting.append((said_at, correction, text))
        self._stops = waiting

    def _answer(self, correction: Correction, text: str, state: str, why: str) -> None:
        outcome: dict[str, Any] = {"text": text, "state": state, **to_json(correction)}
        if why:
            outcome["why"] = why
        if self.params.log:
            line = {
                "time": time.time(),
                "instruction_in_force": self._in_force,
                "guard_mode": self._guard_mode,
                **outcome,
            }
            try:
                with Path(self.params.log).open("a") as log:
                    log.write(json.dumps(line) + "\n")
            except OSError as error:
                # A full disk must not silence the person's channel.
                self.get_logger().error(f"the correction is not logged: {error}")
        self._outcomes.publish(String(data=json.dumps(outcome)))


def main() -> int:
    """Entry point of the process."""
    return run(CorrectionNode)


if __name__ == "__main__":
    raise SystemExit(main())
