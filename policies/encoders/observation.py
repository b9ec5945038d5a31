"""Several encoders as one: a policy may see a state, two cameras and a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.encoders.base import Encoder, Input
from bridle.policies.encoders.objects import ObjectEncoderConfig
from bridle.policies.encoders.table import PartConfig, build_part
from bridle.policies.encoders.text import TextEncoderConfig
from bridle.policies.encoders.vocabulary import Vocabulary
from bridle.policies.exceptions import PolicyError


@dataclass(frozen=True)
class ObservationEncoderConfig:
    """Encoders whose encodings are joined."""

    parts: tuple[PartConfig, ...]
    """Settings of each, in order."""

    def __post_init__(self) -> None:
        if not self.parts:
            raise PolicyError("an observation encoder needs at least one part")
        steps = {part.n_obs_steps for part in self.parts}
        if len(steps) > 1:
            raise PolicyError(f"all parts must have one n_obs_steps, got {sorted(steps)}")
        for part in self.parts:
            for key, wanted in part.inputs.items():
                if self.inputs[key].shape != wanted.shape:
                    raise PolicyError(
                        f"'{key}' is read as {wanted.shape} and as {self.inputs[key].shape}"
                    )

    @property
    def n_obs_steps(self) -> int:
        """Observations in the history (To)."""
        return self.parts[0].n_obs_steps

    @property
    def inputs(self) -> Mapping[str, Input]:
        """What any part reads."""
        return {key: wanted for part in self.parts for key, wanted in part.inputs.items()}


EncoderConfig: TypeAlias = PartConfig | ObservationEncoderConfig


class ObservationEncoder(Encoder):
    """Joins the encodings of its parts."""

    def __init__(self, config: ObservationEncoderConfig) -> None:
        """Build all parts."""
        super().__init__()
        self.config = config
        parts = [build_part(part) for part in config.parts]
        self.parts = nn.ModuleList(parts)
        self.output_size = sum(part.output_size for part in parts)

    def _parts(self) -> list[Encoder]:
        return [part for part in self.parts if isinstance(part, Encoder)]

    def fit(self, observations: Mapping[str, Tensor]) -> None:
        """Let every part take its statistics."""
        for part in self._parts():
            part.fit(observations)

    def augment(
        self, observation: Mapping[str, Tensor], random: torch.Generator | None
    ) -> Mapping[str, Tensor]:
        """Vary what each part reads, one after the other: all see what one of them changed."""
        for part in self._parts():
            observation = part.augment(observation, random)
        return observation

    def forward(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "batch cond"]:
        """Encode with every part and join, in their order."""
        return torch.cat([part(observation) for part in self.parts], dim=-1)


def build_encoder(config: EncoderConfig) -> Encoder:
    """The encoder of some settings, of one kind or joined."""
    if isinstance(config, ObservationEncoderConfig):
        return ObservationEncoder(config)
    return build_part(config)


def parts_of(config: EncoderConfig) -> tuple[PartConfig, ...]:
    """The encoders that are joined, or the only one."""
    return config.parts if isinstance(config, ObservationEncoderConfig) else (config,)


def vocabulary_of(config: EncoderConfig) -> Vocabulary | None:
    """The words that a policy knows, if it reads instructions."""
    for part in parts_of(config):
        if isinstance(part, TextEncoderConfig):
            return part.vocabulary
        if isinstance(part, ObjectEncoderConfig):
            return part.text.vocabulary
    return None
