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
