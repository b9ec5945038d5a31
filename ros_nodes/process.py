"""How a node's process lives and ends."""

import functools
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import rclpy
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.timer import Timer

from bridle.ros_nodes.transport import without_shared_memory

MAX_REST = 3.0
"""Time a robot has to come to rest before its node ends all the same [s]."""
LAST_WORDS = 0.5
"""Time for which it stays at rest before it ends: what it sent last has to arrive [s]."""
MAX_FAULTS = 50
"""So many within a second end a node."""
Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


@runtime_checkable
class Resting(Protocol):
    """A node that has to bring a robot to rest before it may end."""

    @property
    def at_rest(self) -> bool:
        """Whether nothing is commanded to move."""
        ...

    def begin_rest(self) -> None:
        """Begin to stop."""
        ...


def transition(body: Callable[[Any], None]) -> Transition:
    """A lifecycle callback that fails with one clear line instead of an exception.

    The body takes the node alone and raises ValueError or OSError when it cannot go on.
    """

    @functools.wraps(body)
    def callback(node: Any, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            body(node)
        except (ValueError, OSError) as error:
            node.failure = str(error)
        except Exception:  # rclpy would swallow it
            node.failure = f"{body.__name__} failed: {traceback.format_exc()}"
        else:
            return TransitionCallbackReturn.SUCCESS
        node.get_logger().error(node.failure)
        return TransitionCallbackReturn.FAILURE

    return callback


def every(node: Node, seconds: float, callback: Callable[[], None]) -> Timer:
    """Call something again and again, however the system's time is set meanwhile.

    A node's own clock follows that, or `/clock`: a timer by it pauses for as long as it is set
    back, and with it everything that must not wait.
    """
    clock = Clock(clock_type=ClockType.STEADY_TIME)
    timer: Timer = node.create_timer(seconds, callback, clock=clock)
    return timer


def _autostart(node: LifecycleNode) -> None:
    """Configure and activate a node from inside its own process.

    Raises:
        ValueError: a transition failed, and why.
    """
    for step in (node.trigger_configure, node.trigger_activate):
        if step() != TransitionCallbackReturn.SUCCESS:
            raise ValueError(getattr(node, "failure", "a lifecycle transition failed"))


def _spin(executor: SingleThreadedExecutor, node: Node, ended: Callable[[], bool]) -> None:
    """Spin, past messages that cannot be taken: a node must not die of what it is sent.

    A fault that keeps coming back is the node's own, and ends it.
    """
    faults: deque[float] = deque(maxlen=MAX_FAULTS)
    while not ended():
        try:
            executor.spin_once(timeout_sec=0.05)
        except (KeyboardInterrupt, ExternalShutdownException, rclpy_implementation.RCLError):
            raise
        except Exception:
            if not rclpy.ok():  # taken apart in the middle of it
                return
            faults.append(time.monotonic())
            if len(faults) == MAX_FAULTS and faults[-1] - faults[0] < 1.0:
                raise
            node.get_logger().error(traceback.format_exc(), throttle_duration_sec=1.0)


def waiting(subscription: Any, at_most: int) -> Iterator[Any]:
    """Take the messages that wait for a subscription; the executor hands out one at a time.

    For a callback that must not act before it knows all that has arrived.
    """
    for _ in range(at_most):
        with subscription.handle:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        if taken is None:
            return
        yield taken[0]


def run(make_node: Callable[[], Node], arguments: Sequence[str] | None = None) -> int:
    """Spin a node until SIGINT or SIGTERM; the exit status of its process.

    A lifecycle node whose parameter `autostart` is set is configured and activated first.

    A configuration that cannot work ends the process with one clear line and status 2; a fault
    while it runs with a traceback and status 1.
    """
    node: Node | None = None
    with without_shared_memory():
        rclpy.init(
            args=None if arguments is None else list(arguments),
            signal_handler_options=SignalHandlerOptions.NO,
        )
    signalled = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: signalled.set())
    try:
        try:
            with without_shared_memory():
                node = make_node()
            if isinstance(node, LifecycleNode) and node.get_parameter("autostart").value:
                _autostart(node)
        except (ValueError, OSError) as error:
            print(f"bridle: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            return 2
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        _spin(executor, node, signalled.is_set)
        if isinstance(node, Resting):
            # A robot in motion is brought to rest before its commands cease.
            node.begin_rest()
            end = time.monotonic() + MAX_REST
            _spin(executor, node, lambda: node.at_rest or time.monotonic() > end)
            end = time.monotonic() + LAST_WORDS
            _spin(executor, node, lambda: time.monotonic() > end)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except rclpy_implementation.RCLError:
        # What spin meets when the context goes in the middle of it; anything else is a fault.
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
