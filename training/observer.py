"""What a policy sees of an environment, and remembers of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from bridle.policies import (
    EMBEDDING,
    INSTRUCTION,
    EmbeddingEncoder,
    Policy,
    vocabulary_of,
)
from bridle.training.demonstrations.schema import CAMERA_PREFIX
from bridle.training.embeddings import embedders
from bridle.training.observations import CLOUD

Array = NDArray[Any]


class Words(Protocol):
    """Sentences to numbers: a `Vocabulary`, or the tokenizer of a bundle."""

    def encode(self, sentence: str) -> NDArray[np.int64]:
        """Tokens (L,) of a sentence."""
        ...


class Observer:
    """How a policy sees an environment."""

    def __init__(
        self,
        keys: Sequence[str],
        vocabulary: Words | None = None,
        environment: Mapping[str, Any] | None = None,
        embedder: EmbeddingEncoder | None = None,
    ) -> None:
        """Describe what is seen.

        Args:
            keys: what the policy reads.
            vocabulary: the words it knows, if it reads instructions.
            environment: what the environment is asked for, so that it gives what is read.
            embedder: what makes an embedding of pictures, if the policy reads embeddings.
        """
        self.keys = tuple(keys)
        self.vocabulary, self.environment = vocabulary, dict(environment or {})
        self._embedder = embedder
        self._cameras = () if embedder is None else tuple(embedder.config.image.cameras)
        self.seen = (*(key for key in self.keys if key != EMBEDDING), *self._cameras)
        """What is looked at: what is read, and pictures in place of embeddings."""

    @classmethod
    def of(cls, policy: Policy, environment: Mapping[str, Any]) -> Self:
        """The observer of a trained policy; what it does not look at is not drawn."""
        config = policy.config.encoder
        embedder = next(iter(embedders(policy.encoder)), None)
        observer = cls(tuple(config.inputs), vocabulary_of(config), environment, embedder)
        if not any(key == CLOUD or key.startswith(CAMERA_PREFIX) for key in observer.seen):
            observer.environment = {}
        return observer

    def frame(self, observation: Mapping[str, Array], info: Mapping[str, Any]) -> dict[str, Array]:
        """What is kept of one instant: the keys that are read, and the sentence as tokens."""
        kept = {key: observation[key] for key in self.seen if key in observation}
        if self.vocabulary is not None:
            kept[INSTRUCTION] = self.vocabulary.encode(info["instruction"])
        return kept

    def histories(self, rows: Sequence[Sequence[dict[str, Array]]]) -> dict[str, Array]:
        """Histories of frames, oldest first, as a batch: each key (B, To, ...).

        A frame is embedded when it is first needed, and only then.
        """
        if self._embedder is not None:
            new = {id(f): f for row in rows for f in row if EMBEDDING not in f}
            self._embed(self._embedder, list(new.values()))
        return {key: np.stack([[frame[key] for frame in row] for row in rows]) for key in self.keys}

    def _embed(self, embedder: EmbeddingEncoder, frames: Sequence[dict[str, Array]]) -> None:
        if not frames:
            return
        pictures = {
            camera: torch.from_numpy(np.stack([frame.pop(camera) for frame in frames]))
            for camera in self._cameras
        }
        for frame, embedding in zip(frames, embedder.embed(pictures).numpy(), strict=True):
            frame[EMBEDDING] = embedding
