"""Settings that belong to a task rather than to an algorithm, as data."""

from bridle.policies import Difference, ObjectGroup

OWN_KEYS = ("joint_position", "gripper", "tcp_pose")
"""What a robot knows of itself, in order."""
STATE_KEYS = (*OWN_KEYS, "object_state")
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
    "pick-place-memory": _from_tool(0),
    "stack": (*_from_tool(0, 5), _between(5, 0)),
    "drawer": _from_tool(0),
    "insert": (*_from_tool(0, 5), _between(5, 0)),
    "sort": _from_tool(0, 5, 10),
    "sort-one": _from_tool(0, 5, 10),
}
"""Task -> object-relative features, where positions begin in `object_state`: each thing from the
tool, and the goal from what is brought there. What is not always seen is left as it is."""


def _alone(name: str, start: int, size: int, n_position: int = 3) -> ObjectGroup:
    return ObjectGroup((name,), (start,), size, n_position)


_SORTED = (
    ObjectGroup(("red", "green", "blue"), (0, 5, 10), 5),
    _alone("left", 15, 2, 2),
    _alone("right", 17, 2, 2),
)
OBJECTS: dict[str, tuple[ObjectGroup, ...]] = {
    "reach": (_alone("ball", 0, 3),),
    "push": (_alone("block", 0, 5), _alone("mark", 5, 5)),
    "pick-place": (_alone("cube", 0, 5), _alone("spot", 5, 3)),
    "pick-place-post": (_alone("cube", 0, 5), _alone("spot", 5, 3)),
    "stack": (_alone("red", 0, 5), _alone("blue", 5, 5)),
    "insert": (_alone("peg", 0, 5), _alone("hole", 5, 5)),
    "sort": _SORTED,
    "sort-one": _SORTED,
}
"""Task -> the things in `object_state`. Those that any sentence could name instead of another are
one group; the bins are not, since each has its own side."""
