"""The one contract of every encoder."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.exceptions import PolicyError
from bridle.policies.normalizer import Normalizer


@dataclass(frozen=True)
class Input:
    """What an encoder expects of one observation."""

    shape: tuple[int, ...]
    """Shape of one time step."""
    dtype: torch.dtype = torch.float32
    """Type of the numbers; any floating point stands for all of them."""
    fitted: bool = True
    """Whether `fit` takes statistics of it."""


class EncoderConfig(Protocol):
    """What is asked of the settings of an encoder."""

    @property
    def n_obs_steps(self) -> int:
        """Observations in the history (To)."""
        ...

    @property
    def inputs(self) -> Mapping[str, Input]:
        """What is read: observation key -> what it must be."""
        ...


class Encoder(nn.Module, ABC):
    """Observations with history in, one conditioning vector out.

    An encoder overrides `fit` if it takes statistics, and `augment` if it has a way to vary what it
    reads in training.
    """

    output_size: int
    """Channels of the encoding (C)."""

    def fit(self, observations: Mapping[str, Tensor]) -> None:
        """Take the statistics of the inputs that are `fitted`, each (rows, *shape).

        Different keys may have different numbers of rows if they are not combined.
        """

    def check_fitted(self) -> None:
        """Raise PolicyError when statistics are missing."""
        for module in self.modules():
            if isinstance(module, Normalizer):
                module.check_fitted()

    def augment(
        self, observation: Mapping[str, Tensor], random: torch.Generator | None
    ) -> Mapping[str, Tensor]:
        """Vary a training batch without changing which actions are right.

        Args:
            observation: as in `forward`; whatever else the batch holds stays as it is.
            random: source of the variation; None draws from the global state.
        """
        return observation

    @abstractmethod
    def forward(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "batch cond"]:
        """Encode a history.

        Args:
            observation: each key (B, To, *shape), physical units, oldest first.

        Raises:
            PolicyError: an input is missing, or has another shape or dtype.
        """


def check(
    observation: Mapping[str, Tensor],
    config: EncoderConfig,
    instead: Mapping[str, Input] | None = None,
) -> None:
    """Refuse an observation that is not what an encoder reads.

    Args:
        observation: what is there.
        config: says what must be.
        instead: other things that some keys may be.

    Raises:
        PolicyError: naming the key, what was expected and what was got.
    """
    for key, wanted in (dict(config.inputs) | dict(instead or {})).items():
        if key not in observation:
            raise PolicyError(
                f"observation '{key}' is missing; observed are {', '.join(observation) or 'none'}"
            )
        values = observation[key]
        expected = (config.n_obs_steps, *wanted.shape)
        if tuple(values.shape[1:]) != expected:
            raise PolicyError(
                f"observation '{key}' must be (B, {', '.join(map(str, expected))}), "
                f"got {tuple(values.shape)}"
            )
        if values.dtype != wanted.dtype and not (
            wanted.dtype.is_floating_point and values.dtype.is_floating_point
        ):
            raise PolicyError(f"observation '{key}' must be {wanted.dtype}, got {values.dtype}")


def check_n_obs_steps(n_obs_steps: int) -> None:
    """Raise PolicyError for a history without an observation."""
    if n_obs_steps < 1:
        raise PolicyError(f"n_obs_steps must be at least 1, got {n_obs_steps}")
