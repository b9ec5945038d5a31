"""Quality of service by class of data: the one place where it is decided."""

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, durability: DurabilityPolicy = DurabilityPolicy.VOLATILE) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=durability,
    )


CHUNK = _profile(1)
"""Action chunks: only the newest counts."""
CHUNK.deadline = Duration(seconds=5.0)
CHUNK.liveliness_lease_duration = Duration(seconds=1.0)

COMMAND = _profile(200)
"""The stream of commands: every one counts, in order, also after a stall of a second. With depth 1
a late reader would see several periods of motion as one jump, faster than the guard allowed."""
COMMAND.deadline = Duration(seconds=0.1)
COMMAND.liveliness_lease_duration = Duration(seconds=1.0)

SENSOR = _profile(1)
"""Joint states and observations: only the newest counts."""

IMAGE = _profile(2)
"""Raw images. Best effort loses most frames that are larger than one shared-memory segment."""

EVENT = _profile(10)
"""What a person says: nothing may be lost."""

LATCHED = _profile(1, DurabilityPolicy.TRANSIENT_LOCAL)
"""States that a late joiner must know."""
