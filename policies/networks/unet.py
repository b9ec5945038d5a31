"""The conditional 1-D U-Net of Diffusion Policy (arXiv 2303.04137, after Janner et al. 2205.09991).

Convolutions run along the horizon. Times and condition enter every block as a scale and a shift of
its channels (FiLM, Perez et al. 2018, arXiv 1709.07871).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.exceptions import PolicyError
from bridle.policies.networks.base import ConditionalNetwork
from bridle.policies.networks.time import SPAN, TimeEmbedding

Activation = Literal["silu", "mish"]


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of a `UNet1D`; the defaults are the small one, (256, 512, 1024) is the published."""

    channels: tuple[int, ...] = (64, 128, 256)
    """Channels of each level; the horizon is halved from one to the next."""
    kernel: int = 5
    """Width of the convolutions (odd)."""
    groups: int = 8
    """Groups of the group normalisation; divides every level's channels."""
    time_channels: int = 256
    """Channels of the embedding of the times (even)."""
    activation: Activation = "silu"
    """`silu` is as good as the published `mish` and faster in ONNX Runtime."""
    time_activation: Activation = "silu"
    """The same in the embedding of the times."""
    time_span: tuple[float, float] = SPAN
    """First and last frequency of that embedding, times being 0 to 1 [rad]. The published one goes
    by steps of the schedule, from 1 rad a step down: (T, T / 10000) with T training steps."""

    def __post_init__(self) -> None:
        if not self.channels or any(c < 1 or c % self.groups for c in self.channels):
            raise PolicyError(
                f"channels must be multiples of groups = {self.groups}, got {self.channels}"
            )
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise PolicyError(f"kernel must be odd, got {self.kernel}")
        for name in ("activation", "time_activation"):
            if getattr(self, name) not in get_args(Activation):
                raise PolicyError(f"{name} must be silu or mish, got {getattr(self, name)!r}")


def _activation(name: Activation) -> nn.Module:
    return nn.SiLU() if name == "silu" else nn.Mish()


class _ConvBlock(nn.Sequential):
    """Convolution, group normalisation, activation."""

    def __init__(self, inputs: int, outputs: int, config: UNetConfig) -> None:
        super().__init__(
            nn.Conv1d(inputs, outputs, config.kernel, padding=config.kernel // 2),
            nn.GroupNorm(config.groups, outputs),
            _activation(config.activation),
        )


class _FiLMBlock(nn.Module):
    """Two convolution blocks with a scale and shift in between, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, cond_size: int, config: UNetConfig) -> None:
        super().__init__()
        self.outputs = outputs
        self.first = _ConvBlock(inputs, outputs, config)
        self.film = nn.Sequential(_activation(config.activation), nn.Linear(cond_size, 2 * outputs))
        self.second = _ConvBlock(outputs, outputs, config)
        self.shortcut = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, films: Iterator[Tensor]) -> Tensor:
        hidden = self.second(next(films) * self.first(x) + next(films))
        result: Tensor = hidden + self.shortcut(x)
        return result


class _Level(nn.Module):
    """Two blocks at one resolution, and the way to the next."""

    def __init__(
        self, inputs: int, outputs: int, cond_size: int, leave: nn.Module, config: UNetConfig
    ) -> None:
        super().__init__()
        self.first = _FiLMBlock(inputs, outputs, cond_size, config)
        self.second = _FiLMBlock(outputs, outputs, cond_size, config)
        self.leave = leave

    def forward(self, x: Tensor, films: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
        """What the next level gets, and what this one saw."""
        seen: Tensor = self.second(self.first(x, films), films)
        return self.leave(seen), seen


class UNet1D(ConditionalNetwork):
    """Down, through the middle and up again, with what each level saw handed across."""

    def __init__(
        self, horizon: int, action_size: int, cond_size: int, n_times: int, config: UNetConfig
    ) -> None:
        """Build for chunks (B, `horizon`, `action_size`) and conditions (B, `cond_size`).

        Raises:
            PolicyError: the horizon cannot be halved once per level after the first.
        """
        super().__init__()
        halvings = len(config.channels) - 1
        if horizon % 2**halvings:
            raise PolicyError(
                f"a U-Net of {len(config.channels)} levels needs a horizon that is a multiple of "
                f"{2**halvings}, got {horizon}"
            )
        self.time = TimeEmbedding(
            n_times, config.time_channels, config.time_span, _activation(config.time_activation)
        )
        size = config.time_channels + cond_size
        widths = [action_size, *config.channels]
        self.down = nn.ModuleList()
        for level, (inputs, outputs) in enumerate(pairwise(widths)):
            halve = nn.Conv1d(outputs, outputs, 3, 2, 1) if level < halvings else nn.Identity()
            self.down.append(_Level(inputs, outputs, size, halve, config))
        bottom = config.channels[-1]
        self.middle = nn.ModuleList(_FiLMBlock(bottom, bottom, size, config) for _ in range(2))
        self.up = nn.ModuleList()
        for inputs, outputs in zip(config.channels[:0:-1], config.channels[-2::-1], strict=True):
            double = nn.ConvTranspose1d(outputs, outputs, 4, 2, 1)
            self.up.append(_Level(2 * inputs, outputs, size, double, config))
        top = config.channels[0]
        self.output = nn.Sequential(_ConvBlock(top, top, config), nn.Conv1d(top, action_size, 1))

    def _blocks(self) -> list[_FiLMBlock]:
        """In the order in which they are passed."""
        return [block for block in self.modules() if isinstance(block, _FiLMBlock)]

    def modulate(
        self, times: Float[Tensor, "batch times"], cond: Float[Tensor, "batch cond"]
    ) -> Float[Tensor, "batch modulation"]:
        """Scales and shifts of the channels of each block, one block after the other."""
        told = torch.cat([self.time(times), cond], dim=-1)
        return torch.cat([block.film(told) for block in self._blocks()], dim=-1)

    def predict(
        self,
        x: Float[Tensor, "batch horizon action"],
        modulation: Float[Tensor, "batch modulation"],
    ) -> Float[Tensor, "batch horizon action"]:
        """Predict one value per entry of the chunk."""
        # A scale and a shift for each block, in turn.
        sizes = [block.outputs for block in self._blocks() for _ in range(2)]
        films = iter(modulation[:, :, None].split_with_sizes(sizes, dim=1))
        hidden, seen = x.transpose(1, 2), []
        for level in self.down:
            hidden, kept = level(hidden, films)
            seen.append(kept)
        for block in self.middle:
            hidden = block(hidden, films)
        for level in self.up:
            hidden, _ = level(torch.cat([hidden, seen.pop()], dim=1), films)
        prediction: Tensor = self.output(hidden)
        return prediction.transpose(1, 2)
