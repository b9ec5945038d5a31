"""ResNet-18 with group normalisation and a spatial softmax: where things are, not what they are.

He et al. 2015 (arXiv 1512.03385), with the changes of Diffusion Policy (arXiv 2303.04137): groups
instead of batch statistics, which would not go with averaged weights, and the expected image
coordinates of learned features (Levine et al. 2016, arXiv 1504.00702) instead of their mean.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from bridle.policies.exceptions import PolicyError

CHANNELS_PER_GROUP = 16
SHRINKS = 32
"""Pixels of the picture per pixel of the last stage."""


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // CHANNELS_PER_GROUP, channels)


class _Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.norm1 = _norm(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = _norm(after)
        self.around: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.around = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), _norm(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.around(x))


class SpatialSoftmax(nn.Module):
    """Feature maps (B, C, h, w) -> expected coordinates (B, 2 * points) of learned features."""

    def __init__(self, channels: int, points: int) -> None:
        """`points` features are mixed from the `channels` maps."""
        super().__init__()
        self.mix = nn.Conv2d(channels, points, 1)

    def forward(self, maps: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch points2"]:
        """Coordinates: x then y of each point, -1 at the left and top edge, 1 at the others."""
        weight = self.mix(maps)
        height, width = weight.shape[-2:]
        weight = weight.flatten(2).softmax(-1).unflatten(2, (height, width))
        x = torch.linspace(-1, 1, width, device=maps.device, dtype=weight.dtype)
        y = torch.linspace(-1, 1, height, device=maps.device, dtype=weight.dtype)
        return torch.cat([(weight.sum(2) * x).sum(-1), (weight.sum(3) * y).sum(-1)], dim=1)


class ResNet18(nn.Module):
    """Pictures (B, 3, h, w), -1 to 1 -> features (B, n)."""

    def __init__(self, size: tuple[int, int], width: int, features: int) -> None:
        """Build.

        Args:
            size: height and width of pictures [px].
            width: channels of the first of four stages; each has twice as many as the one before.
            features: numbers of a picture; half as many points are located.

        Raises:
            PolicyError: the picture is too small to say where something is.
        """
        super().__init__()
        if min(size) <= SHRINKS:
            raise PolicyError(f"a ResNet needs pictures of more than {SHRINKS} pixels, got {size}")
        stages: list[nn.Module] = []
        before = width
        for i in range(4):
            after = width * 2**i
            stages += [_Block(before, after, 1 if i == 0 else 2), _Block(after, after, 1)]
            before = after
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, padding=3, bias=False),
            _norm(width),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
            *stages,
        )
        points = max(1, features // 2)
        self.locate = SpatialSoftmax(before, points)
        self.out = nn.Linear(2 * points, features)

    def forward(self, pictures: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch features"]:
        """Encode."""
        features: Tensor = self.out(self.locate(self.body(pictures)))
        return features
