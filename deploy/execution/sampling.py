"""Chunks as a strategy wants them: sampled freely, or to continue what is being executed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.bundle import N_COMMITTED
from bridle.deploy.exceptions import InferenceError
from bridle.deploy.execution.feasibility import Feasibility, safest
from bridle.deploy.execution.guidance import Previous, continued, guided_sample, misfit
from bridle.deploy.execution.levels import levels
from bridle.deploy.execution.merging import ExecutionConfig, Strategy
from bridle.deploy.execution.served import ServedPolicy
from bridle.deploy.runtime import Runtime

Array = NDArray[Any]


class Sampled(NamedTuple):
    """One chunk."""

    positions: NDArray[np.float64]
    """(rows, A) absolute positions [rad], the first of the newest observation."""
    score: float
    """The generator's score of the last step."""
    feasibility: float
    """Q_h of the chunk, above 0 where a critic expects that something will be touched; NaN where
    the bundle has no critic."""


class ChunkSampler:
    """Samples chunks of a bundle, one at a time."""

    def __init__(self, runtime: Runtime, config: ExecutionConfig) -> None:
        """Prepare for a strategy.

        Raises:
            InferenceError: `rtc`, and the policy cannot be made to continue a chunk; why.
        """
        manifest = runtime.manifest
        self._runtime = runtime
        self._committed = manifest.committed
        self._candidates = config.candidates if config.strategy == "rtc" else 1
        self._feasibility = Feasibility(runtime, config.safest) if runtime.judges else None
        self._guided: ServedPolicy | None = None
        if config.strategy == "rtc":
            try:
                guided = ServedPolicy(runtime)
                levels(guided.columns, runtime.table())
                self._guided = guided
            except InferenceError:
                # One that was trained for it needs no guidance.
                if not self._committed:
                    raise
        self._soft = config.mask_for(manifest.sees) == "soft"
        self._shape = (manifest.horizon, len(manifest.joint_names))
        self._first = manifest.first_action
        self.rows = manifest.horizon - manifest.first_action
        """Rows of a chunk."""

    def __call__(
        self,
        observation: Mapping[str, Array],
        random: np.random.Generator,
        previous: Previous | None = None,
    ) -> Sampled:
        """Sample.

        Args:
            observation: every input of the manifest, (1, To, *shape), physical units.
            random: source of the noise.
            previous: what to continue, if the strategy is `rtc`.

        Raises:
            InferenceError: an observation is missing or bad.
        """
        n = 1 if previous is None else self._candidates
        if self._feasibility is not None:
            n = max(n, self._feasibility.candidates)
        noise = random.standard_normal((n, *self._shape), dtype=np.float32)
        if previous is None or previous.delay <= self._committed or self._guided is None:
            chunks, scores = self._inferred(observation, noise, previous)
        else:
            by = previous if self._soft else replace(previous, until=previous.delay)
            chunks, scores = guided_sample(
                self._guided, observation, noise, by, first_row=self._first
            )
            chunks = chunks[:, self._first :].astype(np.float64)
        if not np.isfinite(chunks).all():
            raise InferenceError("the policy gave numbers that are not finite")
        costs = np.zeros(n) if previous is None else misfit(chunks, previous)
        if self._feasibility is None:
            chosen, q_h = int(costs.argmin()), np.full(n, np.nan)
        else:
            q_h = self._feasibility(observation, chunks)
            chosen = safest(q_h, costs)
        return Sampled(chunks[chosen], scores[chosen].item(), float(q_h[chosen]))

    def _inferred(
        self, observation: Mapping[str, Array], noise: Array, previous: Previous | None
    ) -> tuple[Array, Array]:
        """Chunks from the newest observation on, and their scores, of one graph."""
        if previous is None:
            inference = self._runtime.infer(observation, noise)
            return inference.chunk[:, self._first :].astype(np.float64), inference.score
        # Where all that it was trained for is less than the delay, it is the best there is.
        delay = min(previous.delay, self._committed)
        given = continued(observation, replace(previous, delay=delay), self._committed)
        inference = self._runtime.infer(given, noise)
        chunks = inference.chunk[:, self._first :].astype(np.float64)
        # What it was given comes out a little different, and is executed as it was given.
        n = int(given[N_COMMITTED][0, 0])
        chunks[:, :n] = previous.positions[:n]
        return chunks, inference.score

    def warm_up(self) -> None:
        """Run every graph once, so that the first real inference is as fast as the others."""
        observation = {
            spec.name: np.zeros((1, *spec.shape[1:]), spec.dtype)
            for spec in self._runtime.manifest.inputs
        }
        random = np.random.default_rng(0)
        self(observation, random)
        if self._guided is not None or self._committed:
            nowhere = np.zeros((self.rows, self._shape[1]))
            # One that was trained for some delays is guided over longer ones.
            for delay in {0, min(self._committed + 1, self.rows)}:
                self(observation, random, Previous(nowhere, delay, self.rows))


def suited(runtime: Runtime) -> Strategy:
    """`rtc` for a policy that can be made to continue a chunk, else `replace`."""
    try:
        ChunkSampler(runtime, ExecutionConfig("rtc"))
    except InferenceError:
        return "replace"
    return "rtc"
