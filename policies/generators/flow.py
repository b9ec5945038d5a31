"""Rectified flow: straight lines from noise to actions.

Liu et al. 2022 (arXiv 2209.03003), Lipman et al. 2022 (arXiv 2210.02747); the time convention is
ReinFlow's (arXiv 2505.22094): t = 0 is noise z, t = 1 is the action a,

    x_t = t a + (1 - t) z,      v* = a - z,      loss = |v(x_t, t) - v*|^2,

and sampling integrates dx/dt = v from t = 0 with Euler steps.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bridle.policies.exceptions import PolicyError
from bridle.policies.generators.base import Network


@dataclass(frozen=True)
class FlowConfig:
    """Settings of a `Flow`."""

    n_steps: int = 10
    """Euler steps at inference."""

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise PolicyError(f"n_steps must be at least 1, got {self.n_steps}")


class Flow:
    """Flow matching with Euler sampling. Rows of the table are (t, dt)."""

    def __init__(self, config: FlowConfig) -> None:
        """Keep the settings; a flow has no weights of its own."""
        self.config = config

    def loss(
        self,
        network: Network,
        chunk: Float[Tensor, "batch horizon action"],
        cond: Float[Tensor, "batch cond"],
        random: torch.Generator | None = None,
    ) -> Float[Tensor, "batch horizon action"]:
        """Squared error of the velocity at a uniform random time, for each entry."""
        noise = torch.randn(chunk.shape, generator=random, device=chunk.device, dtype=chunk.dtype)
        time = torch.rand(chunk.shape[0], generator=random, device=chunk.device, dtype=chunk.dtype)
        t = time[:, None, None]
        velocity = network(t * chunk + (1 - t) * noise, time, cond)
        return (velocity - (chunk - noise)).square()

    def table(self, n_steps: int | None = None) -> Float[Tensor, "steps columns"]:
        """The time grid: rows (t_k, dt) with t_k = k / K and dt = 1 / K.

        Raises:
            PolicyError: fewer than one step.
        """
        steps = self.config.n_steps if n_steps is None else n_steps
        if steps < 1:
            raise PolicyError(f"a flow needs at least 1 step, got {steps}")
        time = torch.arange(steps, dtype=torch.float32) / steps
        return torch.stack([time, torch.full_like(time, 1 / steps)], dim=1)

    def step(
        self,
        network: Network,
        x: Float[Tensor, "batch horizon action"],
        row: Float[Tensor, " columns"],
        cond: Float[Tensor, "batch cond"],
    ) -> tuple[Float[Tensor, "batch horizon action"], Float[Tensor, " batch"]]:
        """One Euler step; the score is the mean squared velocity, (B,), in normalised units."""
        time, dt = row[0], row[1]
        velocity = network(x, time.expand(x.shape[0]), cond)
        return x + dt * velocity, velocity.square().mean(dim=(1, 2))
