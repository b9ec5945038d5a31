"""The one contract of every generator."""

from typing import Protocol

from jaxtyping import Float
from torch import Generator as RandomState
from torch import Tensor


class Network(Protocol):
    """Anything that maps a noisy chunk, its time and a condition to a chunk-shaped prediction."""

    def __call__(
        self,
        x: Float[Tensor, "batch horizon action"],
        time: Float[Tensor, " batch"],
        cond: Float[Tensor, "batch cond"],
    ) -> Float[Tensor, "batch horizon action"]:
        """Predict."""
        ...


class Generator(Protocol):
    """How noise becomes a chunk: a loss to train with, and a step to walk a table with.

    Sampling, reinforcement learning on the chain and the exported graph all walk the rows of
    `table()` with `step()`; there is no second copy of the time grid.
    """

    def loss(
        self,
        network: Network,
        chunk: Float[Tensor, "batch horizon action"],
        cond: Float[Tensor, "batch cond"],
        random: RandomState | None = None,
    ) -> Float[Tensor, "batch horizon action"]:
        """Training loss of each entry of a chunk, in normalised units."""
        ...

    def table(self, n_steps: int | None = None) -> Float[Tensor, "steps columns"]:
        """One row of coefficients per step."""
        ...

    def step(
        self,
        network: Network,
        x: Float[Tensor, "batch horizon action"],
        row: Float[Tensor, " columns"],
        cond: Float[Tensor, "batch cond"],
    ) -> tuple[Float[Tensor, "batch horizon action"], Float[Tensor, " batch"]]:
        """One step along the table: the next chunk and a score of the present one."""
        ...
