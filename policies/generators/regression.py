"""Plain regression on the chunk: no generator at all, but the baseline that every one must beat."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bridle.policies.exceptions import PolicyError
from bridle.policies.generators.base import Generator, Network


@dataclass(frozen=True)
class RegressionConfig:
    """A `Regression` has no settings."""


class Regression(Generator):
    """The mean chunk of an observation: where there are two ways, what lies between them."""

    n_times = 1
    columns: tuple[str, ...] = ("time",)

    def __init__(self, config: RegressionConfig) -> None:
        """Keep the settings."""
        self.config = config

    def _predict(self, network: Network, like: Tensor, row: Tensor, cond: Tensor) -> Tensor:
        times = self.times(row).expand(like.shape[0], -1)
        return network(torch.zeros_like(like), times, cond)

    def loss(
        self,
        network: Network,
        chunk: Float[Tensor, "batch horizon action"],
        cond: Float[Tensor, "batch cond"],
        random: torch.Generator | None = None,
    ) -> Float[Tensor, "batch horizon action"]:
        """Squared error of each entry."""
        return (self._predict(network, chunk, chunk.new_zeros(1), cond) - chunk).square()

    def table(self, n_steps: int | None = None) -> Float[Tensor, "steps columns"]:
        """One row.

        Raises:
            PolicyError: more than one step was asked for.
        """
        if n_steps not in (None, 1):
            raise PolicyError(f"a regression takes 1 step, got {n_steps}")
        return torch.zeros(1, 1)

    def times(self, rows: Float[Tensor, "*rows columns"]) -> Float[Tensor, "*rows calls times"]:
        """Always zero, as the table is."""
        return rows[..., None, :]

    def step(
        self,
        network: Network,
        x: Float[Tensor, "batch horizon action"],
        row: Float[Tensor, " columns"],
        cond: Float[Tensor, "batch cond"],
    ) -> tuple[Float[Tensor, "batch horizon action"], Float[Tensor, " batch"]]:
        """The prediction; the score is its mean square."""
        prediction = self._predict(network, x, row, cond)
        return prediction, prediction.square().mean(dim=(1, 2))
