"""A trained policy of another project as a run, to evaluate and to export."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from bridle.policies import (
    DiffusionConfig,
    EncoderConfig,
    ImageEncoder,
    ImageEncoderConfig,
    ObservationEncoderConfig,
    Policy,
    PolicyConfig,
    StateEncoder,
    StateEncoderConfig,
    UNetConfig,
)
from bridle.training import runs
from bridle.training.demonstrations.schema import CAMERA_PREFIX
from bridle.training.exceptions import TrainingError
from bridle.training.importing.lerobot_config import (
    ACTION,
    ENVIRONMENT,
    STATE,
    DiffusionSettings,
    read_settings,
)
from bridle.training.importing.lerobot_keys import Parts, keys_of
from bridle.training.importing.lerobot_statistics import Scaling, scalings
from bridle.training.importing.lerobot_weights import check_fit, translated

UNKNOWN = "unknown"
"""Name of a robot of which nothing is known."""
WEIGHTS = "model.safetensors"
FASTEST = 1000.0
"""Highest control rate that is believed [Hz]."""


@dataclass(frozen=True)
class ImportConfig:
    """What is imported, and what its files do not say."""

    path: Path
    """Folder with `config.json` and `model.safetensors`."""
    out: Path
    """Run folder to create."""
    task: str
    """Name of the task, as `bridle evaluate` knows it."""
    rate: float
    """Actions per second that the policy was trained with [Hz]."""
    robot: str = UNKNOWN
    """Name of the robot."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """LeRobot's feature -> Bridle's key, or `key:size+key:size` for the parts of a state."""
    n_steps: int | None = None
    """Steps in which chunks are sampled; None takes as many as LeRobot does."""

    def __post_init__(self) -> None:
        for name in ("task", "robot"):
            if not getattr(self, name).strip():
                raise TrainingError(f"{name} must have a name")
        if not (math.isfinite(self.rate) and 0 < self.rate <= FASTEST):
            raise TrainingError(f"rate must lie in (0, {FASTEST:g}] Hz, got {self.rate}")


@dataclass(frozen=True)
class Imported:
    """What was imported."""

    run: str
    inputs: dict[str, tuple[int, ...]]
    """Observation key -> shape of one step."""
    action_size: int
    parameters: int
    n_steps: int
    """Steps in which chunks are sampled."""
    notes: tuple[str, ...]
    """What a person has to know of it."""


def import_lerobot(
    config: ImportConfig, robot_xml: str | None = None, joint_names: Sequence[str] | None = None
) -> Imported:
    """Make a run of a diffusion policy of LeRobot. Nothing is written if anything is wrong.

    Args:
        config: what is imported.
        robot_xml: kinematics of the arm (MJCF), without which a run cannot be exported.
        joint_names: of the robot, in the order of actions; None if they are not known.

    Raises:
        TrainingError: the files cannot be read or say something for which there is no counterpart,
            the robot has another number of joints, or the target is not empty.
        PolicyError: a size is out of range.
    """
    if config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir())):
        raise TrainingError(f"{config.out} exists; choose another folder")
    settings = read_settings(config.path)
    if joint_names is not None and len(joint_names) != settings.action_size:
        raise TrainingError(
            f"{config.robot} has {len(joint_names)} joints, the policy gives "
            f"{settings.action_size} numbers an action"
        )
    keys = keys_of(settings, config.keys)
    weights = runs.load_tensors(config.path / WEIGHTS)
    policy = Policy(_policy_config(settings, keys, config.n_steps))
    _fill(policy, settings, keys, weights, scalings(config.path, settings, weights))
    policy.check_fitted()
    run_config = runs.RunConfig(
        train={"imported": "lerobot", "steps": 0, "keys": {k: list(v) for k, v in keys.items()}},
        policy=policy.config,
        data=_card(config, settings, keys),
        versions=runs.library_versions(),
    )
    config.out.mkdir(parents=True, exist_ok=True)
    runs.save_tensors(config.out / runs.MODEL, policy.state_dict())
    if robot_xml is not None:
        (config.out / runs.ROBOT).write_text(robot_xml)
    runs.write_config(config.out, run_config)
    return Imported(
        run=str(config.out),
        inputs={key: wanted.shape for key, wanted in policy.config.encoder.inputs.items()},
        action_size=settings.action_size,
        parameters=sum(weight.numel() for weight in policy.parameters()),
        n_steps=len(policy.generator.table()),
        notes=_notes(settings),
    )


def _notes(settings: DiffusionSettings) -> tuple[str, ...]:
    if settings.noise_scheduler_type == "DDIM":
        return ()
    return (
        "LeRobot samples it by DDPM, which draws new noise at every step; here it is sampled by "
        "DDIM on the same schedule, whose chunk follows from the first noise alone",
    )


def _policy_config(settings: DiffusionSettings, keys: Parts, n_steps: int | None) -> PolicyConfig:
    total = settings.num_train_timesteps
    wanted = settings.num_inference_steps if n_steps is None else n_steps
    return PolicyConfig(
        encoder=_encoder_config(settings, keys),
        action_size=settings.action_size,
        relative_key=None,
        horizon=settings.horizon,
        n_action_steps=settings.n_action_steps,
        network=UNetConfig(
            channels=settings.down_dims,
            kernel=settings.kernel_size,
            groups=settings.n_groups,
            time_channels=settings.diffusion_step_embed_dim,
            activation="mish",
            time_activation="mish",
            time_span=(total, total / 10_000),
        ),
        generator=DiffusionConfig(
            prediction="sample" if settings.prediction_type == "sample" else "epsilon",
            sampler="ddim",
            n_steps=total if wanted is None else wanted,
            train_steps=total,
            schedule=settings.beta_schedule,
            clip=settings.clip_sample_range if settings.clip_sample else 0.0,
        ),
    )


def _encoder_config(settings: DiffusionSettings, keys: Parts) -> EncoderConfig:
    vectors = [parts for name, parts in keys.items() if name not in settings.cameras]
    state = StateEncoderConfig(
        {key: size for parts in vectors for key, size in parts.items()},
        n_obs_steps=settings.n_obs_steps,
    )
    if not settings.cameras:
        return state
    image = ImageEncoderConfig(
        {next(iter(keys[name])): size for name, size in settings.cameras.items()},
        n_obs_steps=settings.n_obs_steps,
        shared=not settings.use_separate_rgb_encoder_per_camera,
        features=2 * settings.spatial_softmax_num_keypoints,
        crop=1.0,
        crop_size=settings.cropped,
        jitter=0.0,
        normalise=True,
        rectify=True,
    )
    return ObservationEncoderConfig((state, image))


@torch.no_grad()
def _fill(
    policy: Policy,
    settings: DiffusionSettings,
    keys: Parts,
    weights: Mapping[str, Tensor],
    scaled: Mapping[str, Scaling],
) -> None:
    """Give a policy its weights and its statistics."""
    pictures = 2 * settings.spatial_softmax_num_keypoints * len(settings.cameras)
    sizes = (settings.vector(STATE) or 0, pictures, settings.vector(ENVIRONMENT) or 0)
    found = translated(
        weights,
        n_obs_steps=settings.n_obs_steps,
        sizes=sizes,
        scales=settings.use_film_scale_modulation,
    )
    learned = dict(policy.named_parameters())
    check_fit(found, learned)
    for name, values in learned.items():
        values.copy_(found[name])
    for module in policy.encoder.modules():
        if isinstance(module, StateEncoder | ImageEncoder) and module.normalizer is not None:
            for name, parts in keys.items():
                start = 0
                for key, size in parts.items():
                    if key in module.normalizer.names:
                        end = start + (size or 3)
                        module.normalizer.mean(key).copy_(scaled[name].mean[start:end])
                        module.normalizer.std(key).copy_(scaled[name].std[start:end])
                        start = end
    policy.action_normalizer.mean(ACTION).copy_(scaled[ACTION].mean)
    policy.action_normalizer.std(ACTION).copy_(scaled[ACTION].std)


def _card(config: ImportConfig, settings: DiffusionSettings, keys: Parts) -> runs.DataCard:
    environment = {}
    if settings.cameras:
        height, width = next(iter(settings.cameras.values()))
        names = [next(iter(keys[name])).removeprefix(CAMERA_PREFIX) for name in settings.cameras]
        environment = {"cameras": names, "image_width": width, "image_height": height}
    with (config.path / WEIGHTS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return runs.DataCard(
        path=str(config.path),
        digest=digest,
        robot=config.robot,
        task=config.task,
        control_rate=config.rate,
        episodes=0,
        steps=0,
        instructions=[],
        environment=environment,
    )
