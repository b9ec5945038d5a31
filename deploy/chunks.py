"""Action chunks from outside, checked once; and the clock that tells how old they are."""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridle.deploy.robot import frozen

Vector = NDArray[np.float64]

MAX_HORIZON = 30.0
"""A chunk that reaches further than this [s] is taken for a mistake of units."""
MAX_POINTS = 4096
FUTURE = 0.05
"""A stamp may be this much newer than the newest joint state [s]: messages overtake each other."""
_RING = 2.0
_STEP = 0.5


class ChunkRefused(ValueError):  # noqa: N818
    """A chunk that is not executed; `rule` names the rule it broke."""

    def __init__(self, rule: str, message: str) -> None:
        """Name the rule, and say in one line what was wrong, with the numbers."""
        super().__init__(f"chunk refused ({rule}): {message}")
        self.rule = rule


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """Joint positions over time, planned from one observation.

    Raises:
        ChunkRefused: rule `empty`, `length`, `finite`, `times` or `horizon`.
    """

    observed_at: float
    """Time of the observation on this process's monotonic clock [s]."""
    times: Vector
    """(H,) [s] after the observation, non-decreasing, the first not negative."""
    positions: Vector
    """(H, n) joint positions [rad]."""

    def __post_init__(self) -> None:
        times, positions = frozen(self.times), frozen(self.positions)
        if times.ndim != 1 or positions.ndim != 2 or len(times) != len(positions):
            raise ChunkRefused(
                "length",
                f"times (H,) and positions (H, n) expected, got {times.shape}, {positions.shape}",
            )
        if not positions.size:
            raise ChunkRefused("empty", "it has no points")
        if len(times) > MAX_POINTS:
            raise ChunkRefused("horizon", f"{len(times)} points, at most {MAX_POINTS} are allowed")
        if not (np.isfinite(self.observed_at) and np.isfinite(times).all()):
            raise ChunkRefused("finite", "a time is not finite")
        if not np.isfinite(positions).all():
            point, joint = (int(i) for i in np.argwhere(~np.isfinite(positions))[0])
            value = positions[point, joint]
            raise ChunkRefused("finite", f"point {point}, joint {joint} is {value}")
        backwards = np.diff(times, prepend=0.0) < 0
        if backwards.any():
            point = int(backwards.argmax())
            before = times[point - 1] if point else 0.0
            raise ChunkRefused(
                "times", f"point {point} at {times[point]:g} s is before {before:g} s"
            )
        if times[-1] > MAX_HORIZON:
            raise ChunkRefused(
                "horizon", f"it reaches {times[-1]:g} s ahead, at most {MAX_HORIZON:g} s is allowed"
            )
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "positions", positions)

    def reference(self, t: float) -> tuple[Vector, Vector]:
        """Where the joints are to be at time `t`, and how fast they move there.

        Linear between points; at rest before the first and after the last.

        Args:
            t: monotonic time [s].

        Returns:
            Position (n,) [rad] and velocity (n,) [rad/s].
        """
        t -= self.observed_at
        after = int(self.times.searchsorted(t, "right"))
        if after == 0 or after == len(self.times):
            last = self.positions[max(after - 1, 0)]
            return last, np.zeros_like(last)
        start, end = self.times[after - 1], self.times[after]
        velocity: Vector = (self.positions[after] - self.positions[after - 1]) / (end - start)
        return self.positions[after - 1] + velocity * (t - start), velocity


def parse_chunk(
    names: Sequence[str],
    times: ArrayLike,
    positions: Sequence[ArrayLike],
    *,
    joint_names: Sequence[str],
    observed_at: float,
) -> ActionChunk:
    """Build a chunk from what another process sent.

    Args:
        names: joints in the sender's order; any order will do.
        times: (H,) [s] after the observation.
        positions: H points, each (n,) [rad] in the order of `names`.
        joint_names: the robot's joints, in order.
        observed_at: time of the observation, monotonic [s] (`StampClock.to_monotonic`).

    Raises:
        ChunkRefused: rule `names`, or one of those of `ActionChunk`.
    """
    index = {name: i for i, name in enumerate(names)}
    if len(index) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise ChunkRefused("names", f"joint '{twice}' is given twice")
    missing = [name for name in joint_names if name not in index]
    unknown = [name for name in names if name not in joint_names]
    if missing or unknown:
        lists = (", ".join(missing) or "none", ", ".join(unknown) or "none")
        raise ChunkRefused("names", "joints missing: {}; unknown: {}".format(*lists))
    try:
        shapes = [np.shape(point) for point in positions]
    except ValueError as error:
        raise ChunkRefused("length", f"a point is no row of numbers: {error}") from error
    for i, shape in enumerate(shapes):
        if shape != (len(names),):
            raise ChunkRefused("length", f"point {i} has shape {shape}, expected ({len(names)},)")
    try:
        points = np.array(positions, np.float64).reshape(len(positions), len(names))
        instants = np.array(times, np.float64)
    except (TypeError, ValueError) as error:
        raise ChunkRefused("finite", f"times and positions must be numbers: {error}") from error
    return ActionChunk(observed_at, instants, points[:, [index[name] for name in joint_names]])


class StampClock:
    """Maps message stamps to this process's monotonic clock, without synchronised clocks.

    A chunk carries the stamp of the joint state it was computed from. When that joint state arrived
    here is known, so the age of the chunk is measured on one clock, whatever the sender's says.

    A sender's clock that steps back would give one stamp two meanings, and one that leaps forward
    would give meaning to stamps that no joint state ever had. Either empties the memory: chunks
    from before the step are refused, and the first joint state after it starts anew.
    """

    def __init__(self) -> None:
        """Start without any joint state."""
        self._stamps: deque[int] = deque()
        self._received: deque[float] = deque()

    def record(self, stamp_ns: int, received_at: float) -> None:
        """Remember a joint state for two seconds.

        Args:
            stamp_ns: its stamp on the sender's clock [ns].
            received_at: monotonic time of its arrival [s].
        """
        if self._stamps:
            advance = (stamp_ns - self._stamps[-1]) * 1e-9
            if advance == 0:
                return
            if advance < 0 or advance - (received_at - self._received[-1]) > _STEP:
                self._stamps.clear()
                self._received.clear()
        self._stamps.append(stamp_ns)
        self._received.append(received_at)
        while received_at - self._received[0] > _RING:
            self._stamps.popleft()
            self._received.popleft()

    def to_monotonic(self, stamp_ns: int) -> float:
        """When the joint state with this stamp arrived here [s], interpolated between neighbours.

        Raises:
            ChunkRefused: rule `age` (no joint state that old is remembered) or `future` (newer than
                the newest joint state by more than 50 ms).
        """
        if not self._stamps:
            raise ChunkRefused("age", "no joint state has arrived yet, so its age is unknown")
        if stamp_ns < self._stamps[0]:
            older = (self._stamps[0] - stamp_ns) * 1e-9
            raise ChunkRefused(
                "age", f"its stamp is {older:.3f} s older than any known joint state"
            )
        newer = (stamp_ns - self._stamps[-1]) * 1e-9
        if newer > FUTURE:
            raise ChunkRefused(
                "future",
                f"its stamp is {newer:.3f} s newer than the newest joint state, "
                f"at most {FUTURE:g} s is allowed",
            )
        if newer >= 0:
            return self._received[-1] + newer
        after = bisect_left(self._stamps, stamp_ns)
        if self._stamps[after] == stamp_ns:
            return self._received[after]
        start, end = self._stamps[after - 1], self._stamps[after]
        fraction = (stamp_ns - start) / (end - start)
        before = self._received[after - 1]
        return before + fraction * (self._received[after] - before)
