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


COMMAND = _profile(1)
"""Commands and chunks: only the newest counts."""
COMMAND.deadline = Duration(seconds=1.0)
COMMAND.liveliness_lease_duration = Duration(seconds=1.0)

SENSOR = _profile(1)
"""Joint states and observations: only the newest counts."""

IMAGE = _profile(2)
"""Raw images. Best effort loses most frames that are larger than one shared-memory segment."""

EVENT = _profile(10)
"""What a person says: nothing may be lost."""

LATCHED = _profile(1, DurabilityPolicy.TRANSIENT_LOCAL)
"""States that a late joiner must know."""
