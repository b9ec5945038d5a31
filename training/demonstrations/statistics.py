"""A set in numbers: per channel, as the normaliser of a policy sees them, and per episode."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations.digest import ContentDigest
from bridle.training.demonstrations.moments import Histogram, Moments
from bridle.training.demonstrations.progress import Progress, silent
from bridle.training.demonstrations.schema import INSTRUCTION_KEYS, Array
from bridle.training.demonstrations.storage import StoredSet, opened_sound

QUANTILES = (0.01, 0.5, 0.99)
SAMPLE = 100_000
"""Time steps, at most, that quantiles of a key are taken from."""
_SAMPLE_BYTES = 64 << 20


@dataclass(frozen=True)
class ChannelStatistics:
    """One key. A channel is an entry of the last axis: a joint, a colour; a scalar has one."""

    shape: tuple[int, ...]
    dtype: str
    unit: str | None
    minimum: list[float | None]
    maximum: list[float | None]
    mean: list[float | None]
    std: list[float | None]
    """Of the population, over all time steps and all axes but the last."""
    q01: list[float | None]
    q50: list[float | None]
    q99: list[float | None]
    quantiles_from: int
    """Time steps that the quantiles were taken from: all of them, or a uniform sample."""


@dataclass(frozen=True)
class Statistics:
    """A set. What it does not tell is None."""

    path: str
    robot: str | None
    task: str | None
    control_rate: float | None
    digest: str
    steps: int
    episode_lengths: list[int]
    keys: dict[str, ChannelStatistics]
    instructions: dict[str, dict[str, int]]
    """For `instruction_id` and `goal_id`: sentence to number of time steps."""
    intervention_steps: float | None
    """Share of time steps in which a person chose the action."""
    intervention_episodes: float | None
    """Share of episodes with at least one of them."""
    episode_values: dict[str, list[float]]

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return asdict(self)


def statistics(path: Path | str, progress: Progress = silent, seed: int = 0) -> Statistics:
    """Measure a set in one pass, one chunk in memory at a time.

    Minimum, maximum, mean and standard deviation are of all rows. Quantiles are exact up to
    `SAMPLE` time steps (fewer where a step takes more than 670 bytes) and for all bytes, such as
    images; beyond, they are of a uniform sample of that many steps.

    Args:
        path: zarr folder or zip; a path or a URL.
        progress: told how far it is.
        seed: of the sample.

    Raises:
        DemonstrationError: the set is damaged.
    """
    with opened_sound(path) as (stored, _):
        attributes = stored.attributes
        digest = ContentDigest(attributes, stored.episode_ends, stored.episode_values)
        sentences = attributes.instructions if attributes else ()
        counts: dict[str, NDArray[np.int64]] = {}
        keys = {}
        interventions = np.zeros(stored.n_episodes, np.int64)
        for i, key in enumerate(sorted(stored.arrays)):
            passing = _Key(stored, key, np.random.default_rng(seed))
            array = stored.arrays[key]
            digest.key(key, array.dtype, (stored.n_steps, *array.shape[1:]))
            for start, stop in stored.row_ranges(key):
                rows = stored.read(key, start, stop)
                digest.rows(rows)
                passing.add(start, rows)
                if key in INSTRUCTION_KEYS and sentences:
                    inside = rows[(rows >= 0) & (rows < len(sentences))].astype(np.int64)
                    found = np.bincount(inside, minlength=len(sentences))
                    counts[key] = counts.get(key, np.zeros_like(found)) + found
                if key == "intervention" and rows.ndim == 1:
                    at = start + np.flatnonzero(rows)
                    episodes = np.searchsorted(stored.episode_ends, at, side="right")
                    interventions += np.bincount(episodes, minlength=stored.n_episodes)
                done = i * stored.n_steps + stop
                progress(f"measuring {key}", done, len(stored.arrays) * stored.n_steps)
            keys[key] = passing.result()
        intervened = "intervention" in stored.arrays and stored.n_steps > 0
        return Statistics(
            path=str(path),
            robot=attributes.robot if attributes else None,
            task=attributes.task if attributes else None,
            control_rate=attributes.control_rate if attributes else None,
            digest=digest.hexdigest(),
            steps=stored.n_steps,
            episode_lengths=np.diff(stored.episode_ends, prepend=0).tolist(),
            keys=keys,
            instructions={key: _named(sentences, found) for key, found in counts.items()},
            intervention_steps=float(interventions.sum() / stored.n_steps) if intervened else None,
            intervention_episodes=float((interventions > 0).mean()) if intervened else None,
            episode_values={name: v.tolist() for name, v in stored.episode_values.items()},
        )


def _named(sentences: Sequence[str], counts: NDArray[np.int64]) -> dict[str, int]:
    named: dict[str, int] = {}
    for sentence, count in zip(sentences, counts.tolist(), strict=True):
        named[sentence] = named.get(sentence, 0) + count
    return named


class _Key:
    """Statistics of one key in one pass."""

    def __init__(self, stored: StoredSet, key: str, rng: np.random.Generator) -> None:
        array = stored.arrays[key]
        self._shape = tuple(array.shape[1:])
        self._dtype = array.dtype
        self._n_channels = self._shape[-1] if self._shape else 1
        spec = stored.attributes.keys.get(key) if stored.attributes else None
        self._unit = spec.unit if spec else None
        self._n_steps = stored.n_steps
        bytes_only = array.dtype in (np.uint8, np.bool_)
        self._moments = Histogram(self._n_channels) if bytes_only else Moments(self._n_channels)
        row_bytes = array.chunk_bytes // array.chunks[0]
        n_sample = min(stored.n_steps, SAMPLE, max(1, _SAMPLE_BYTES // max(row_bytes, 1)))
        # The number of steps is known: no reservoir is needed to draw uniformly.
        self._chosen = np.sort(rng.choice(stored.n_steps, n_sample, replace=False))
        self._sample: list[Array] = []

    def add(self, start: int, rows: Array) -> None:
        """Take rows (t, ...) that begin at a time step."""
        self._moments.add(rows.reshape(-1, self._n_channels))
        if isinstance(self._moments, Histogram):
            return
        first, last = np.searchsorted(self._chosen, (start, start + len(rows)))
        if first < last:
            self._sample.append(rows[self._chosen[first:last] - start])

    def result(self) -> ChannelStatistics:
        """What was found."""
        m = self._moments
        is_exact = isinstance(m, Histogram)
        q01, q50, q99 = map(_finite, self._quantiles())
        return ChannelStatistics(
            shape=self._shape,
            dtype=str(self._dtype),
            unit=self._unit,
            minimum=_finite(m.minimum),
            maximum=_finite(m.maximum),
            mean=_finite(m.mean),
            std=_finite(m.std),
            q01=q01,
            q50=q50,
            q99=q99,
            quantiles_from=self._n_steps if is_exact else len(self._chosen),
        )

    def _quantiles(self) -> list[NDArray[np.float64]]:
        if isinstance(self._moments, Histogram):
            return [self._moments.quantile(q) for q in QUANTILES]
        if not self._sample:
            return [np.full(self._n_channels, np.nan) for _ in QUANTILES]
        sample = np.concatenate(self._sample).reshape(-1, self._n_channels)
        # NaN and infinity are for `validate` to say.
        with np.errstate(invalid="ignore"):
            channels = [np.quantile(c.astype(np.float64), QUANTILES) for c in sample.T]
        return list(np.array(channels).T)


def _finite(values: NDArray[np.float64]) -> list[float | None]:
    """JSON has no NaN and no infinity."""
    return [float(x) if np.isfinite(x) else None for x in values]
