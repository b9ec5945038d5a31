"""A sampled chunk, moved a little to where its own policy puts more probability.

A conservative denoising score (CDSA, arXiv 2406.07541) moves an action up the density of the data,
with a network of its own. Here the density is the policy's, which its one-step graph already knows.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.execution.guidance import Array, Observation, OneStep, Previous, prefix_weights
from bridle.deploy.execution.levels import levels

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ConservativeConfig:
    """How a chunk is corrected."""

    steps: int = 0
    """Steps up the density; 0 leaves chunks as they were sampled."""
    step_size: float = 0.5
    """Share of the way to the chunk that the network makes of it, in each step."""
    largest: float = 0.02
    """No joint is moved further than this, in all steps together [rad]."""
    noise: float = 0.1
    """How blurred the density is that is climbed, as the noise's share of signal and noise."""

    def __post_init__(self) -> None:
        if not 0 <= self.steps <= 100:
            raise ValueError(f"steps must lie in 0..100, got {self.steps}")
        for name in ("step_size", "largest"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ValueError(f"{name} must lie in (0, 1], got {value}")
        if not 0 < self.noise < 1:
            raise ValueError(f"noise must lie between 0 and 1, got {self.noise}")


class Corrected(NamedTuple):
    """A chunk that was moved."""

    positions: Vector
    """(rows, A) absolute positions [rad], the first of the newest observation."""
    moved: float
    """Largest move of a joint [rad]."""


class Conservative:
    """Steps up the density of a policy, without its gradient.

    With the signal a and the noise s of a row of the table, p_s the density of noised chunks and
    c(y) the chunk that the network predicts from y, Tweedie's formula gives the score

        grad log p_s(y) = (a c(y) - y) / s^2

    which for a flow, a = t and s = 1 - t, is (t v - y) / (1 - t). Seen as a function of the chunk x
    in y = a x, the slope is (a / s)^2 (c(a x) - x); a step of eta (s / a)^2 along it is

        x <- x + eta (c(a x) - x)

    After each, the move of a joint is scaled down to `largest` in all rows alike: cut off where it
    is too large, it would no longer be smooth.
    """

    def __init__(
        self, policy: OneStep, table: Array, config: ConservativeConfig, *, first_row: int = 0
    ) -> None:
        """Choose the row of the table that is nearest to the noise asked for.

        Args:
            policy: encoder and step.
            table: a fine one; the finer, the nearer.
            config: how far, and how often.
            first_row: row of the chunk that belongs to the newest observation.

        Raises:
            InferenceError: signal and noise of this generator are not known, in one line why.
        """
        self._policy, self._config, self._first = policy, config, first_row
        grid = levels(policy.columns, table)
        shares = grid[:-1, 1] / grid[:-1].sum(axis=1)
        k = int(np.abs(shares - config.noise).argmin())
        self._row = table[k]
        (self._signal, noise), (signal_after, noise_after) = grid[k], grid[k + 1]
        self._kept = noise_after / noise
        self._share = signal_after - self._signal * self._kept

    def __call__(
        self, observation: Observation, positions: Vector, previous: Previous | None = None
    ) -> Corrected:
        """Correct a chunk.

        Args:
            observation: what `OneStep.encode` takes, of a batch of 1.
            positions: (rows, A) from the newest observation on [rad].
            previous: what the chunk was sampled to continue; it is not moved away from that.

        Raises:
            InferenceError: the graph cannot run.
        """
        encoded = self._policy.encode(observation)
        rows = len(positions)
        horizon = rows + self._first
        offset, scale = (np.asarray(v, np.float64) for v in (encoded.offset, encoded.scale))
        free = np.ones((rows, 1))
        if previous is not None:
            n = (min(previous.delay, rows), min(previous.until, rows))
            free = 1 - prefix_weights(*n, rows)[:, None]
        # Rows before the newest observation are past and not known any more: they go as they like.
        index = np.maximum(np.arange(horizon) - self._first, 0)
        x = (positions[index][None] - offset) / scale
        move = np.zeros_like(positions)
        for _ in range(self._config.steps):
            step = self._config.step_size * (self._predicted(x, encoded.cond) - x)
            step[:, self._first :] *= free
            x = x + step
            move = (offset + scale * x)[0, self._first :] - positions
            furthest = np.abs(move).max(axis=0)
            move *= self._config.largest / np.maximum(furthest, self._config.largest)
            inside = (positions + move)[None] - offset
            x[:, self._first :] = inside / scale
        return Corrected(positions + move, float(np.abs(move).max()))

    def _predicted(self, x: Vector, cond: Array) -> Vector:
        """The chunk that the network makes of this one, at the chosen noise."""
        y = (self._signal * x).astype(np.float32)
        following, _ = self._policy.step(y, self._row, cond)
        predicted: Vector = (following.astype(np.float64) - self._kept * y) / self._share
        return predicted
