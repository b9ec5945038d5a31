"""How a node's process lives and ends."""

import functools
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node

Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


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


def autostart(node: LifecycleNode) -> None:
    """Configure and activate a node from inside its own process.

    Raises:
        ValueError: a transition failed, and why.
    """
    for step in (node.trigger_configure, node.trigger_activate):
        if step() != TransitionCallbackReturn.SUCCESS:
            raise ValueError(getattr(node, "failure", "a lifecycle transition failed"))


def run(make_node: Callable[[], Node], arguments: Sequence[str] | None = None) -> int:
    """Spin a node until SIGINT or SIGTERM; the exit status of its process.

    A configuration that cannot work ends the process with one clear line and status 2.
    """
    node: Node | None = None
    rclpy.init(args=None if arguments is None else list(arguments))
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ValueError, OSError) as error:
        print(f"bridle: {error}", file=sys.stderr, flush=True)
        return 2
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
