"""Embeddings: pictures that a frozen encoder has looked at before, so that a long history is cheap.

Stage two of Past-Token Prediction (arXiv 2505.09561): an image encoder is trained with a short
history and frozen, every frame of the demonstrations is encoded once, and a policy with a long
history is trained on the results. On the robot the frozen encoder, which travels with the policy,
encodes each new frame once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from bridle.policies.encoders.base import Encoder, Input, check, check_n_obs_steps
from bridle.policies.encoders.image import ImageEncoder, ImageEncoderConfig
from bridle.policies.exceptions import PolicyError
from bridle.policies.normalizer import Normalizer

EMBEDDING = "embedding"


@dataclass(frozen=True)
class EmbeddingEncoderConfig:
    """Settings of an `EmbeddingEncoder`."""

    image: ImageEncoderConfig
    """The encoder that is frozen; it sees one frame."""
    n_obs_steps: int = 1
    """Observations in the history (To)."""

    def __post_init__(self) -> None:
        check_n_obs_steps(self.n_obs_steps)
        if self.image.n_obs_steps != 1:
            raise PolicyError(
                f"a frozen encoder sees one frame, got n_obs_steps {self.image.n_obs_steps}"
            )

    @property
    def size(self) -> int:
        """Numbers of a frame (E)."""
        return len(self.image.cameras) * self.image.features

    @property
    def inputs(self) -> Mapping[str, Input]:
        """The embeddings of the frames."""
        return {EMBEDDING: Input((self.size,))}


class EmbeddingEncoder(Encoder):
    """Normalises embeddings and joins their history: (B, To, E) -> (B, To * E)."""

    def __init__(self, config: EmbeddingEncoderConfig) -> None:
        """Build; `frozen` must be given the weights of a trained encoder."""
        super().__init__()
        self.config = config
        self.frozen = ImageEncoder(config.image).requires_grad_(False)
        self.normalizer = Normalizer({EMBEDDING: config.size})
        self.output_size = config.n_obs_steps * config.size

    def fit(self, observations: Mapping[str, Tensor]) -> None:
        """Take the statistics of embeddings (rows, E)."""
        self.normalizer.fit(EMBEDDING, observations[EMBEDDING])

    @torch.no_grad()
    def embed(
        self, pictures: Mapping[str, UInt8[Tensor, "batch height width 3"]]
    ) -> Float[Tensor, "batch features"]:
        """The embeddings of frames: one picture of every camera each."""
        embedding: Tensor = self.frozen({key: values[:, None] for key, values in pictures.items()})
        return embedding

    def forward(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "batch cond"]:
        """Encode a history of embeddings."""
        check(observation, self.config)
        return self.normalizer.normalize(EMBEDDING, observation[EMBEDDING]).flatten(1)
