"""Suites that draw from numpy's global generator, made to depend on their seed alone."""

from types import TracebackType
from typing import Any

import numpy as np
from numpy.random.mtrand import get_bit_generator, set_bit_generator


class OwnRandomness:
    """While this is entered, numpy's global generator is a private one.

    What a suite draws with `np.random.uniform()` and the like, or seeds with `np.random.seed()`,
    then neither depends on what ran before nor disturbs what runs after. Of one thread at a time:
    the generator is the process's.
    """

    def __init__(self, seed: int | None = None) -> None:
        """Begin with a seed, or with one from the operating system."""
        self._own: Any = np.random.MT19937(seed)
        self._outer: list[Any] = []

    def seed(self, seed: int) -> None:
        """Begin again."""
        self._own = np.random.MT19937(seed)

    def __enter__(self) -> None:
        self._outer.append(get_bit_generator())
        set_bit_generator(self._own)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        set_bit_generator(self._outer.pop())
