"""From wanted positions to commanded ones: within velocity and acceleration, down to rest."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.execution.shaping import Shaper
from bridle.deploy.robot import frozen

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Segment:
    """Commands from a step of the control grid on, that end at rest."""

    start: int
    """Step of the grid of the first command."""
    positions: Vector
    """(M, n) [rad], at least one; read-only."""
    velocities: Vector
    """(M, n) [rad/s]: of the step that led to each position; the last one is 0; read-only."""

    @property
    def end(self) -> int:
        """The first step after the segment; from here on the joints rest."""
        return self.start + len(self.positions)

    def at(self, step: int) -> tuple[Vector, Vector]:
        """Position (n,) [rad] and velocity (n,) [rad/s] at a step, which may lie after the end.

        Raises:
            ValueError: the step lies before the segment.
        """
        if step < self.start:
            raise ValueError(f"step {step} is before the segment, which starts at {self.start}")
        if step >= self.end:
            return self.positions[-1], np.zeros_like(self.positions[-1])
        return self.positions[step - self.start], self.velocities[step - self.start]


def track(shaper: Shaper, start: int, q: Vector, v: Vector, wanted: Vector) -> Segment:
    """Follow wanted positions as closely as the limits allow, then brake.

    Where the wanted path begins at the last command and keeps the limits, it is followed exactly.
    The braking tail is part of every segment, so that a robot whose next segment never comes stops
    by itself. It is shaped too, not a closed-form stop: so every velocity here is one from which
    the next segment may go on (`stopping_speed`).

    Args:
        shaper: the limits, and the period of the grid.
        start: step of the first command.
        q: the command before it (n,) [rad].
        v: its velocity (n,) [rad/s], a result of this function or 0.
        wanted: (K, n) [rad] at `start`, `start` + 1, ...; K = 0 brakes at once.
    """
    dt = shaper.dt
    slopes = np.diff(wanted, axis=0) / dt
    # What leads to the first position is unknown; it is taken to go on as it does afterwards.
    slopes = np.concatenate([slopes[:1], slopes]) if len(slopes) else np.zeros_like(wanted)
    positions, velocities = [], []

    def advance(position: Vector, velocity: Vector) -> None:
        nonlocal q, v
        shaped, _ = shaper.velocity(q, v, position, velocity)
        limits = shaper.limits
        # Rounding must not carry the command past a limit that it stands at.
        following = np.minimum(
            np.maximum(q + shaped * dt, limits.position_min), limits.position_max
        )
        q, v = following, (following - q) / dt
        positions.append(q)
        velocities.append(v)

    for position, slope in zip(wanted, slopes, strict=True):
        advance(position - slope * dt, slope)
    rest = np.zeros_like(q)
    braking = int(np.ceil((np.abs(v) / shaper.limits.acceleration).max() / dt)) + 1
    for _ in range(braking):
        advance(q, rest)
        if not v.any():
            break
    velocities[-1] = rest
    return Segment(start, frozen(positions), frozen(velocities))
