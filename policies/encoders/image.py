"""Images: what one or several cameras see."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.encoders.base import Encoder, Input, check, check_n_obs_steps
from bridle.policies.encoders.pictures import centre_crop, jitter, random_crop
from bridle.policies.encoders.resnet import CHANNELS_PER_GROUP, ResNet18
from bridle.policies.encoders.vit import VisionTransformer
from bridle.policies.exceptions import PolicyError
from bridle.policies.normalizer import Normalizer

Backbone = Literal["resnet", "vit"]
BACKBONES: dict[str, type[ResNet18] | type[VisionTransformer]] = {
    "resnet": ResNet18,
    "vit": VisionTransformer,
}


@dataclass(frozen=True)
class ImageEncoderConfig:
    """Settings of an `ImageEncoder`."""

    cameras: Mapping[str, tuple[int, int]]
    """Observation key of each camera -> height and width of its pictures [px]."""
    n_obs_steps: int = 1
    """Observations in the history (To)."""
    backbone: Backbone = "resnet"
    """`resnet`: ResNet-18 with a spatial softmax. `vit`: a small vision transformer, faster."""
    shared: bool = False
    """Whether all cameras have the same weights."""
    width: int = 64
    """Channels of the ResNet's first stage; tokens of the transformer have twice as many."""
    features: int = 64
    """Numbers of one picture."""
    crop: float = 0.9
    """Share of each edge that is seen: anywhere in training, in the middle otherwise."""
    crop_size: tuple[int, int] | None = None
    """Height and width that are seen instead of such a share [px]."""
    jitter: float = 0.2
    """By which share brightness, contrast and saturation vary in training."""
    normalise: bool = False
    """Whether colours are brought to the mean and spread of the data, by camera and colour, instead
    of to -1 to 1."""
    rectify: bool = False
    """Whether features below zero become zero, as in the encoder of LeRobot."""

    def __post_init__(self) -> None:
        check_n_obs_steps(self.n_obs_steps)
        if not self.cameras or any(min(size) < 1 for size in self.cameras.values()):
            raise PolicyError(f"cameras must have pictures, got {dict(self.cameras)}")
        if self.backbone not in get_args(Backbone):
            raise PolicyError(
                f"backbone must be one of {', '.join(BACKBONES)}, got {self.backbone!r}"
            )
        if self.width < 1 or self.width % CHANNELS_PER_GROUP:
            raise PolicyError(f"width must be a multiple of {CHANNELS_PER_GROUP}, got {self.width}")
        if self.features < 1:
            raise PolicyError(f"features must be at least 1, got {self.features}")
        if not 0 < self.crop <= 1:
            raise PolicyError(f"crop must lie in (0, 1], got {self.crop}")
        if self.crop_size is not None and not all(
            1 <= seen <= edge
            for size in self.cameras.values()
            for seen, edge in zip(self.crop_size, size, strict=True)
        ):
            raise PolicyError(
                f"crop_size must lie within {dict(self.cameras)}, got {self.crop_size}"
            )
        if not 0 <= self.jitter < 1:
            raise PolicyError(f"jitter must lie in [0, 1), got {self.jitter}")
        if self.shared and len(set(self.cameras.values())) > 1:
            raise PolicyError(f"cameras of shared weights need one size, got {dict(self.cameras)}")

    @property
    def inputs(self) -> Mapping[str, Input]:
        """The pictures, rows from the top, RGB."""
        return {
            key: Input((*size, 3), torch.uint8, fitted=self.normalise)
            for key, size in self.cameras.items()
        }

    def cropped(self, camera: str) -> tuple[int, int]:
        """Height and width of what is seen of a camera's pictures [px]."""
        if self.crop_size is not None:
            return self.crop_size
        height, width = self.cameras[camera]
        return max(1, round(self.crop * height)), max(1, round(self.crop * width))


class ImageEncoder(Encoder):
    """Encodes each picture of the history by itself: (B, To, H, W, 3) each -> (B, To * D)."""

    def __init__(self, config: ImageEncoderConfig) -> None:
        """Build an untrained encoder.

        Raises:
            PolicyError: pictures are too small for the backbone.
        """
        super().__init__()
        self.config = config
        made = BACKBONES[config.backbone]
        names = list(config.cameras)
        self.eyes = nn.ModuleList(
            made(config.cropped(name), config.width, config.features)
            for name in (names[:1] if config.shared else names)
        )
        self.normalizer = Normalizer(dict.fromkeys(names, 3)) if config.normalise else None
        self.frame_size = len(names) * config.features
        self.output_size = config.n_obs_steps * self.frame_size

    def fit(self, observations: Mapping[str, Tensor]) -> None:
        """Take the statistics of colours that are normalised, from pictures (rows, H, W, 3).

        One pixel in sixteen is enough, and spares the memory of the others.
        """
        if self.normalizer is not None:
            for camera in self.config.cameras:
                pixels = observations[camera][:, ::4, ::4]
                self.normalizer.fit(camera, pixels.float() / 255)

    def augment(
        self, observation: Mapping[str, Tensor], random: torch.Generator | None
    ) -> Mapping[str, Tensor]:
        """Crop anywhere, and vary the colours; pictures come back cropped, as `uint8`."""
        check(observation, self.config)
        varied = {}
        for camera in self.config.cameras:
            pictures = random_crop(observation[camera], *self.config.cropped(camera), random)
            if self.config.jitter:
                pictures = jitter(pictures, self.config.jitter, random)
            varied[camera] = pictures
        return {**observation, **varied}

    def _seen(self, camera: str, observation: Mapping[str, Tensor]) -> Tensor:
        """Pictures as a backbone takes them (B * To, 3, h, w), -1 to 1 or normalised."""
        pictures, size = observation[camera], self.config.cropped(camera)
        if pictures.shape[2:4] != size:
            pictures = centre_crop(pictures, *size)
        pictures = pictures.flatten(0, 1)
        if self.normalizer is not None:
            colours = self.normalizer.normalize(camera, pictures.float() / 255)
            return colours.permute(0, 3, 1, 2)
        return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1

    def frames(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "batch steps features"]:
        """Encode pictures (B, T, H, W, 3) of every camera, whole or cropped, for any T."""
        encoded = [
            self.eyes[0 if self.config.shared else i](self._seen(camera, observation))
            for i, camera in enumerate(self.config.cameras)
        ]
        steps = observation[next(iter(self.config.cameras))].shape[1]
        features = torch.cat(encoded, dim=-1).view(-1, steps, self.frame_size)
        return features.relu() if self.config.rectify else features

    def forward(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "batch cond"]:
        """Encode a history; pictures that `augment` cropped are taken as they are."""
        whole = {
            camera: Input((*self.config.cropped(camera), 3), torch.uint8)
            for camera in self.config.cameras
            if camera in observation
            and observation[camera].shape[2:4] == self.config.cropped(camera)
        }
        check(observation, self.config, whole)
        return self.frames(observation).flatten(1)
