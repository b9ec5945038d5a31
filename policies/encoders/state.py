"""State: numbers as they are, normalised, with their history."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bridle.policies.encoders.base import Encoder, Input, check, check_n_obs_steps
from bridle.policies.exceptions import PolicyError
from bridle.policies.normalizer import Normalizer


@dataclass(frozen=True)
class Difference:
    """A feature `minuend[start:start+size] - subtrahend[start:start+size]` of two observations.

    Where the tool is relative to the object matters more than where either is; giving the
    difference saves the network from learning a subtraction.
    """

    minuend: str
    minuend_start: int
    subtrahend: str
    subtrahend_start: int
    size: int

    @property
    def name(self) -> str:
        """A readable, unique name."""
        a, b, n = self.minuend_start, self.subtrahend_start, self.size
        return f"{self.minuend}[{a}:{a + n}]-{self.subtrahend}[{b}:{b + n}]"


@dataclass(frozen=True)
class StateEncoderConfig:
    """What a `StateEncoder` reads."""

    keys: Mapping[str, int]
    """Observation key -> number of channels, in order."""
    differences: tuple[Difference, ...] = ()
    """Derived features, appended after the keys."""
    n_obs_steps: int = 1
    """Observations in the history (To)."""

    def __post_init__(self) -> None:
        if not self.keys or any(size < 1 for size in self.keys.values()):
            raise PolicyError(f"keys must name channels, got {dict(self.keys)}")
        check_n_obs_steps(self.n_obs_steps)
        for d in self.differences:
            for key, start in ((d.minuend, d.minuend_start), (d.subtrahend, d.subtrahend_start)):
                if not 0 <= start < start + d.size <= self.keys.get(key, 0):
                    raise PolicyError(
                        f"difference {d.name}: '{key}' has {self.keys.get(key, 'no')} channels"
                    )

    @property
    def inputs(self) -> Mapping[str, Input]:
        """The keys, as vectors."""
        return {key: Input((size,)) for key, size in self.keys.items()}


class StateEncoder(Encoder):
    """Normalises state observations and joins their history: (B, To, d) each -> (B, To * D)."""

    def __init__(self, config: StateEncoderConfig) -> None:
        """Build an encoder with unfitted statistics."""
        super().__init__()
        self.config = config
        sizes = dict(config.keys) | {d.name: d.size for d in config.differences}
        self.normalizer = Normalizer(sizes)
        self.output_size = config.n_obs_steps * sum(sizes.values())

    def features(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The features in physical units, each (..., d)."""
        features = {key: observation[key] for key in self.config.keys}
        for d in self.config.differences:
            features[d.name] = (
                observation[d.minuend][..., d.minuend_start : d.minuend_start + d.size]
                - observation[d.subtrahend][..., d.subtrahend_start : d.subtrahend_start + d.size]
            )
        return features

    def fit(self, observations: Mapping[str, Tensor]) -> None:
        """Take the normalisation statistics from observations, each (rows, d)."""
        for name, values in self.features(observations).items():
            self.normalizer.fit(name, values)

    def forward(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "batch cond"]:
        """Encode a history: each key (B, To, d) -> (B, To * D), normalised, oldest first."""
        check(observation, self.config)
        features = self.features(observation)
        joined = torch.cat(
            [self.normalizer.normalize(name, value) for name, value in features.items()], dim=-1
        )
        return joined.flatten(1)
