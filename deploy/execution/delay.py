"""How many actions pass between an observation and the first use of its chunk."""

from collections import deque
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DelayConfig:
    """How delays are summed up."""

    window: int = 50
    """Chunks that count, the newest ones."""
    percentile: float = 95.0
    """Share of the window whose delay is no longer than the estimate [%]."""
    warm_up: int = 2
    """First delays that do not count: a first inference allocates, compiles and reads files."""
    initial: int = 1
    """The estimate until there is a delay that counts [control steps]."""

    def __post_init__(self) -> None:
        if self.window < 1 or self.warm_up < 0 or self.initial < 0:
            raise ValueError(
                "window must be at least 1, warm_up and initial not negative, "
                f"got {self.window}, {self.warm_up}, {self.initial}"
            )
        if not 0 < self.percentile <= 100:
            raise ValueError(f"percentile must lie in (0, 100], got {self.percentile}")


class DelayEstimate:
    """A percentile of the last delays.

    Not a maximum: one slow inference would count until it left the window, and while it does, too
    many actions of every new chunk are taken for given. A delay is the row of the chunk that was
    executed first, so it includes whatever lies between camera and command, not inference alone.
    """

    def __init__(self, config: DelayConfig | None = None) -> None:
        """Start without any delay."""
        self.config = DelayConfig() if config is None else config
        self._delays: deque[int] = deque(maxlen=self.config.window)
        self._to_skip = self.config.warm_up

    def record(self, steps: int) -> None:
        """Count the delay of one chunk [control steps].

        Raises:
            ValueError: it is negative.
        """
        if steps < 0:
            raise ValueError(f"a delay cannot be negative, got {steps}")
        if self._to_skip:
            self._to_skip -= 1
            return
        self._delays.append(steps)

    @property
    def n_recorded(self) -> int:
        """Delays in the window."""
        return len(self._delays)

    @property
    def steps(self) -> int:
        """The estimate: the shortest delay that the percentile does not exceed [control steps]."""
        if not self._delays:
            return self.config.initial
        return int(np.percentile(self._delays, self.config.percentile, method="inverted_cdf"))
