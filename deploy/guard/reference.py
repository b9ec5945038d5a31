"""What a chunk asks for as a motion: smooth, and no later than the chunk has it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.chunks import ActionChunk
from bridle.deploy.robot import frozen

Vector = NDArray[np.float64]

SMOOTHING = 0.04
"""w: the mean over a triangle this far to both sides is taken [s]."""
_WEIGHTS = np.array([1.0, -2.0, 1.0])


@dataclass(frozen=True, eq=False)
class Reference:
    """A chunk, linear between its points, without its corners.

    Position at t is the mean of the chunk p over a triangle of half width w around t,

        r(t) = (F(t + w) - 2 F(t) + F(t - w)) / w^2,   F'' = p,

    and so are its derivatives, with F' and p in place of F. What is straight stays as it is and
    in time; a corner at which the velocity changes by dv is passed at a distance of dv w / 6, with
    an acceleration of at most dv / w. No velocity is larger than those of the chunk.
    """

    begins: float
    """Time of the chunk's first point, monotonic [s]."""
    times: Vector
    """(M,) monotonic [s]: the chunk's points, and before them the way to the first."""
    positions: Vector
    """(M, n) [rad]."""
    velocities: Vector
    """(M, n) [rad/s]: after each point; 0 after the last."""
    once: Vector
    """(M, n): F' at each point."""
    twice: Vector
    """(M, n): F."""

    @classmethod
    def of(cls, chunk: ActionChunk, before: ActionChunk | None = None) -> "Reference":
        """Prepare for a chunk.

        Args:
            chunk: what is asked for from now on.
            before: the chunk that it follows. What that one asked for last, moved to where this one
                begins, is taken for the way there; without it, the way that the first two points
                lead back to.
        """
        first = chunk.observed_at + chunk.times[0]
        times, positions = chunk.observed_at + chunk.times, chunk.positions
        if before is not None and before.observed_at + before.times[0] < first - SMOOTHING:
            known = before.observed_at + before.times
            kept = known[(known > first - SMOOTHING) & (known < first - 1e-6)]
            instants = np.array([first - SMOOTHING, *kept, first])
            way = np.array([before.reference(t)[0] for t in instants])
            way = way[:-1] + (positions[0] - way[-1])
            times = np.concatenate([instants[:-1], times])
        else:
            same = len(times) < 2 or times[1] == times[0]
            slope = 0.0 if same else (positions[1] - positions[0]) / (times[1] - times[0])
            way = (positions[0] - SMOOTHING * slope)[None]
            times = np.concatenate([[first - SMOOTHING], times])
        positions = np.concatenate([way, positions])
        h, moves = np.diff(times)[:, None], np.diff(positions, axis=0)
        # Two points at one time are a leap, which has no velocity.
        v = np.divide(moves, h, out=np.zeros_like(moves), where=h > 0)
        p, rest = positions[:-1], np.zeros((1, positions.shape[1]))
        once = np.concatenate([rest, np.cumsum((p + v * h / 2) * h, axis=0)])
        steps = (once[:-1] + (p / 2 + v * h / 6) * h) * h
        twice = np.concatenate([rest, np.cumsum(steps, axis=0)])
        velocities = np.concatenate([v, rest])
        return cls(first, *(frozen(x) for x in (times, positions, velocities, once, twice)))

    @property
    def ends(self) -> float:
        """From here on it rests, monotonic [s]."""
        return float(self.times[-1]) + SMOOTHING

    def at(self, t: float) -> tuple[Vector, Vector, Vector]:
        """Position [rad], velocity [rad/s] and acceleration [rad/s^2], (n,) each.

        Before the first point's time at rest where it begins, after the last one's where it ends.

        Args:
            t: monotonic time [s].
        """
        rest = np.zeros(self.positions.shape[1])
        if t >= self.ends:
            return self.positions[-1], rest, rest
        if t < self.begins:
            there, _, _ = self.at(self.begins)
            return there, rest, rest
        around = np.array([t - SMOOTHING, t, t + SMOOTHING])
        k = np.maximum(self.times.searchsorted(around, "right") - 1, 0)
        x = (around - self.times[k])[:, None]
        p, v, f = self.positions[k], self.velocities[k], self.once[k]
        share = _WEIGHTS / SMOOTHING**2
        position: Vector = share @ (self.twice[k] + x * (f + x * (p / 2 + x * v / 6)))
        velocity: Vector = share @ (f + x * (p + x * v / 2))
        acceleration: Vector = share @ (p + x * v)
        return position, velocity, acceleration
