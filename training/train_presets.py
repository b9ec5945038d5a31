"""Presets of training runs, read from `train_presets.yaml`; flags given beside one go over it."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import dacite
import yaml

from bridle.training.config import TrainConfig
from bridle.training.exceptions import TrainingError

PRESETS = Path(__file__).with_name("train_presets.yaml")

_OWN = ("data", "out", "wandb", "preset")
"""Settings of one run alone, which no preset can give."""
_CHOSEN_BY = {
    "generator": "generator",
    "network": "network",
    "encoder": "observe",
    "text": "observe",
}
"""Part in `set` -> the setting that chooses its kind."""


def _number(value: Any) -> float:
    # YAML takes 1e-3 for a text.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"expected a number, got {value!r}")
    return float(value)


_EXACT = dacite.Config(strict=True, type_hooks={float: _number})


def preset_abouts(path: Path = PRESETS) -> dict[str, str]:
    """Name of each preset -> what it is for.

    Raises:
        TrainingError: the file is not what it should be.
    """
    return {name: str(entry.get("about", "")) for name, entry in _entries(path).items()}


def read_preset(name: str, path: Path = PRESETS) -> dict[str, Any]:
    """The settings of a preset, fields of `TrainConfig` with their types.

    Raises:
        TrainingError: there is no such preset, or one of its settings is unknown, has another type
            or is out of range.
    """
    entries = _entries(path)
    if name not in entries:
        near = get_close_matches(name, entries, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(entries)}"
        raise TrainingError(f"there is no preset {name!r}; {hint}")
    given = {key: value for key, value in entries[name].items() if key != "about"}
    return typed_settings(given, f"{path.name}, preset {name}")


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise TrainingError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not all(isinstance(e, dict) for e in content.values()):
        raise TrainingError(f"{path}: expected presets by name, each with its settings by name")
    return content


def typed_settings(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings as YAML has them, checked and with the types of `TrainConfig`.

    Args:
        given: name -> value.
        where: what they belong to, for messages.

    Raises:
        TrainingError: a name is unknown, or a value has another type or is out of range.
    """
    known = [field.name for field in fields(TrainConfig) if field.name not in _OWN]
    for name in given:
        if name not in known:
            near = get_close_matches(str(name), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise TrainingError(f"{where}: there is no setting {name!r}; {hint}")
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    anywhere = {"data": Path(), "out": Path()}
    try:
        config = dacite.from_dict(TrainConfig, values | anywhere, _EXACT)
    except (dacite.DaciteError, TrainingError, TypeError, ValueError) as error:
        raise TrainingError(f"{where}: {error}") from error
    return {name: getattr(config, name) for name in given}


def with_preset(config: TrainConfig, path: Path = PRESETS) -> TrainConfig:
    """Add what the preset of a run says of its parts to what the run itself says.

    A part of another kind than the preset's gets nothing from it: a transformer has no channels.

    Raises:
        TrainingError: as `read_preset`.
    """
    if config.preset is None:
        return config
    preset = read_preset(config.preset, path)
    mine = {_name(text) for text in config.set}
    kept = [
        text
        for text in preset.get("set", ())
        if _name(text) not in mine and _same_kind(_name(text), preset, config)
    ]
    return replace(config, set=(*kept, *config.set))


def _name(assignment: str) -> str:
    return assignment.partition("=")[0].strip()


def _same_kind(name: str, preset: Mapping[str, Any], config: TrainConfig) -> bool:
    choice = _CHOSEN_BY.get(name.partition(".")[0])
    return choice is None or preset.get(choice, getattr(config, choice)) == getattr(config, choice)


def preset_config(
    preset: str | None,
    data: Path,
    out: Path,
    given: Mapping[str, Any],
    assignments: Sequence[str] = (),
) -> TrainConfig:
    """A run's settings from a preset and what goes over it.

    Args:
        preset: name, or None for none.
        data: demonstration set.
        out: run folder.
        given: fields of `TrainConfig` beside `set`.
        assignments: its `set`.

    Raises:
        TrainingError: as `read_preset` and `TrainConfig`.
    """
    base = read_preset(preset) if preset is not None else {}
    values = {**base, **given, "set": tuple(assignments), "preset": preset}
    return with_preset(TrainConfig(data=data, out=out, **values))
