"""Point clouds: each point by itself, then the strongest of each feature.

The encoder of 3D Diffusion Policy (Ze et al. 2024, arXiv 2403.03954), a PointNet (arXiv 1612.00593)
with layer normalisation and without its transforms: the order of the points does not matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.encoders.base import Encoder, Input, check, check_n_obs_steps
from bridle.policies.exceptions import PolicyError
from bridle.policies.normalizer import Normalizer

POINT_CLOUD = "point_cloud"


@dataclass(frozen=True)
class PointCloudEncoderConfig:
    """Settings of a `PointCloudEncoder`."""

    points: int
    """Points of a cloud (N)."""
    channels: int = 6
    """Numbers of a point: x, y, z [m] first, then its colour."""
    n_obs_steps: int = 1
    """Observations in the history (To)."""
    colours: bool = True
    """Whether colours are looked at."""
    layers: tuple[int, ...] = (64, 128, 256)
    """Widths of the layers that every point goes through."""
    features: int = 64
    """Numbers of one cloud."""

    def __post_init__(self) -> None:
        check_n_obs_steps(self.n_obs_steps)
        if self.points < 1 or self.channels < 3:
            raise PolicyError(
                f"a cloud needs points of 3 or more numbers, got {self.points} x {self.channels}"
            )
        if not self.layers or min(*self.layers, self.features) < 1:
            raise PolicyError(
                f"layers and features must be positive, got {self.layers} and {self.features}"
            )

    @property
    def inputs(self) -> Mapping[str, Input]:
        """The cloud."""
        return {POINT_CLOUD: Input((self.points, self.channels))}

    @property
    def used(self) -> int:
        """Numbers of a point that are looked at."""
        return self.channels if self.colours else 3


class PointCloudEncoder(Encoder):
    """Encodes each cloud of the history by itself: (B, To, N, c) -> (B, To * features)."""

    def __init__(self, config: PointCloudEncoderConfig) -> None:
        """Build an encoder with unfitted statistics."""
        super().__init__()
        self.config = config
        self.normalizer = Normalizer({POINT_CLOUD: config.used})
        sizes = (config.used, *config.layers)
        layers: list[nn.Module] = []
        for before, after in zip(sizes, config.layers, strict=False):
            layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU()]
        self.each = nn.Sequential(*layers)
        self.out = nn.Sequential(
            nn.Linear(sizes[-1], config.features), nn.LayerNorm(config.features)
        )
        self.output_size = config.n_obs_steps * config.features

    def fit(self, observations: Mapping[str, Tensor]) -> None:
        """Take the statistics of the points of clouds (rows, N, c)."""
        self.normalizer.fit(POINT_CLOUD, observations[POINT_CLOUD][..., : self.config.used])

    def forward(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "batch cond"]:
        """Encode a history of clouds."""
        check(observation, self.config)
        points = observation[POINT_CLOUD][..., : self.config.used]
        features = self.each(self.normalizer.normalize(POINT_CLOUD, points)).amax(dim=-2)
        cloud: Tensor = self.out(features)
        return cloud.flatten(1)
