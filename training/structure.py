"""A policy's structure as settings: parts chosen by name, adjusted by `part.name=value`.

The same form is written into a run's configuration and read back from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

import dacite
import yaml

from bridle.policies import ENCODERS, GENERATORS, NETWORKS, ObservationEncoderConfig
from bridle.training.exceptions import TrainingError

PARTS: dict[str, Mapping[str, tuple[type[Any], type[Any]]]] = {
    "generator": GENERATORS,
    "network": NETWORKS,
    "encoder": ENCODERS,
}
"""Part of a policy -> the kinds there are of it."""

_EXACT = dacite.Config(strict=True, cast=[tuple], type_hooks={float: float})


def assigned(assignments: Sequence[str], parts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Settings by part.

    Args:
        assignments: `<part>.<setting>=<value>`, the value as YAML: `generator.n_steps=4`.
        parts: what there is to set.

    Raises:
        TrainingError: there is no such part, or no value.
    """
    given: dict[str, dict[str, Any]] = {part: {} for part in parts}
    for text in assignments:
        name, equals, value = text.partition("=")
        part, dot, setting = name.strip().partition(".")
        if not (equals and dot and part in given):
            raise TrainingError(
                f"a setting is written part.name=value with a part of {', '.join(given)}, "
                f"got {text!r}"
            )
        try:
            given[part][setting] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise TrainingError(f"{text!r}: {value!r} is no value") from error
    return given


def build(part: str, kind: str, settings: Mapping[str, Any], **decided: Any) -> Any:
    """A part of a policy, of a kind.

    Args:
        part: one of `PARTS`.
        kind: name of its kind.
        settings: what a person, or a file, says.
        decided: settings that follow from the data, and are not for a person to choose.

    Raises:
        TrainingError: there is no such kind or setting, or a value does not fit.
        PolicyError: a value is out of range.
    """
    kinds = PARTS[part]
    if kind not in kinds:
        near = get_close_matches(str(kind), kinds, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(kinds)}"
        raise TrainingError(f"there is no {part} {kind!r}; {hint}")
    made = kinds[kind][0]
    settable = [name for name in made.__dataclass_fields__ if name not in decided]
    unknown = sorted(settings.keys() - set(settable))
    if unknown:
        known = ", ".join(settable) or "none"
        raise TrainingError(f"the {part} {kind} has no setting {unknown[0]!r}; it has {known}")
    try:
        return dacite.from_dict(made, {**settings, **decided}, _EXACT)
    except (dacite.DaciteError, TypeError) as error:
        raise TrainingError(f"{part} {kind}: {error}") from error


def to_plain(part: str, config: Any) -> dict[str, Any]:
    """The settings of a part with the name of its kind, as plain types; joined ones as `parts`."""
    if isinstance(config, ObservationEncoderConfig):
        return {"parts": [to_plain(part, each) for each in config.parts]}
    kind = next(name for name, (made, _) in PARTS[part].items() if made is type(config))
    return {"kind": kind, **asdict(config)}


def from_plain(part: str, content: Any) -> Any:
    """What `to_plain` gave, as settings again.

    Raises:
        TrainingError: it is something else.
    """
    if isinstance(content, Mapping) and part == "encoder" and content.keys() == {"parts"}:
        return ObservationEncoderConfig(tuple(from_plain(part, each) for each in content["parts"]))
    if not isinstance(content, Mapping) or "kind" not in content:
        raise TrainingError(f"{part}: expected settings with a kind, got {content!r}")
    return build(part, content["kind"], {k: v for k, v in content.items() if k != "kind"})
