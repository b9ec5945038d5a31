"""Settings that belong to a task rather than to an algorithm, as data."""

from bridle.policies import Difference

STATE_KEYS = ("joint_position", "gripper", "tcp_pose", "object_state")
"""Observations of a state policy, in order. Joint velocities and past commands are left out: both
invite a policy to copy its own motion instead of looking at the scene."""


def _from_tool(*starts: int) -> tuple[Difference, ...]:
    return tuple(Difference("object_state", start, "tcp_pose", 0, 3) for start in starts)


def _between(start: int, other: int) -> Difference:
    return Difference("object_state", start, "object_state", other, 3)


DIFFERENCES: dict[str, tuple[Difference, ...]] = {
    "reach": _from_tool(0),
    "push": (*_from_tool(0, 5), _between(5, 0)),
    "pick-place": (*_from_tool(0, 5), _between(5, 0)),
    "pick-place-post": (*_from_tool(0, 5), _between(5, 0)),
    "stack": (*_from_tool(0, 5), _between(5, 0)),
    "drawer": _from_tool(0),
    "insert": (*_from_tool(0, 5), _between(5, 0)),
    "sort": _from_tool(0, 5, 10),
}
"""Task -> object-relative features, where positions begin in `object_state`: each thing from the
tool, and the goal from what is brought there."""
