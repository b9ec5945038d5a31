"""A residual MLP over the flattened chunk: the fastest network that learns table-top tasks."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from bridle.policies.exceptions import PolicyError
from bridle.policies.networks.base import ConditionalNetwork
from bridle.policies.networks.time import SinusoidalEmbedding


@dataclass(frozen=True)
class MLPConfig:
    """Sizes of a `ResidualMLP`."""

    width: int = 256
    """Channels of the trunk."""
    blocks: int = 3
    """Residual blocks, each LayerNorm - Linear(2 width) - SiLU - Linear(width)."""
    time_channels: int = 64
    """Channels of the sinusoidal time embedding (even)."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.blocks < 1:
            raise PolicyError(f"width and blocks must be positive, got {self.width}, {self.blocks}")
        if self.time_channels < 2 or self.time_channels % 2:
            raise PolicyError(f"time_channels must be even, got {self.time_channels}")


class ResidualBlock(nn.Module):
    """Pre-norm residual block."""

    def __init__(self, width: int) -> None:
        """Build a block of `width` channels."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        change: Tensor = self.layers(x)
        return x + change


class ResidualMLP(ConditionalNetwork):
    """Residual MLP on the chunk, its times and the condition, joined into one vector.

    The first layer is linear in each of the three: what times and condition add to it does not
    depend on the chunk.
    """

    def __init__(
        self, horizon: int, action_size: int, cond_size: int, n_times: int, config: MLPConfig
    ) -> None:
        """Build for chunks (B, `horizon`, `action_size`) and conditions (B, `cond_size`)."""
        super().__init__()
        self.horizon, self.action_size = horizon, action_size
        self.time = SinusoidalEmbedding(config.time_channels)
        self.chunk_size = chunk = horizon * action_size
        self.input = nn.Linear(chunk + n_times * config.time_channels + cond_size, config.width)
        self.blocks = nn.Sequential(*(ResidualBlock(config.width) for _ in range(config.blocks)))
        self.output = nn.Sequential(
            nn.LayerNorm(config.width), nn.SiLU(), nn.Linear(config.width, chunk)
        )

    def modulate(
        self, times: Float[Tensor, "batch times"], cond: Float[Tensor, "batch cond"]
    ) -> Float[Tensor, "batch width"]:
        """What times and condition add to the first layer."""
        told = torch.cat([self.time(times), cond], dim=-1)
        return functional.linear(told, self.input.weight[:, self.chunk_size :], self.input.bias)

    def predict(
        self, x: Float[Tensor, "batch horizon action"], modulation: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch horizon action"]:
        """Predict one value per entry of the chunk."""
        seen = functional.linear(x.flatten(1), self.input.weight[:, : self.chunk_size])
        prediction: Tensor = self.output(self.blocks(seen + modulation))
        return prediction.reshape(-1, self.horizon, self.action_size)
