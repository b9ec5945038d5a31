"""A residual MLP over the flattened chunk: the fastest network that learns table-top tasks."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.exceptions import PolicyError


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


class SinusoidalEmbedding(nn.Module):
    """Time in [0, 1] as sines and cosines of geometrically spaced frequencies (Vaswani 2017).

    The frequencies span 1 to 1000 radians over the unit interval, so that the ends of a flow and
    its middle are told apart at every scale.
    """

    frequencies: Tensor

    def __init__(self, channels: int) -> None:
        """Precompute `channels / 2` frequencies."""
        super().__init__()
        exponents = torch.linspace(0.0, math.log(1000.0), channels // 2)
        self.register_buffer("frequencies", exponents.exp(), persistent=False)

    def forward(self, time: Float[Tensor, " batch"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of times."""
        angles = time[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


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


class ResidualMLP(nn.Module):
    """Residual MLP on the chunk, its time and the condition, joined into one vector."""

    def __init__(self, horizon: int, action_size: int, cond_size: int, config: MLPConfig) -> None:
        """Build for chunks (B, `horizon`, `action_size`) and conditions (B, `cond_size`)."""
        super().__init__()
        self.horizon, self.action_size = horizon, action_size
        self.time = SinusoidalEmbedding(config.time_channels)
        chunk = horizon * action_size
        self.input = nn.Linear(chunk + config.time_channels + cond_size, config.width)
        self.blocks = nn.Sequential(*(ResidualBlock(config.width) for _ in range(config.blocks)))
        self.output = nn.Sequential(
            nn.LayerNorm(config.width), nn.SiLU(), nn.Linear(config.width, chunk)
        )

    def forward(
        self,
        x: Float[Tensor, "batch horizon action"],
        time: Float[Tensor, " batch"],
        cond: Float[Tensor, "batch cond"],
    ) -> Float[Tensor, "batch horizon action"]:
        """Predict one value per entry of the chunk."""
        joined = torch.cat([x.flatten(1), self.time(time), cond], dim=-1)
        hidden = self.blocks(self.input(joined))
        prediction: Tensor = self.output(hidden)
        return prediction.reshape(-1, self.horizon, self.action_size)
