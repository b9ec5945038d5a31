"""How LeRobot normalises: files of its processors, or, until version 0.3, among the weights.

Whatever the mode, it is an affine map, as Bridle's is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bridle.training import runs
from bridle.training.exceptions import TrainingError
from bridle.training.importing.lerobot_config import ACTION, DiffusionSettings, read_json

BEFORE, AFTER = "policy_preprocessor.json", "policy_postprocessor.json"
LEGACY_BEFORE, LEGACY_AFTER = "normalize_inputs.buffer_", "unnormalize_outputs.buffer_"
ENDS = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}
"""Mode -> what becomes -1 and 1."""
MODES = ("IDENTITY", "MEAN_STD", *ENDS)
HARMLESS = ("to_batch_processor", "device_processor", "rename_observations_processor")
"""Steps before and after a policy that change no number."""


@dataclass(frozen=True)
class Scaling:
    """normalised = (physical - mean) / std, each (channels,) in float64."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class _Normalisation:
    """What one step of a processor does."""

    modes: Mapping[str, str]
    """By type of feature."""
    statistics: Mapping[str, Tensor]
    """By `<feature>.<statistic>`."""
    eps: float


def scalings(
    folder: Path, settings: DiffusionSettings, weights: Mapping[str, Tensor]
) -> dict[str, Scaling]:
    """How every feature that the policy uses is normalised.

    Args:
        folder: of the policy.
        settings: of it.
        weights: of it, which hold the statistics if they are old.

    Raises:
        TrainingError: statistics are missing or do not fit, or the numbers go through more than
            their normalisation.
    """
    if (folder / BEFORE).is_file():
        before = _processor(folder, BEFORE, "normalizer_processor")
        after = _processor(folder, AFTER, "unnormalizer_processor")
    else:
        before, after = (
            _Normalisation(settings.normalization_mapping, _legacy(weights, prefix, settings), 1e-8)
            for prefix in (LEGACY_BEFORE, LEGACY_AFTER)
        )
    features = {**settings.input_features, **settings.output_features}
    found = {}
    for name in settings.used:
        step = after if name == ACTION else before
        mode = step.modes.get(features[name].type, "IDENTITY")
        channels = features[name].shape[0]
        found[name] = _scaling(name, mode, channels, step, inverse=name == ACTION)
    return found


def _legacy(
    weights: Mapping[str, Tensor], prefix: str, settings: DiffusionSettings
) -> dict[str, Tensor]:
    found = {}
    for name in (*settings.input_features, *settings.output_features):
        start = f"{prefix}{name.replace('.', '_')}."
        for weight, values in weights.items():
            if weight.startswith(start):
                found[f"{name}.{weight.removeprefix(start)}"] = values
    return found


def _processor(folder: Path, file: str, wanted: str) -> _Normalisation:
    path = folder / file
    steps = read_json(path).get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, Mapping) for step in steps):
        raise TrainingError(f"{path}: steps must be a list of objects")
    chosen: list[Mapping[str, Any]] = []
    for step in steps:
        name, config = step.get("registry_name"), step.get("config") or {}
        if name == wanted:
            chosen.append(step)
        elif name not in HARMLESS:
            raise TrainingError(f"{path}: the step {name!r} cannot be carried over")
        elif config.get("rename_map"):
            raise TrainingError(
                f"{path}: observations are renamed, {config['rename_map']}; they are not here"
            )
    if len(chosen) != 1:
        raise TrainingError(f"{path}: expected one step {wanted}, got {len(chosen)}")
    config, state = chosen[0].get("config") or {}, chosen[0].get("state_file")
    modes, eps = config.get("norm_map"), config.get("eps", 1e-8)
    if not isinstance(modes, Mapping) or not isinstance(eps, float):
        raise TrainingError(f"{path}: {wanted} needs a norm_map and a number eps")
    if config.get("normalize_observation_keys") is not None:
        raise TrainingError(f"{path}: normalize_observation_keys cannot be carried over")
    if state is None:
        return _Normalisation(modes, {}, eps)
    if not isinstance(state, str) or Path(state).name != state:
        raise TrainingError(f"{path}: state_file must be a file beside it, got {state!r}")
    return _Normalisation(modes, runs.load_tensors(folder / state), eps)


def _scaling(
    name: str, mode: str, channels: int, step: _Normalisation, *, inverse: bool
) -> Scaling:
    if mode not in MODES:
        raise TrainingError(f"{name}: normalisation must be of {', '.join(MODES)}, got {mode!r}")
    if mode == "IDENTITY":
        return Scaling(torch.zeros(channels).double(), torch.ones(channels).double())
    first, second = (
        _statistic(name, each, channels, step) for each in ENDS.get(mode, ("mean", "std"))
    )
    if mode == "MEAN_STD":
        if (second < 0).any():
            raise TrainingError(f"{name}: a spread is negative")
        return Scaling(first, second if inverse else second + step.eps)
    width = second - first
    if (width < 0).any():
        raise TrainingError(f"{name}: the range of a channel ends before it begins")
    mean, std = first + width / 2, width / 2
    still = width == 0
    # A channel that never moved is -1 there, as it is here, and leaps with the first move; here
    # it goes by its unit, because no float32 lies so close beside most numbers.
    if inverse:
        return Scaling(mean, torch.where(still, step.eps / 2, std))
    return Scaling(torch.where(still, first + 1, mean), torch.where(still, 1.0, std))


def _statistic(name: str, which: str, channels: int, step: _Normalisation) -> Tensor:
    key = f"{name}.{which}"
    if key not in step.statistics:
        raise TrainingError(
            f"the statistic {key} is missing; LeRobot keeps it in the processors beside the "
            "policy: preprocessor.save_pretrained(PATH), postprocessor.save_pretrained(PATH)"
        )
    values = step.statistics[key].double().flatten()
    if values.shape != (channels,) or not values.isfinite().all():
        raise TrainingError(
            f"the statistic {key} must be {channels} finite numbers, got {values.tolist()[:8]}"
        )
    return values
