"""Settings that belong to a task rather than to an algorithm, as data."""

from bridle.policies import Difference

STATE_KEYS = ("joint_position", "gripper", "tcp_pose", "object_state")
"""Observations of a state policy, in order. Joint velocities and past commands are left out: both
invite a policy to copy its own motion instead of looking at the scene."""

DIFFERENCES: dict[str, tuple[Difference, ...]] = {
    "pick-place": (
        Difference("object_state", 0, "tcp_pose", 0, 3),
        Difference("object_state", 5, "tcp_pose", 0, 3),
        Difference("object_state", 5, "object_state", 0, 3),
    ),
}
"""Task -> object-relative features: cube from tool, goal from tool, goal from cube."""
