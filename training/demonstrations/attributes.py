"""What a demonstration set says about itself: the root attributes.

A set is one zarr group of format 2 in the layout of diffusion_policy (arXiv 2303.04137):
`data/<key>` holds all episodes one after the other, `meta/episode_ends` where each one ends.
docs/demonstrations.md describes it in full.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bridle.training.demonstrations.schema import DTYPES, DemonstrationError, KeySpec

SCHEMA_VERSION = 1
REQUIRED = ("bridle_schema", "robot", "task", "control_rate", "keys", "instructions")
ENDS, CHECKSUMS = "episode_ends", "checksums"
"""Arrays of `meta/` that every set has; per-episode columns stand beside them."""


@dataclass(frozen=True)
class Attributes:
    """The root attributes of a set.

    Raises:
        DemonstrationError: a value is missing or out of range.
    """

    robot: str
    task: str
    control_rate: float
    """Time steps per second [Hz]."""
    keys: Mapping[str, KeySpec]
    instructions: tuple[str, ...]
    """What `data/instruction_id` indexes."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """Where the set came from, a JSON object: the command, its settings, digests of its inputs."""
    episode_keys: Mapping[str, str] = field(default_factory=dict)
    """Per-episode columns `meta/<name>`: name to dtype, integer or float."""

    def __post_init__(self) -> None:
        for name in ("robot", "task"):
            value = getattr(self, name)
            if not (isinstance(value, str) and value):
                raise DemonstrationError(f"{name} must be a name, got {value!r}")
        if not _is_positive(self.control_rate):
            raise DemonstrationError(
                f"control_rate must be a positive number [Hz], got {self.control_rate!r}"
            )
        if "action" not in self.keys:
            raise DemonstrationError(f"keys must hold 'action', got {', '.join(self.keys) or '-'}")
        for key in self.keys:
            if not key.isidentifier():
                raise DemonstrationError(f"a key must be an identifier, got {key!r}")
        for text in self.instructions:
            if not (isinstance(text, str) and text):
                raise DemonstrationError(f"instructions must be sentences, got {text!r}")
        # Tuples become lists, so that a set read again compares equal.
        object.__setattr__(self, "source", _json_object(self.source))
        _check_episode_keys(self.episode_keys)

    def to_json(self) -> dict[str, Any]:
        """What `.zattrs` holds."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {"bridle_schema": SCHEMA_VERSION} | content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Attributes":
        """Read what `.zattrs` holds; `source` and `episode_keys` may be left out.

        Raises:
            DemonstrationError: an attribute is missing or wrong, or the version is unknown.
        """
        version = content.get("bridle_schema")
        if type(version) is not int or version != SCHEMA_VERSION:
            raise DemonstrationError(
                f"bridle_schema: this Bridle reads version {SCHEMA_VERSION}, got {version!r}"
            )
        missing = [name for name in REQUIRED if name not in content]
        if missing:
            raise DemonstrationError(f"attributes are missing: {', '.join(missing)}")
        keys, instructions = content["keys"], content["instructions"]
        if not isinstance(keys, Mapping) or not isinstance(instructions, list):
            raise DemonstrationError(
                "keys must be an object and instructions a list, got "
                f"{type(keys).__name__} and {type(instructions).__name__}"
            )
        return cls(
            robot=content["robot"],
            task=content["task"],
            control_rate=content["control_rate"],
            keys={key: _spec_from_json(key, value) for key, value in keys.items()},
            instructions=tuple(instructions),
            source=content.get("source", {}),
            episode_keys=content.get("episode_keys", {}),
        )


def _is_positive(rate: object) -> bool:
    if not isinstance(rate, int | float) or isinstance(rate, bool):
        return False
    try:
        return math.isfinite(rate) and rate > 0
    except OverflowError:  # an integer beyond all floats
        return False


def _json_object(source: object) -> dict[str, Any]:
    if not isinstance(source, Mapping):
        raise DemonstrationError(f"source must be a JSON object, got {type(source).__name__}")
    try:
        content: dict[str, Any] = json.loads(json.dumps(dict(source), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise DemonstrationError(f"source must be a JSON object: {error}") from error
    return content


def _check_episode_keys(episode_keys: object) -> None:
    if not isinstance(episode_keys, Mapping):
        raise DemonstrationError(
            f"episode_keys must be an object, got {type(episode_keys).__name__}"
        )
    for name, dtype in episode_keys.items():
        if not (isinstance(name, str) and name.isidentifier()) or name in (ENDS, CHECKSUMS):
            raise DemonstrationError(
                f"an episode key must be an identifier other than {ENDS} and {CHECKSUMS}, "
                f"got {name!r}"
            )
        if dtype not in DTYPES or dtype == "bool":
            raise DemonstrationError(
                f"episode_keys.{name}: dtype must be an integer or float type, got {dtype!r}"
            )


def _spec_from_json(key: str, value: Any) -> KeySpec:
    names = set(KeySpec.__dataclass_fields__)
    if not isinstance(value, Mapping) or set(value) != names:
        raise DemonstrationError(f"keys.{key}: expected {', '.join(sorted(names))}, got {value!r}")
    if not isinstance(value["shape"], list) or not isinstance(value["dtype"], str):
        raise DemonstrationError(f"keys.{key}: expected a list and a name, got {value!r}")
    try:
        return KeySpec(**{**value, "shape": tuple(value["shape"])})
    except DemonstrationError as error:
        raise DemonstrationError(f"keys.{key}: {error}") from error
