"""A policy server that keeps what each chunk was sampled from, for scores of it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.execution import ChunkSampler
from bridle.deploy.execution.guidance import Previous
from bridle.deploy.execution.sampling import Sampled
from bridle.deploy.familiarity.scores import Planned
from bridle.deploy.serving import PolicyServer, TimedChunk


class _Recalling(ChunkSampler):
    """Remembers the last sample."""

    last: tuple[Mapping[str, NDArray[Any]], Sampled]

    def __call__(
        self,
        observation: Mapping[str, NDArray[Any]],
        random: np.random.Generator,
        previous: Previous | None = None,
    ) -> Sampled:
        sampled = super().__call__(observation, random, previous)
        self.last = observation, sampled
        return sampled


class ListenedServer(PolicyServer):
    """Tells a listener of every chunk that it plans."""

    def __init__(self, *args: Any, listener: Callable[[Planned], None], **settings: Any) -> None:
        """Take what a `PolicyServer` takes, and who listens."""
        super().__init__(*args, **settings)
        self._recalling = _Recalling(self.runtime, self._execution)
        self._sampler = self._recalling
        self._listener = listener

    def plan(self) -> TimedChunk:
        """See `PolicyServer.plan`."""
        spacing = self.manifest.dt / self.steering.pace
        chunk = super().plan()
        observation, sampled = self._recalling.last
        self._listener(
            Planned(observation, sampled.positions, sampled.score, 1e-9 * chunk.stamp, spacing)
        )
        return chunk
