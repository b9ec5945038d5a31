"""Observations as they come, checked against what a policy takes."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.bundle import COMMITTED, N_COMMITTED, Manifest
from bridle.deploy.exceptions import InferenceError

Array = NDArray[Any]


class InputCheck:
    """What a manifest says of its inputs, prepared for every inference."""

    def __init__(self, manifest: Manifest) -> None:
        """Prepare."""
        self._inputs = [
            (spec.name, np.dtype(spec.dtype), tuple(spec.shape[1:])) for spec in manifest.inputs
        ]
        self._chunk_shape = (manifest.horizon, len(manifest.joint_names))
        self._most_committed = manifest.committed

    def __call__(
        self, observation: Mapping[str, Array], noise: Array | None = None
    ) -> dict[str, Array]:
        """The inputs of the encoder.

        Args:
            observation: every input of the manifest, (B, To, *shape), physical units.
            noise: (B, H, A) float32; then an observation may also be one for all.

        Raises:
            InferenceError: a key is missing, a shape is wrong, or a number is not finite.
        """
        batches: tuple[int, ...] = ()
        if noise is not None:
            batch = noise.shape[0] if noise.ndim == 3 else 0
            if not batch or noise.shape[1:] != self._chunk_shape or noise.dtype != np.float32:
                raise InferenceError(
                    f"noise must be float32 (B, {self._chunk_shape[0]}, {self._chunk_shape[1]}), "
                    f"got {noise.dtype} {noise.shape}"
                )
            batches = (batch, 1)
        feed: dict[str, Array] = {}
        for name, dtype, shape in self._inputs:
            if name not in observation:
                raise InferenceError(f"observation '{name}' is missing")
            value = np.asarray(observation[name])
            if value.dtype != dtype:
                if dtype != np.float32:
                    raise InferenceError(f"observation '{name}' must be {dtype}, got {value.dtype}")
                value = value.astype(np.float32)
            # All have the batch of the first, and that is the noise's or 1.
            batches = batches or (len(value) if value.ndim else 0,)
            if value.shape[1:] != shape or len(value) not in batches:
                raise InferenceError(
                    f"observation '{name}' must be {(batches[0], *shape)}, got {value.shape}"
                )
            batches = (len(value),)
            if dtype == np.float32 and not is_finite(value):
                raise InferenceError(f"observation '{name}' has numbers that are not finite")
            feed[name] = value
        if self._most_committed:
            feed |= self._committed(observation, batches[0])
        return feed

    def _committed(self, observation: Mapping[str, Array], batch: int) -> dict[str, Array]:
        """The committed actions of an observation and how many count; none if it has neither."""
        given = [key for key in (COMMITTED, N_COMMITTED) if key in observation]
        if len(given) == 1:
            raise InferenceError(f"{COMMITTED} and {N_COMMITTED} go together, got only {given[0]}")
        most, channels = self._most_committed, self._chunk_shape[1]
        if not given:
            none = np.zeros((batch, most, channels), np.float32)
            return {COMMITTED: none, N_COMMITTED: np.zeros((batch, 1), np.int64)}
        actions = np.asarray(observation[COMMITTED]).astype(np.float32, copy=False)
        n = np.asarray(observation[N_COMMITTED])
        if actions.shape != (batch, most, channels):
            raise InferenceError(
                f"{COMMITTED} must be {(batch, most, channels)}, got {actions.shape}"
            )
        if not is_finite(actions):
            raise InferenceError(f"{COMMITTED} has numbers that are not finite")
        if n.shape != (batch, 1) or n.dtype != np.int64:
            raise InferenceError(
                f"{N_COMMITTED} must be int64 {(batch, 1)}, got {n.dtype} {n.shape}"
            )
        if n.min() < 0 or n.max() > most:
            raise InferenceError(f"{N_COMMITTED} must lie in 0..{most}, got {n.min()} to {n.max()}")
        return {COMMITTED: actions, N_COMMITTED: n}


def is_finite(values: NDArray[np.float32]) -> bool:
    """Whether all are. A third of the time of `numpy.isfinite` where they are and are not huge."""
    return math.isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())
