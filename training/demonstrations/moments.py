"""Minimum, maximum, mean and standard deviation of more rows than fit into memory."""

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations.schema import Array


class Moments:
    """Per channel, in one pass: blocks are joined by the rule of Chan, Golub and LeVeque (1983)."""

    def __init__(self, n_channels: int) -> None:
        self.count = 0
        """Rows so far."""
        self.minimum = np.full(n_channels, np.inf)
        self.maximum = np.full(n_channels, -np.inf)
        self._mean = np.zeros(n_channels)
        self._squares = np.zeros(n_channels)

    def add(self, rows: Array) -> None:
        """Take rows (t, n_channels) of any number type."""
        if not len(rows):
            return
        values = rows.astype(np.float64)
        # NaN and infinity are for `validate` to say; here they stay what they are.
        with np.errstate(invalid="ignore", over="ignore"):
            self.minimum = np.minimum(self.minimum, values.min(axis=0))
            self.maximum = np.maximum(self.maximum, values.max(axis=0))
            step = values.mean(axis=0) - self._mean
            total = self.count + len(values)
            self._squares += (
                values.var(axis=0) * len(values) + step**2 * self.count * len(values) / total
            )
            self._mean += step * len(values) / total
        self.count = total

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean (n_channels,), NaN without rows."""
        return self._mean if self.count else np.full_like(self._mean, np.nan)

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of the population (n_channels,), NaN without rows."""
        if not self.count:
            return np.full_like(self._mean, np.nan)
        deviation: NDArray[np.float64] = np.sqrt(self._squares / self.count)
        return deviation


class Histogram:
    """The same of bytes, which are counted: exact, quantiles among them, and quick for images."""

    def __init__(self, n_channels: int) -> None:
        self._counts = np.zeros((n_channels, 256), np.int64)

    def add(self, rows: Array) -> None:
        """Take rows (t, n_channels) of uint8 or bool."""
        for channel, counts in enumerate(self._counts):
            counts += np.bincount(rows[:, channel].view(np.uint8), minlength=256)

    @property
    def count(self) -> int:
        """Rows so far."""
        return int(self._counts[0].sum())

    @property
    def minimum(self) -> NDArray[np.float64]:
        """Smallest value (n_channels,), infinite without rows."""
        first = np.argmax(self._counts > 0, axis=1)
        return np.where(self.count, first, np.inf)

    @property
    def maximum(self) -> NDArray[np.float64]:
        """Largest value (n_channels,), infinite without rows."""
        last = 255 - np.argmax(self._counts[:, ::-1] > 0, axis=1)
        return np.where(self.count, last, -np.inf)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean (n_channels,), NaN without rows."""
        return self._moment(np.arange(256.0)[None])

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of the population (n_channels,), NaN without rows."""
        deviation: NDArray[np.float64] = np.sqrt(
            self._moment((np.arange(256) - self.mean[:, None]) ** 2)
        )
        return deviation

    def _moment(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.count:
            return np.full(len(self._counts), np.nan)
        moment: NDArray[np.float64] = (self._counts * values).sum(axis=1) / self.count
        return moment

    def quantile(self, q: float) -> NDArray[np.float64]:
        """Quantile (n_channels,) between neighbours as of `numpy.quantile`, NaN without rows."""
        if not self.count:
            return np.full(len(self._counts), np.nan)
        position = q * (self.count - 1)
        below = int(position)
        above = min(below + 1, self.count - 1)
        low, high = (
            np.array([np.searchsorted(up, at, side="right") for up in self._counts.cumsum(axis=1)])
            for at in (below, above)
        )
        found: NDArray[np.float64] = low + (position - below) * (high - low)
        return found
