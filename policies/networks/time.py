"""How networks are told the time."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.exceptions import PolicyError

SPAN = (1.0, 1000.0)
"""First and last frequency over the unit interval [rad]."""


class SinusoidalEmbedding(nn.Module):
    """Times in [0, 1] as sines and cosines of geometrically spaced frequencies (Vaswani 2017).

    By default the frequencies span 1 to 1000 radians over the unit interval, so that the ends of a
    flow and its middle are told apart at every scale.
    """

    frequencies: Tensor

    def __init__(self, channels: int, span: tuple[float, float] = SPAN) -> None:
        """Precompute `channels / 2` frequencies, from the first of `span` to the last.

        Raises:
            PolicyError: an odd number of channels, or none; a frequency that is not positive.
        """
        super().__init__()
        if channels < 2 or channels % 2:
            raise PolicyError(f"time_channels must be even, got {channels}")
        first, last = span
        if not (0 < first < math.inf and 0 < last < math.inf):
            raise PolicyError(f"frequencies of times must be positive, got {span}")
        exponents = torch.linspace(0.0, math.log(last / first), channels // 2)
        self.register_buffer("frequencies", first * exponents.exp(), persistent=False)

    def forward(self, times: Float[Tensor, "batch times"]) -> Float[Tensor, "batch embedding"]:
        """Embed a batch of times, each in `channels` of its own."""
        angles = times[:, :, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)


class TimeEmbedding(nn.Sequential):
    """A sinusoidal embedding and a small network after it."""

    def __init__(
        self,
        n_times: int,
        channels: int,
        span: tuple[float, float] = SPAN,
        activation: nn.Module | None = None,
    ) -> None:
        """Build for `n_times` times; `channels` come out.

        Args:
            n_times: times that are embedded.
            channels: of the result, and of the sines and cosines of each time.
            span: first and last frequency [rad].
            activation: of the hidden layer; None takes SiLU.
        """
        super().__init__(
            SinusoidalEmbedding(channels, span),
            nn.Linear(n_times * channels, 4 * channels),
            nn.SiLU() if activation is None else activation,
            nn.Linear(4 * channels, channels),
        )
