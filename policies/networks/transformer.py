"""The diffusion transformer: one token per action, times and condition as adaptive normalisation.

DiT: Peebles and Xie 2023 (arXiv 2212.09748); for actions: Dasari et al. 2024 (arXiv 2410.10088).
Attention is written out: the fused kernels have no second derivative, which energies need, and do
not export.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.exceptions import PolicyError
from bridle.policies.networks.base import ConditionalNetwork
from bridle.policies.networks.time import TimeEmbedding


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a `Transformer`."""

    width: int = 128
    """Channels of a token."""
    layers: int = 4
    """Blocks of attention and feed-forward."""
    heads: int = 4
    """Heads of the attention; divides the width."""
    time_channels: int = 64
    """Channels of the sinusoidal embedding of the times (even)."""

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.heads) < 1 or self.width % self.heads:
            raise PolicyError(
                f"width must be a multiple of heads and all positive, got {self.width}, "
                f"{self.heads} heads, {self.layers} layers"
            )


class Attention(nn.Module):
    """Multi-head self-attention of (B, tokens, width), in plain operations."""

    def __init__(self, width: int, heads: int) -> None:
        """Build for tokens of `width` channels."""
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "batch tokens width"]) -> Tensor:
        """Same shape in and out."""
        batch, tokens, width = x.shape
        parts = self.inputs(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind()
        weights = (query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)).softmax(-1)
        mixed = (weights @ value).transpose(1, 2).reshape(batch, tokens, width)
        result: Tensor = self.output(mixed)
        return result


class _Block(nn.Module):
    """Attention and feed-forward, each scaled, shifted and gated by the condition (adaLN-Zero)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.attention = Attention(width, heads)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width)
        )
        modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(modulation.weight)
        nn.init.zeros_(modulation.bias)
        self.modulation = nn.Sequential(nn.SiLU(), modulation)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        parts = modulation[:, None].chunk(6, dim=-1)
        for part, norm, (shift, scale, gate) in zip(
            (self.attention, self.feed_forward), self.norms, (parts[:3], parts[3:]), strict=True
        ):
            x = x + gate * part(norm(x) * (1 + scale) + shift)
        return x


class Transformer(ConditionalNetwork):
    """A transformer over the actions of a chunk."""

    def __init__(
        self, horizon: int, action_size: int, cond_size: int, n_times: int,
        config: TransformerConfig,
    ) -> None:  # fmt: skip
        """Build for chunks (B, `horizon`, `action_size`) and conditions (B, `cond_size`)."""
        super().__init__()
        width = config.width
        self.input = nn.Linear(action_size, width)
        self.position = nn.Parameter(0.02 * torch.randn(1, horizon, width))
        self.time = TimeEmbedding(n_times, config.time_channels)
        self.cond = nn.Sequential(
            nn.Linear(config.time_channels + cond_size, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, width),
        )
        self.blocks = nn.ModuleList(_Block(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.output = nn.Linear(width, action_size)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def modulate(
        self, times: Float[Tensor, "batch times"], cond: Float[Tensor, "batch cond"]
    ) -> Float[Tensor, "batch modulation"]:
        """Scales, shifts and gates of each block, and those of the output at the end."""
        told = self.cond(torch.cat([self.time(times), cond], dim=-1))
        modulated = (*self.blocks, self)
        return torch.cat([each.modulation(told) for each in modulated], dim=-1)

    def predict(
        self,
        x: Float[Tensor, "batch horizon action"],
        modulation: Float[Tensor, "batch modulation"],
    ) -> Float[Tensor, "batch horizon action"]:
        """Predict one value per entry of the chunk."""
        width = self.input.out_features
        sizes = [6 * width] * len(self.blocks) + [2 * width]
        *blocks, last = modulation.split_with_sizes(sizes, dim=-1)
        hidden = self.input(x) + self.position
        for block, each in zip(self.blocks, blocks, strict=True):
            hidden = block(hidden, each)
        shift, scale = last[:, None].chunk(2, dim=-1)
        prediction: Tensor = self.output(self.norm(hidden) * (1 + scale) + shift)
        return prediction
