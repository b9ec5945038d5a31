"""The settings of a diffusion policy of LeRobot, as its `config.json` has them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import dacite

from bridle.training.exceptions import TrainingError

CONFIG = "config.json"
STATE, ENVIRONMENT, ACTION = "observation.state", "observation.environment_state", "action"
GROUPS = 8
"""LeRobot's last block always has so many, whatever `n_groups` says."""
BETAS = (1e-4, 2e-2)
"""Ends of the linear schedules, in LeRobot as in diffusers."""


@dataclass(frozen=True)
class Feature:
    """An observation or an action."""

    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class DiffusionSettings:
    """The fields that decide what a trained policy does, by LeRobot's names; others are left out.

    Raises:
        TrainingError: a value, or two together, for which there is no counterpart.
    """

    input_features: dict[str, Feature]
    output_features: dict[str, Feature]
    normalization_mapping: dict[str, str]
    n_obs_steps: int
    horizon: int
    n_action_steps: int
    vision_backbone: str
    crop_shape: tuple[int, int] | None
    use_group_norm: bool
    spatial_softmax_num_keypoints: int
    use_separate_rgb_encoder_per_camera: bool
    down_dims: tuple[int, ...]
    kernel_size: int
    n_groups: int
    diffusion_step_embed_dim: int
    use_film_scale_modulation: bool
    noise_scheduler_type: str
    num_train_timesteps: int
    beta_schedule: str
    beta_start: float
    beta_end: float
    prediction_type: str
    clip_sample: bool
    clip_sample_range: float
    num_inference_steps: int | None
    resize_shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("n_groups", (GROUPS,)),
            ("noise_scheduler_type", ("DDIM", "DDPM")),
            ("prediction_type", ("epsilon", "sample")),
        ):
            if getattr(self, name) not in allowed:
                raise _unsupported(name, getattr(self, name), " or ".join(map(str, allowed)))
        if self.clip_sample and not self.clip_sample_range > 0:
            raise _unsupported("clip_sample_range", self.clip_sample_range, "a positive number")
        if "linear" in self.beta_schedule and (self.beta_start, self.beta_end) != BETAS:
            found = (self.beta_start, self.beta_end)
            raise _unsupported("beta_start, beta_end", found, f"{BETAS} with a linear schedule")
        if self.vector(STATE) is None:
            raise TrainingError(f"{CONFIG}: input_features has no {STATE}")
        if tuple(self.output_features) != (ACTION,):
            raise _unsupported("output_features", list(self.output_features), f"{ACTION} alone")
        if len(self.output_features[ACTION].shape) != 1:
            raise _unsupported(f"shape of {ACTION}", self.output_features[ACTION].shape, "a vector")
        if self.cameras:
            self._check_pictures()

    def _check_pictures(self) -> None:
        if self.vision_backbone != "resnet18":
            raise _unsupported("vision_backbone", self.vision_backbone, "resnet18")
        if not self.use_group_norm:
            raise _unsupported("use_group_norm", False, "true: pictures are encoded with groups")
        if self.resize_shape is not None:
            raise _unsupported("resize_shape", list(self.resize_shape), "null: give it such a size")
        sizes = set(self.cameras.values())
        if len(sizes) > 1:
            raise _unsupported("sizes of pictures", sorted(sizes), "one size")
        for seen, edge in zip(self.cropped, next(iter(sizes)), strict=True):
            # torchvision rounds half a pixel to the even one, and here it is rounded down.
            if not 0 < seen <= edge or round((edge - seen) / 2) != (edge - seen) // 2:
                raise _unsupported(
                    "crop_shape", list(self.cropped), f"a middle of {edge} pixels of whole pixels"
                )

    @property
    def cameras(self) -> dict[str, tuple[int, int]]:
        """Name of each camera -> height and width of its pictures [px], in LeRobot's order."""
        found = {}
        for name, feature in self.input_features.items():
            if feature.type == "VISUAL":
                if len(feature.shape) != 3 or feature.shape[0] != 3:
                    raise _unsupported(f"shape of {name}", feature.shape, "(3, height, width)")
                found[name] = feature.shape[1:]
        return found

    @property
    def cropped(self) -> tuple[int, int]:
        """Height and width of what is seen of a picture [px]."""
        return self.crop_shape or next(iter(self.cameras.values()))

    def vector(self, name: str) -> int | None:
        """Channels of a state; None if it is not observed.

        Raises:
            TrainingError: it is no vector.
        """
        if name not in self.input_features:
            return None
        shape = self.input_features[name].shape
        if len(shape) != 1 or shape[0] < 1:
            raise _unsupported(f"shape of {name}", shape, "a vector")
        return shape[0]

    @property
    def action_size(self) -> int:
        """Channels of an action."""
        return self.output_features[ACTION].shape[0]

    @property
    def used(self) -> tuple[str, ...]:
        """Features that the policy reads, and the action."""
        vectors = [name for name in (STATE, ENVIRONMENT) if name in self.input_features]
        return (*vectors, *self.cameras, ACTION)


def _unsupported(name: str, found: object, wanted: str) -> TrainingError:
    return TrainingError(f"{CONFIG}: {name} must be {wanted}, got {found!r}")


def read_json(path: Path) -> Mapping[str, Any]:
    """An object of JSON.

    Raises:
        TrainingError: the file is missing, or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise TrainingError(f"{path} must hold an object, got {type(content).__name__}")
    return content


def read_settings(folder: Path) -> DiffusionSettings:
    """Read and check `config.json`.

    Raises:
        TrainingError: it is missing, of another policy, older than what is known, or says something
            for which there is no counterpart.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise TrainingError(
            f"{folder} is no policy of LeRobot: {CONFIG} is missing; a checkpoint has it in its "
            "folder pretrained_model"
        )
    content = read_json(path)
    kind = content.get("type")
    if kind != "diffusion":
        raise TrainingError(f"{path}: only policies of type 'diffusion' are read, got {kind!r}")
    known = {field.name for field in fields(DiffusionSettings)}
    try:
        return dacite.from_dict(
            DiffusionSettings,
            {name: value for name, value in content.items() if name in known},
            dacite.Config(cast=[tuple], type_hooks={float: float}),
        )
    except TrainingError:
        raise
    except (dacite.DaciteError, TypeError, ValueError) as error:
        raise TrainingError(f"{path}: {error}") from error
