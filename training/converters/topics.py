"""The topic map: which topic and field of a bag becomes which key, and how time is cut."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import dacite
import yaml

from bridle.training.converters.source import UNKNOWN, ConversionError
from bridle.training.demonstrations.schema import CAMERA_PREFIX, DEPTH_PREFIX

INSTRUCTION = "instruction"
_PATH = re.compile(r"[A-Za-z_]\w*(\[\d{1,6}\])?(\.[A-Za-z_]\w*(\[\d{1,6}\])?)*")


@dataclass(frozen=True)
class KeyTopic:
    """Where one key comes from."""

    topic: str
    """Name of the topic."""
    field: str | tuple[str, ...] = ()
    """Path in the message, such as `position`, `points[0].positions`, or several side by side.
    Images and sentences need none."""
    names: tuple[str, ...] | None = None
    """Names of the joints in the order the key shall have; None takes the message's order."""
    max_age: float | None = None
    """Oldest value that still counts [s]; None takes the map's."""
    interpolate: bool = False
    """Between the values before and after, instead of holding the last one."""
    unit: str | None = None
    """Unit of a key that Bridle does not know."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The paths, one or several."""
        return (self.field,) if isinstance(self.field, str) else self.field

    def __post_init__(self) -> None:
        for path in self.fields:
            if not _PATH.fullmatch(path):
                raise ConversionError(f"field: expected a path like points[0].positions: {path!r}")
        if self.max_age is not None and self.max_age <= 0:
            raise ConversionError(f"max_age must be positive [s], got {self.max_age}")


@dataclass(frozen=True)
class EpisodeRule:
    """What one episode is."""

    by: Literal["bag", "topic"] = "bag"
    """A whole bag, or what a topic says."""
    topic: str | None = None
    field: str = "data"
    """Of the messages of that topic."""
    start: Any = None
    """Value that begins an episode; without `start` and `stop` every message does."""
    stop: Any = None
    """Value that ends it."""
    discard: Any = None
    """Value that ends it and throws it away."""

    def __post_init__(self) -> None:
        if (self.by == "topic") != (self.topic is not None):
            raise ConversionError("episodes: `by: topic` and `topic: /name` go together")
        if self.stop is not None and self.start is None:
            raise ConversionError("episodes: `stop` needs a `start`")


@dataclass(frozen=True)
class TopicMap:
    """How bags become episodes."""

    keys: Mapping[str, KeyTopic]
    """Bridle's key -> where it comes from; `instruction` holds sentences."""
    rate: float
    """Time steps per second [Hz]."""
    robot: str = UNKNOWN
    task: str = UNKNOWN
    stamps: Literal["header", "log"] = "header"
    """Time of a message: its header's, or that of its recording if it has none; or always that."""
    max_age: float = 0.1
    """Oldest value that still counts [s]; what is older is a gap."""
    max_delay: float = 1.0
    """What a message may come late, and so what is kept in memory [s]."""
    gaps: Literal["split", "refuse"] = "split"
    """A gap ends the episode, and a new one begins after it; or it spoils the episode."""
    min_steps: int = 2
    """Shorter episodes are left out."""
    episodes: EpisodeRule = field(default_factory=EpisodeRule)

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 10_000:
            raise ConversionError(f"rate must lie in 0..10000 Hz, got {self.rate}")
        if self.max_age <= 0 or self.max_delay < 0 or self.min_steps < 1:
            raise ConversionError(
                f"expected max_age > 0, max_delay >= 0 and min_steps >= 1, got {self.max_age}, "
                f"{self.max_delay} and {self.min_steps}"
            )
        for key, place in self.keys.items():
            if not key.isidentifier() or key in ("timestamp", "instruction_id"):
                raise ConversionError(f"keys: {key!r} is no name for a key from a topic")
            bare = key == INSTRUCTION or key.startswith((CAMERA_PREFIX, DEPTH_PREFIX))
            if not place.fields and not bare:
                raise ConversionError(f"keys.{key}: name the field of {place.topic}")
            if place.interpolate and bare:
                raise ConversionError(f"keys.{key}: only numbers can be interpolated")
        if all(key == INSTRUCTION for key in self.keys):
            raise ConversionError("keys: name at least one topic")


def load_topics(path: Path) -> TopicMap:
    """Read a topic map.

    Raises:
        ConversionError: it is no YAML, or says something else than a topic map can.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConversionError(
            f"{path} is not readable YAML: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(content, dict):
        raise ConversionError(f"{path}: expected a topic map, got {type(content).__name__}")
    try:
        config = dacite.Config(strict=True, type_hooks={float: _number})
        return dacite.from_dict(TopicMap, _tuples(content), config)
    except ConversionError as error:
        raise ConversionError(f"{path}: {error}") from error
    except (dacite.DaciteError, TypeError, ValueError, AttributeError) as error:
        raise ConversionError(f"{path}: {error}") from error


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConversionError(f"expected a number, got {value!r}")
    return float(value)


def _tuples(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _tuples(value) for name, value in content.items()}
    return tuple(map(_tuples, content)) if isinstance(content, list) else content


def natural(name: str) -> list[Any]:
    """Sorting key by which run_10 comes after run_2."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
