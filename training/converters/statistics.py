"""The statistics of LeRobot's episodes, in one pass and bounded memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations.schema import Array

QUANTILES: Mapping[str, float] = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_SAMPLE_ROWS = 4096
_SAMPLE_FRAMES = 64
_SAMPLE_PIXELS = 150
"""Pixels along the longer side of a sampled frame, as LeRobot thins them out."""

Floats = NDArray[np.float64]
Statistics = dict[str, Any]


class Sample:
    """Every n-th of a stream; n doubles whenever there are too many."""

    def __init__(self, limit: int) -> None:
        self._limit, self._step, self._seen = limit, 1, 0
        self.rows: list[tuple[int, Array]] = []
        """What was kept, with its number."""

    def add(self, rows: Array) -> None:
        """Take rows (t, ...) in."""
        for i in range(-self._seen % self._step, len(rows), self._step):
            self.rows.append((self._seen + i, np.array(rows[i])))
        self._seen += len(rows)
        while len(self.rows) > self._limit:
            self.rows = self.rows[::2]
            self._step *= 2

    def stacked(self) -> Array:
        """What was kept, as rows."""
        return np.stack([row for _, row in self.rows])


class NumberStatistics:
    """Extremes, mean and standard deviation over all rows; quantiles over a sample of 4096 rows.

    Over all dimensions of a row but the last, as LeRobot does.
    """

    def __init__(self) -> None:
        self._count = self._rows = 0
        self._sample = Sample(_SAMPLE_ROWS)

    def add(self, rows: Array) -> None:
        """Take rows (t, ...) in."""
        self._sample.add(rows)
        values = rows.reshape(-1, rows.shape[-1] if rows.ndim > 1 else 1).astype(np.float64)
        low, high, count = values.min(axis=0), values.max(axis=0), len(values)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = values.mean(axis=0)
            squares = ((values - mean) ** 2).sum(axis=0)
            if not self._count:
                self._low, self._high, self._mean, self._squares = low, high, mean, squares
            else:
                total = self._count + count
                step = mean - self._mean
                self._squares += squares + step**2 * (self._count * count / total)
                self._mean += step * (count / total)
                self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        self._count, self._rows = self._count + count, self._rows + len(rows)

    def result(self) -> Statistics:
        """What was found."""
        sample = self._sample.stacked().astype(np.float64)
        flat = sample.reshape(-1, sample.shape[-1] if sample.ndim > 1 else 1)
        quantiles = np.quantile(flat, list(QUANTILES.values()), axis=0)
        return {
            "min": self._low,
            "max": self._high,
            "mean": _finite(self._mean),
            "std": _finite(np.sqrt(self._squares / self._count)),
            "count": np.array([self._rows]),
            **dict(zip(QUANTILES, quantiles, strict=True)),
        }


class ImageStatistics:
    """Of each channel from 0 to 1, over a sample of 64 frames, thinned out."""

    def __init__(self) -> None:
        self._sample = Sample(_SAMPLE_FRAMES)

    def add(self, frames: Array) -> None:
        """Take frames (t, H, W, 3) in."""
        longer = max(frames.shape[1:3])
        stride = max(1, longer // _SAMPLE_PIXELS) if longer >= 2 * _SAMPLE_PIXELS else 1
        self._sample.add(frames[:, ::stride, ::stride])

    def result(self) -> Statistics:
        """What was found, each of shape (3, 1, 1)."""
        frames = self._sample.stacked()
        pixels = frames.reshape(-1, 3).astype(np.float64) / 255
        found = {
            "min": pixels.min(axis=0),
            "max": pixels.max(axis=0),
            "mean": pixels.mean(axis=0),
            "std": pixels.std(axis=0),
            **dict(
                zip(QUANTILES, np.quantile(pixels, list(QUANTILES.values()), axis=0), strict=True)
            ),
        }
        return {name: value.reshape(3, 1, 1) for name, value in found.items()} | {
            "count": np.array([len(frames)])
        }


class Total:
    """Statistics of all episodes from those of each, weighted as LeRobot weights them.

    Quantiles become the mean of the episodes' quantiles: an approximation that is LeRobot's.
    """

    def __init__(self) -> None:
        self._count = 0.0

    def add(self, one: Mapping[str, Any]) -> None:
        """Take the statistics of one episode in."""
        found: dict[str, Floats] = {k: np.asarray(v, np.float64) for k, v in one.items()}
        count = float(found["count"][0])
        if not self._count:
            self._low, self._high, self._mean = found["min"], found["max"], found["mean"]
            self._quantiles = {name: found[name] for name in QUANTILES}
            with np.errstate(over="ignore"):
                self._squares = found["std"] ** 2 * count
            self._count = count
            return
        part = count / (self._count + count)
        with np.errstate(over="ignore", invalid="ignore"):
            step = found["mean"] - self._mean
            self._squares = self._squares + found["std"] ** 2 * count + step**2 * part * self._count
            self._mean = self._mean + step * part
            for name, value in self._quantiles.items():
                self._quantiles[name] = value + (found[name] - value) * part
        self._low = np.minimum(self._low, found["min"])
        self._high = np.maximum(self._high, found["max"])
        self._count += count

    def result(self) -> dict[str, Sequence[Any]]:
        """Of all episodes, as plain lists."""
        return {
            "min": self._low.tolist(),
            "max": self._high.tolist(),
            "mean": _finite(self._mean).tolist(),
            "std": _finite(np.sqrt(self._squares / self._count)).tolist(),
            "count": [int(self._count)],
            **{name: _finite(value).tolist() for name, value in self._quantiles.items()},
        }


def _finite(values: Floats) -> Floats:
    """Sums of numbers near the largest one overflow; JSON has no infinity."""
    return np.nan_to_num(values, nan=0.0)
