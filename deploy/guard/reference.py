"""What a chunk asks for as a motion: smooth, and no later than the chunk has it."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.chunks import ActionChunk
from bridle.deploy.robot import JointLimits, frozen

Vector = NDArray[np.float64]

SMOOTHING = (0.025, 0.04)
"""Smallest and largest w: the mean over a triangle this far to both sides is taken [s]."""
SHARE = 0.9
"""Of the limits of acceleration and jerk that a corner may take; a sharper one takes a larger w.
The rest is for errors to it."""
MOMENT = 1e-6
"""Points closer than this are at one time [s]."""
_WEIGHTS = np.array([1.0, -2.0, 1.0])


@dataclass(frozen=True, eq=False)
class Reference:
    """A chunk, linear between its points, without its corners.

    Position at t is the mean of the chunk p over a triangle of half width w around t,

        r(t) = (F(t + w) - 2 F(t) + F(t - w)) / w^2,   F'' = p,

    and so are its derivatives, with F' and p in place of F. What is straight stays as it is and
    in time; a corner at which the velocity changes by dv is passed at a distance of dv w / 6, with
    an acceleration of at most dv / w and a jerk of at most dv / w^2. One w is taken for the whole
    chunk, by its sharpest corner. No velocity is larger than those of the chunk.
    """

    edges: list[float]
    """(K + 1) monotonic [s], in order: between them r is a cubic, before and after at rest."""
    middles: list[float]
    """(K + 2) of the pieces [s]."""
    pieces: Vector
    """(K + 2, 4, n): r and its first three derivatives in the middle of each piece."""
    smooth: NDArray[np.bool_]
    """(n,): whether no corner takes more than its share of the limits, so that the joint can
    follow it as it is."""

    @property
    def begins(self) -> float:
        """Time of the chunk's first point, monotonic [s]."""
        return self.edges[0]

    @property
    def ends(self) -> float:
        """From here on it rests, monotonic [s]."""
        return self.edges[-1]

    @classmethod
    def of(
        cls, chunk: ActionChunk, limits: JointLimits, before: ActionChunk | None = None
    ) -> "Reference":
        """Prepare for a chunk.

        Args:
            chunk: what is asked for from now on.
            limits: those of acceleration and jerk tell how sharp a corner may be.
            before: the chunk that it follows. What that one asked for last, moved to where this one
                begins, is taken for the way there; without it, the way that the first two points
                lead back to.
        """
        first, back = chunk.observed_at + chunk.times[0], SMOOTHING[1]
        times, positions = chunk.observed_at + chunk.times, chunk.positions
        if before is not None and before.observed_at + before.times[0] < first - back:
            known = before.observed_at + before.times
            kept = known[(known > first - back) & (known < first - 1e-6)]
            instants = np.array([first - back, *kept, first])
            way = np.array([before.reference(t)[0] for t in instants])
            way = way[:-1] + (positions[0] - way[-1])
            times = np.concatenate([instants[:-1], times])
        else:
            slope = np.zeros_like(positions[0])
            if len(times) > 1:
                slope = (positions[1] - positions[0]) / max(times[1] - times[0], MOMENT)
            fastest = limits.velocity
            way = (positions[0] - back * np.minimum(np.maximum(slope, -fastest), fastest))[None]
            times = np.concatenate([[first - back], times])
        positions = np.concatenate([way, positions])
        least = _half_widths(times, positions, limits)
        w = min(max(float(least.max()), SMOOTHING[0]), SMOOTHING[1])
        mean = _Mean.of(times, positions, w)
        cuts = np.unique(np.concatenate([times - w, times, times + w]))
        # Shorter pieces are of rounding: two cuts that are one.
        cuts = cuts[(cuts >= first - 1e-9) & (cuts <= times[-1] + w)]
        cuts = cuts[np.concatenate([[True], np.diff(cuts) > 1e-9])]
        lengths = np.diff(cuts)
        middles = cuts[:-1] + lengths / 2
        position, velocity, acceleration = mean.at(middles)
        _, _, later = mean.at(middles + lengths / 4)
        _, _, sooner = mean.at(middles - lengths / 4)
        jerk = (later - sooner) / (lengths[:, None] / 2)
        pieces = np.stack([position, velocity, acceleration, jerk], axis=1)
        rest = np.zeros((2, 4, positions.shape[1]))
        rest[:, 0] = mean.at(cuts[:1])[0][0], positions[-1]
        pieces = np.concatenate([rest[:1], pieces, rest[1:]])
        edges = cuts.tolist()
        return cls(
            edges=edges,
            middles=[0.0, *middles.tolist(), 0.0],
            pieces=frozen(pieces),
            smooth=least <= w,
        )

    def at(self, t: float) -> tuple[Vector, Vector, Vector]:
        """Position [rad], velocity [rad/s] and acceleration [rad/s^2], (n,) each.

        Before the first point's time at rest where it begins, after the last one's where it ends.

        Args:
            t: monotonic time [s].
        """
        position, velocity, acceleration = self.instants([t])[0]
        return position, velocity, acceleration

    def instants(self, times: Sequence[float]) -> Vector:
        """The same at some times (T): (T, 3, n)."""
        found = [bisect_right(self.edges, t) for t in times]
        powers = []
        for k, t in zip(found, times, strict=True):
            x = t - self.middles[k]
            half = x * x / 2
            powers.append([[1.0, x, half, x * half / 3], [0.0, 1.0, x, half], [0.0, 0.0, 1.0, x]])
        instants: Vector = np.array(powers) @ self.pieces[found]
        return instants

    def jerk(self, since: float, until: float) -> Vector:
        """The largest of each joint (n,) [rad/s^3] between two times."""
        first, last = bisect_right(self.edges, since), bisect_right(self.edges, until)
        most: Vector = np.abs(self.pieces[first : last + 1, 3]).max(axis=0)
        return most


def _half_widths(times: Vector, positions: Vector, limits: JointLimits) -> Vector:
    """Least half widths (n,) [s] for the corners between points (M,) [s] and (M, n) [rad]."""
    # Two points at one time are a leap: as sharp as can be.
    h = np.maximum(np.diff(times), MOMENT)[:, None]
    corners = np.abs(np.diff(np.diff(positions, axis=0) / h, axis=0))
    turn = corners.max(axis=0, initial=0.0)
    widths: Vector = np.maximum(
        turn / (SHARE * limits.acceleration), np.sqrt(turn / (SHARE * limits.jerk))
    )
    return widths


class _Mean(NamedTuple):
    """The mean over the triangle, anywhere."""

    width: float
    """w [s]."""
    times: Vector
    positions: Vector
    velocities: Vector
    """(M, n) [rad/s]: after each point; 0 after the last."""
    once: Vector
    """(M, n): F' at each point."""
    twice: Vector
    """(M, n): F."""

    @classmethod
    def of(cls, times: Vector, positions: Vector, width: float) -> "_Mean":
        """Of what is linear between points (M,) [s] and (M, n) [rad], over w [s]."""
        h, moves = np.diff(times)[:, None], np.diff(positions, axis=0)
        # Two points at one time are a leap, which has no velocity.
        v = np.divide(moves, h, out=np.zeros_like(moves), where=h > 0)
        p, rest = positions[:-1], np.zeros((1, positions.shape[1]))
        once = np.concatenate([rest, np.cumsum((p + v * h / 2) * h, axis=0)])
        steps = (once[:-1] + (p / 2 + v * h / 6) * h) * h
        twice = np.concatenate([rest, np.cumsum(steps, axis=0)])
        return cls(width, times, positions, np.concatenate([v, rest]), once, twice)

    def at(self, t: Vector) -> tuple[Vector, Vector, Vector]:
        """Position, velocity and acceleration at times (K,), (K, n) each."""
        around = t[:, None] + self.width * np.array([-1.0, 0.0, 1.0])
        k = np.maximum(self.times.searchsorted(around, "right") - 1, 0)
        x = (around - self.times[k])[..., None]
        p, v, f = self.positions[k], self.velocities[k], self.once[k]
        share = _WEIGHTS / self.width**2
        whole = self.twice[k] + x * (f + x * (p / 2 + x * v / 6))
        return (
            np.einsum("s,ksn->kn", share, whole),
            np.einsum("s,ksn->kn", share, f + x * (p + x * v / 2)),
            np.einsum("s,ksn->kn", share, p + x * v),
        )
