"""What every format gives: named columns over time, episode by episode, block by block.

A format is one file with a `Source`. It never holds more than a block of rows (and what its own
format forces on it, such as one chunk), and it checks every length it reads from a file.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from bridle.training.demonstrations.schema import Array, DemonstrationError, KeySpec

BLOCK_BYTES = 16 << 20
"""What a block of rows may take in memory, unless a single row is larger."""
UNKNOWN = "unknown"

Block = Mapping[str, Array]


class ConversionError(DemonstrationError):
    """A data set cannot be converted as asked; the message says what to do."""


class SkippedEpisode(Exception):  # noqa: N818 - not an error
    """An episode that is left out on purpose, with the reason."""


@dataclass(frozen=True)
class Column:
    """One named column of a foreign data set, and what becomes of it unless the user says so."""

    shape: tuple[int, ...]
    """Shape of one time step."""
    dtype: str
    """Numpy name."""
    key: str
    """Bridle's name for it; empty leaves it out."""
    unit: str = UNKNOWN
    meaning: str = ""
    spec: KeySpec | None = None
    """Set if it is one of Bridle's own already: nothing is converted."""
    left_out: str = ""
    """Why it is left out, if it is."""


@dataclass(frozen=True)
class Rule:
    """`--map a+b=key:unit`: these columns, side by side, become one key; an empty key drops them.

    Raises:
        ConversionError: the key is no identifier.
    """

    sources: tuple[str, ...]
    key: str
    unit: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Read a rule as the user writes it."""
        left, equals, right = text.rpartition("=")
        sources = tuple(name.strip() for name in left.split("+"))
        key, colon, unit = (part.strip() for part in right.partition(":"))
        if not equals or not all(sources):
            raise ConversionError(f"--map {text}: expected SOURCE=KEY, A+B=KEY:UNIT or SOURCE=")
        if key and not key.isidentifier():
            raise ConversionError(f"--map {text}: a key must be an identifier, got {key!r}")
        return cls(sources, key, unit if colon else None)


@dataclass(frozen=True)
class Gap:
    """Time without fresh data [s], counted from the beginning of the recording."""

    recording: str
    topic: str
    start: float
    end: float


@dataclass(frozen=True)
class Episode:
    """One episode of a source. Read its blocks before asking for the next one."""

    index: int
    """Its number in the source; rising, not always without holes."""
    name: str
    """What a person would call it."""
    blocks: Callable[[], Iterator[Block]]
    """Consecutive blocks of rows (t, ...). Raises SkippedEpisode or DemonstrationError."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """One value for each of the source's `episode_keys`."""
    gaps: list[Gap] = field(default_factory=list)
    """Filled while the blocks are read."""


class Source(Protocol):
    """A data set of some format, opened."""

    format: str
    robot: str | None
    task: str | None
    control_rate: float | None
    """Time steps per second [Hz]; None when the format does not say."""
    columns: Mapping[str, Column]
    instructions: tuple[str, ...]
    episode_keys: Mapping[str, str]
    n_episodes: int | None
    """None when that shows only at the end."""
    fingerprint: Mapping[str, Any]
    """JSON that tells this data set from another one, whatever its path."""
    notes: list[str]
    derived: tuple[Rule, ...]
    """Keys it makes of its columns, besides carrying them."""
    origin: Mapping[str, Any]
    """Where the data set itself came from, if it says so."""

    @property
    def position(self) -> tuple[int, int] | None:
        """How much of how much was read, where `n_episodes` does not tell."""
        ...

    def episodes(self, first: int, columns: Sequence[str]) -> Generator[Episode]:
        """Episodes whose index is at least `first`, with these columns only."""
        ...

    def close(self) -> None:
        """Close its files."""
        ...


@dataclass(frozen=True)
class SourceOptions:
    """What the user says about a source."""

    rate: float | None = None
    filter_key: str | None = None
    topics: Any = None
    """Path of the topic map, for bags."""


def require(module: str) -> Any:
    """Import a library of the extra `convert`.

    Raises:
        ConversionError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConversionError(
            f"{error.name or module} is not installed; this format needs it: "
            "pip install 'bridle[convert]'"
        ) from error


def rows_per_block(columns: Sequence[Column]) -> int:
    """Rows of these columns that fit into a block."""
    row = sum(int(np.prod(c.shape)) * np.dtype(c.dtype).itemsize for c in columns)
    return max(1, BLOCK_BYTES // max(row, 1))
