"""A policy's structure as settings: parts chosen by name, adjusted by `part.name=value`.

The same form is written into a run's configuration and read back from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

import dacite
import yaml

from bridle.policies import GENERATORS, NETWORKS
from bridle.training.exceptions import TrainingError

PARTS: dict[str, Mapping[str, tuple[type[Any], type[Any]]]] = {
    "generator": GENERATORS,
    "network": NETWORKS,
}
"""Part of a policy -> the kinds there are of it."""

_EXACT = dacite.Config(strict=True, cast=[tuple], type_hooks={float: float})


def choose(chosen: Mapping[str, str], assignments: Sequence[str] = ()) -> dict[str, Any]:
    """The settings of a policy's parts.

    Args:
        chosen: part -> name of its kind.
        assignments: `<part>.<setting>=<value>`, the value as YAML: `generator.n_steps=4`.

    Raises:
        TrainingError: there is no such kind or setting, or a value does not fit.
        PolicyError: a value is out of range.
    """
    given: dict[str, dict[str, Any]] = {part: {} for part in chosen}
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
    return {part: _build(part, kind, given[part]) for part, kind in chosen.items()}


def _build(part: str, kind: str, settings: Mapping[str, Any]) -> Any:
    kinds = PARTS[part]
    if kind not in kinds:
        near = get_close_matches(str(kind), kinds, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(kinds)}"
        raise TrainingError(f"there is no {part} {kind!r}; {hint}")
    made = kinds[kind][0]
    unknown = sorted(settings.keys() - made.__dataclass_fields__.keys())
    if unknown:
        known = ", ".join(made.__dataclass_fields__) or "none"
        raise TrainingError(f"the {part} {kind} has no setting {unknown[0]!r}; it has {known}")
    try:
        return dacite.from_dict(made, dict(settings), _EXACT)
    except (dacite.DaciteError, TypeError) as error:
        raise TrainingError(f"{part} {kind}: {error}") from error


def to_plain(part: str, config: Any) -> dict[str, Any]:
    """The settings of a part with the name of its kind, as plain types."""
    kind = next(name for name, (made, _) in PARTS[part].items() if made is type(config))
    return {"kind": kind, **asdict(config)}


def from_plain(part: str, content: Any) -> Any:
    """What `to_plain` gave, as settings again.

    Raises:
        TrainingError: it is something else.
    """
    if not isinstance(content, Mapping) or "kind" not in content:
        raise TrainingError(f"{part}: expected settings with a kind, got {content!r}")
    return _build(part, content["kind"], {k: v for k, v in content.items() if k != "kind"})
