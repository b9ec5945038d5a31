"""What a person's corrections do to the running policy: a tool offset, a grip, a pace.

A nudge displaces the tool by an offset that is ramped in, held, and ramped out again. While it
lasts the policy plans as if the tool were not displaced and its chunk is displaced instead, so the
person gets the distance they asked for and the policy does not fight it.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class SteeringConfig:
    """How corrections are carried out."""

    hold: float = 3.0
    """Time a nudge or a grip stays in force [s]."""
    speed: float = 0.15
    """Speed at which an offset is ramped in and out [m/s]."""
    max_offset: float = 0.10
    """Largest offset of the tool from where the policy wants it [m]."""
    min_pace: float = 0.1
    """Slowest pace, relative to the demonstrations."""
    max_pace: float = 2.0
    """Fastest pace, relative to the demonstrations."""

    def __post_init__(self) -> None:
        if not (0 < self.hold <= 60 and 0 < self.speed <= 1 and 0 < self.max_offset <= 0.5):
            raise ValueError(
                "hold must lie in (0, 60] s, speed in (0, 1] m/s and max_offset in (0, 0.5] m, "
                f"got {self.hold}, {self.speed}, {self.max_offset}"
            )
        if not 0 < self.min_pace <= 1 <= self.max_pace:
            raise ValueError(f"pace bounds must enclose 1, got {self.min_pace}..{self.max_pace}")


@dataclass(frozen=True)
class Steering:
    """The corrections in force. Immutable; times are this process's monotonic clock [s]."""

    config: SteeringConfig = SteeringConfig()
    pace: float = 1.0
    grip: float | None = None
    """Gripper position that replaces the policy's [rad], while in force."""
    grip_until: float = -np.inf
    start: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Offset at `since` [m]."""
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Offset while held [m]."""
    since: float = -np.inf
    until: float = -np.inf
    """End of the hold; the offset is ramped out from here."""

    def nudged(self, offset: Vector, now: float) -> "Steering":
        """Displace the tool by `offset` (3,) [m] more than now, for the hold time.

        Raises:
            ValueError: the offset is not three finite numbers, or the sum exceeds `max_offset`.
        """
        offset = np.asarray(offset, np.float64)
        if offset.shape != (3,) or not np.abs(offset).max() < 1e3:
            raise ValueError(f"a nudge needs three finite numbers [m], got {offset}")
        held = np.asarray(self.target) if now < self.until else np.zeros(3)
        target = held + offset
        length = float(np.linalg.norm(target))
        if length > self.config.max_offset + 1e-9:
            raise ValueError(
                f"the tool would be {length * 100:.1f} cm from where the policy wants it, "
                f"allowed {self.config.max_offset * 100:.0f} cm"
            )
        start = self.offsets(np.array([now]))[0]
        until = now + self._ramp(start, target) + self.config.hold
        return replace(self, start=_triple(start), target=_triple(target), since=now, until=until)

    def released(self) -> "Steering":
        """Give up the nudge at once: the guard smooths what follows."""
        nothing = (0.0, 0.0, 0.0)
        return replace(self, start=nothing, target=nothing, since=-np.inf, until=-np.inf)

    def gripped(self, position: float, now: float) -> "Steering":
        """Hold the gripper at `position` [rad] for the hold time."""
        if not np.isfinite(position):
            raise ValueError(f"a grip needs a finite position [rad], got {position}")
        return replace(self, grip=position, grip_until=now + self.config.hold)

    def paced(self, factor: float) -> "Steering":
        """Run at `factor` times the demonstrated pace, bounded by the configuration."""
        if not (np.isfinite(factor) and factor > 0):
            raise ValueError(f"a pace must be a positive number, got {factor}")
        return replace(
            self, pace=float(np.clip(factor, self.config.min_pace, self.config.max_pace))
        )

    def _ramp(self, start: Vector, end: Vector) -> float:
        return float(np.linalg.norm(end - start)) / self.config.speed

    def offsets(self, times: Vector) -> Vector:
        """Tool offsets (T, 3) [m] at monotonic times (T,)."""
        start, target = np.asarray(self.start), np.asarray(self.target)
        rise = _smooth((times - self.since) / max(self._ramp(start, target), 1e-3))
        fall = _smooth((times - self.until) / max(self._ramp(target, np.zeros(3)), 1e-3))
        offsets: Vector = (start + rise[:, None] * (target - start)) * (1 - fall)[:, None]
        return offsets

    def grips(self, times: Vector, planned: Vector) -> Vector:
        """Gripper positions (T,) [rad]: the correction's while in force, else the planned ones."""
        if self.grip is None:
            return planned
        return np.where(times < self.grip_until, self.grip, planned)


def _smooth(fraction: Vector) -> Vector:
    """Smoothstep: from 0 to 1 with zero slope at both ends."""
    s = np.clip(fraction, 0.0, 1.0)
    return s * s * (3 - 2 * s)


def _triple(v: Vector) -> tuple[float, float, float]:
    return float(v[0]), float(v[1]), float(v[2])
