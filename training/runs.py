"""The run folder: what training leaves behind, and how a policy comes back out of it.

run/
config.yaml          settings, the policy's structure, the data's digest, library versions
model.safetensors    averaged weights and normalisation statistics: the policy
state.safetensors    everything needed to continue training bit for bit
robot.xml            kinematics of the arm the policy was trained on
metrics.jsonl        one line per logged step; curves.png and tensorboard/ show them
checkpoints/         the best averaged weights by their success, if they were evaluated on the way
critics.safetensors  what judges chunks, of a run by offline reinforcement learning
result.json          what the run gave, written when it is finished
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import dacite
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bridle.policies import Policy, PolicyConfig
from bridle.training.exceptions import TrainingError
from bridle.training.structure import PARTS, from_plain, to_plain

CONFIG, MODEL, STATE, ROBOT = "config.yaml", "model.safetensors", "state.safetensors", "robot.xml"
METRICS, CURVES = "metrics.jsonl", "curves.png"
CHECKPOINTS, RESULT = "checkpoints", "result.json"
LIBRARIES = ("bridle", "torch", "numpy", "diffusers", "accelerate", "mujoco", "zarr")


@dataclass(frozen=True)
class DataCard:
    """Where a policy's training data came from."""

    path: str
    digest: str
    robot: str
    task: str
    control_rate: float
    episodes: int
    steps: int
    instructions: list[str]
    environment: dict[str, Any] = field(default_factory=dict)
    """What an environment is asked for to be seen as in the data: cameras, sizes, points."""


@dataclass(frozen=True)
class RunConfig:
    """All that describes a run."""

    train: dict[str, Any]
    policy: PolicyConfig
    data: DataCard
    versions: dict[str, str]


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide what training gives."""
    return {name: metadata.version(name) for name in LIBRARIES}


def plain(value: Any) -> Any:
    """The same in types that YAML and JSON have."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def write_config(run: Path, config: RunConfig) -> None:
    """Write `config.yaml` atomically."""
    content = plain(asdict(config))
    for part in PARTS:
        content["policy"][part] = plain(to_plain(part, getattr(config.policy, part)))
    text = yaml.safe_dump(content, sort_keys=False)
    partial = run / f"{CONFIG}.partial"
    partial.write_text(text)
    partial.replace(run / CONFIG)


def read_config(run: Path) -> RunConfig:
    """Read and check `config.yaml`.

    Raises:
        TrainingError: the folder is no run, or its configuration does not fit this version.
    """
    path = run / CONFIG
    if not path.is_file():
        raise TrainingError(f"{run} is not a training run: {CONFIG} is missing")
    try:
        content = yaml.safe_load(path.read_text())
        for part in PARTS:
            content["policy"][part] = from_plain(part, content["policy"][part])
        return dacite.from_dict(RunConfig, content, dacite.Config(strict=True, cast=[tuple]))
    except (yaml.YAMLError, dacite.DaciteError, TypeError, KeyError, AttributeError) as error:
        raise TrainingError(f"{path}: {error}") from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], **header: str) -> None:
    """Write a safetensors file atomically: after a kill the old or the new one is there."""
    partial = path.with_name(f"{path.name}.partial")
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, partial, metadata=header)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path} cannot be read: {error}") from error


def load_policy(run: Path) -> tuple[Policy, RunConfig]:
    """The trained policy of a run, in evaluation mode on the CPU.

    Raises:
        TrainingError: the run is incomplete or damaged, or its weights do not fit its structure.
        PolicyError: normalisation statistics are missing.
    """
    config = read_config(run)
    policy = Policy(config.policy)
    try:
        policy.load_state_dict(load_tensors(run / MODEL))
    except RuntimeError as error:
        first = str(error).strip().splitlines()
        raise TrainingError(
            f"{run / MODEL} does not fit {CONFIG}: {' '.join(first[:2])}"
        ) from error
    policy.check_fitted()
    return policy.eval(), config
