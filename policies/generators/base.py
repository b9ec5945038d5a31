"""The one contract of every generator."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator as RandomState
from torch import Tensor


class Network(Protocol):
    """Anything that maps a noisy chunk, its times and a condition to a chunk-shaped prediction."""

    def __call__(
        self,
        x: Float[Tensor, "batch horizon action"],
        times: Float[Tensor, "batch times"],
        cond: Float[Tensor, "batch cond"],
    ) -> Float[Tensor, "batch horizon action"]:
        """Predict."""
        ...


@runtime_checkable
class Generator(Protocol):
    """How noise becomes a chunk: a loss to train with, and a step to walk a table with.

    Sampling, reinforcement learning on the chain and the exported graph all walk the rows of
    `table()` with `step()`, from `start(noise)` to `finish(state)`; there is no second copy of the
    time grid. The state is the chunk itself, or the chunk and what a step remembers, one after the
    other along the horizon.
    """

    n_times: int
    """Times the network is given: 1, or 2 where it is told the length of the step as well."""
    columns: tuple[str, ...]
    """Names of the table's columns. One called `std` is the noise that a sampler adds to a step's
    result; a deterministic walk leaves it out."""
    memory: int = 0
    """Chunks that a step remembers beside the present one."""
    tolerance: float = 0.0
    """A walk ends after a step that moved no chunk by more than this, root mean square in
    normalised units; 0 always takes every step."""

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

    def times(self, rows: Float[Tensor, "*rows columns"]) -> Float[Tensor, "*rows calls times"]:
        """What the network is told in each of its calls of a step, in their order."""
        ...

    def start(
        self, noise: Float[Tensor, "batch horizon action"]
    ) -> Float[Tensor, "batch state action"]:
        """The state before the first step: the noise, and zeros for what is remembered."""
        empty = torch.zeros_like(noise).repeat(1, self.memory, 1)
        return torch.cat([noise, empty], dim=1) if self.memory else noise

    def step(
        self,
        network: Network,
        x: Float[Tensor, "batch state action"],
        row: Float[Tensor, " columns"],
        cond: Float[Tensor, "batch cond"],
    ) -> tuple[Float[Tensor, "batch state action"], Float[Tensor, " batch"]]:
        """One step along the table: the next state and a score of the present one."""
        ...

    def finish(
        self, x: Float[Tensor, "batch state action"]
    ) -> Float[Tensor, "batch horizon action"]:
        """The chunk of a state, which comes before what is remembered."""
        return x[:, : x.shape[1] // (1 + self.memory)]
