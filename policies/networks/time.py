"""How networks are told the time."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.exceptions import PolicyError


class SinusoidalEmbedding(nn.Module):
    """Times in [0, 1] as sines and cosines of geometrically spaced frequencies (Vaswani 2017).

    The frequencies span 1 to 1000 radians over the unit interval, so that the ends of a flow and
    its middle are told apart at every scale.
    """

    frequencies: Tensor

    def __init__(self, channels: int) -> None:
        """Precompute `channels / 2` frequencies.

        Raises:
            PolicyError: an odd number of channels, or none.
        """
        super().__init__()
        if channels < 2 or channels % 2:
            raise PolicyError(f"time_channels must be even, got {channels}")
        exponents = torch.linspace(0.0, math.log(1000.0), channels // 2)
        self.register_buffer("frequencies", exponents.exp(), persistent=False)

    def forward(self, times: Float[Tensor, "batch times"]) -> Float[Tensor, "batch embedding"]:
        """Embed a batch of times, each in `channels` of its own."""
        angles = times[:, :, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)


class TimeEmbedding(nn.Sequential):
    """A sinusoidal embedding and a small network after it."""

    def __init__(self, n_times: int, channels: int) -> None:
        """Build for `n_times` times; `channels` come out."""
        super().__init__(
            SinusoidalEmbedding(channels),
            nn.Linear(n_times * channels, 4 * channels),
            nn.SiLU(),
            nn.Linear(4 * channels, channels),
        )
