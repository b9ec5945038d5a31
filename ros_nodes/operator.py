"""The person's end of the graph: say something, hear what came of it, watch, reset."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from numpy.typing import NDArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from bridle.deploy.language import is_stop
from bridle.ros_nodes import qos
from bridle.ros_nodes.messages import MessageError, joint_vectors
from bridle.ros_nodes.transport import without_shared_memory
from bridle.ros_nodes.up import use_local_domain

RESEND_AFTER = 2.5
"""Time after which a service call without an answer is sent again [s]."""


class OperatorError(ValueError):
    """The graph does not answer."""


class Operator:
    """A client of a running graph; a context manager."""

    def __init__(self, joint_names: Sequence[str] = (), *, images: bool = False) -> None:
        """Join the graph.

        Args:
            joint_names: joints to watch; empty watches none.
            images: whether to keep the frames of camera/front.
        """
        use_local_domain()
        self._context = Context()
        with without_shared_memory():
            rclpy.init(context=self._context)
            self._node = Node("operator", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._joint_names = tuple(joint_names)
        self.position: NDArray[np.float64] | None = None
        self.velocity: NDArray[np.float64] | None = None
        self.state_time = -np.inf
        self.episode: dict[str, Any] = {}
        self.guard: dict[str, str] = {}
        self.frames: list[NDArray[np.uint8]] = []
        self._outcomes: list[dict[str, Any]] = []
        self._correction = self._node.create_publisher(String, "correction", qos.EVENT)
        subscribe = self._node.create_subscription
        subscribe(String, "correction_outcome", self._on_outcome, qos.EVENT)
        subscribe(String, "episode", self._on_episode, qos.LATCHED)
        subscribe(DiagnosticStatus, "guard_state", self._on_guard, qos.LATCHED)
        if joint_names:
            subscribe(JointState, "joint_states", self._on_joint_state, qos.SENSOR)
        if images:
            subscribe(Image, "camera/front/image_raw", self._on_image, qos.IMAGE)

    def __enter__(self) -> "Operator":
        """Join."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    # -- what arrives ------------------------------------------------------------------------------

    def _on_outcome(self, message: String) -> None:
        self._outcomes.append(json.loads(message.data))

    def _on_episode(self, message: String) -> None:
        self.episode = json.loads(message.data)

    def _on_guard(self, message: DiagnosticStatus) -> None:
        self.guard = {v.key: v.value for v in message.values} | {"sentence": message.message}

    def _on_joint_state(self, message: JointState) -> None:
        # What is no joint state is not one: the last good one ages.
        with suppress(MessageError):
            self.position, self.velocity = joint_vectors(message, self._joint_names)
            self.state_time = time.monotonic()

    def _on_image(self, message: Image) -> None:
        shape = (message.height, message.width, 3)
        self.frames.append(np.frombuffer(message.data, np.uint8).reshape(shape))

    # -- what a person does ------------------------------------------------------------------------

    def spin(self, seconds: float) -> None:
        """Let messages arrive for a while."""
        self.until(lambda: False, seconds)

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Let messages arrive until a condition holds; whether it did in time."""
        end = time.monotonic() + seconds
        while not (held := condition()) and (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left, 0.05))
        return held

    def wait_for(self, what: str, condition: Callable[[], bool], seconds: float) -> None:
        """Like `until`, but not in time is an error.

        Raises:
            OperatorError: naming what did not happen.
        """
        if not self.until(condition, seconds):
            raise OperatorError(f"{what} did not happen within {seconds:g} s")

    def say(self, text: str, *, seconds: float = 5.0) -> dict[str, Any]:
        """Say something to the robot and wait for the outcome.

        Raises:
            OperatorError: nobody listens, or no outcome came.
        """
        if is_stop(text):
            self._say_stop(text, seconds)
        self.wait_for(
            "meeting correction_node (is `bridle up` running?)",
            self._is_heard,
            seconds,
        )
        self._outcomes.clear()
        self.publish_correction(text)
        self.wait_for(
            f"an answer to {text!r}",
            lambda: any(o["text"] == text for o in self._outcomes),
            seconds,
        )
        return next(o for o in self._outcomes if o["text"] == text)

    def _is_heard(self) -> bool:
        """Whether the node that answers is among those that a correction reaches.

        The guard hears corrections, too, and may be met before.
        """
        listeners = self._node.get_subscriptions_info_by_topic("correction")
        answering = self._node.get_publishers_info_by_topic("correction_outcome")
        names = {listener.node_name for listener in listeners}
        return self._correction.get_subscription_count() >= len(listeners) and any(
            node.node_name in names for node in answering
        )

    def _say_stop(self, text: str, seconds: float) -> None:
        """Say a stop until the guard has heard it; nobody else is waited for."""
        end = time.monotonic() + seconds
        while self.guard.get("mode") != "LATCHED":
            if time.monotonic() > end:
                raise OperatorError("the guard has not confirmed the stop: use the emergency stop")
            self.publish_correction(text)
            self.spin(0.1)

    def publish_correction(self, text: str) -> None:
        """Say something without waiting."""
        self._correction.publish(String(data=text))

    def trigger(self, service: str, *, seconds: float = 5.0) -> str:
        """Call a Trigger service; its message.

        Raises:
            OperatorError: the service is missing, silent, or refuses.
        """
        response = self._call(Trigger, service, Trigger.Request(), seconds)
        if not response.success:
            raise OperatorError(f"{service} refused: {response.message}")
        return str(response.message)

    def set_integer(self, node: str, name: str, value: int, *, seconds: float = 5.0) -> None:
        """Set an integer parameter of a node.

        Raises:
            OperatorError: the node is missing, silent, or refuses.
        """
        parameter = Parameter(
            name=name,
            value=ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value),
        )
        request = SetParameters.Request(parameters=[parameter])
        response = self._call(SetParameters, f"{node}/set_parameters", request, seconds)
        if not response.results[0].successful:
            raise OperatorError(f"{node}: {name}: {response.results[0].reason}")

    def transition(self, node: str, transition: int, *, seconds: float = 5.0) -> bool:
        """Request a lifecycle transition (lifecycle_msgs/Transition); whether it succeeded."""
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self._call(ChangeState, f"{node}/change_state", request, seconds).success)

    def _call(self, kind: Any, service: str, request: Any, seconds: float) -> Any:
        client: Any = self._node.create_client(kind, service)
        try:
            self.wait_for(f"meeting the service {service}", client.service_is_ready, seconds)
            # A server that was killed stays in the graph for its lease, and makes the service look
            # ready before the one that replaced it is: what was sent too early is sent again.
            futures: list[Any] = []

            def answered() -> bool:
                return any(future.done() for future in futures)

            for _ in range(max(1, round(seconds / RESEND_AFTER))):
                futures.append(client.call_async(request))
                if self.until(answered, RESEND_AFTER):
                    return next(future.result() for future in futures if future.done())
            raise OperatorError(f"{service} did not answer within {seconds:g} s")
        finally:
            self._node.destroy_client(client)
