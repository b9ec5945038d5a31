"""What is in a stored set, in numbers for a person."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bridle.training.demonstrations.digest import ContentDigest
from bridle.training.demonstrations.moments import Moments
from bridle.training.demonstrations.progress import Progress, silent
from bridle.training.demonstrations.schema import DemonstrationError
from bridle.training.demonstrations.storage import StoredSet, opened_sound


@dataclass(frozen=True)
class KeySummary:
    """One key; statistics are over all time steps and entries, None without any."""

    shape: tuple[int, ...]
    dtype: str
    unit: str | None
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None


@dataclass(frozen=True)
class Summary:
    """A set. What a set without Bridle's attributes does not tell is None."""

    path: str
    robot: str | None
    task: str | None
    control_rate: float | None
    """Time steps per second [Hz]."""
    episodes: int
    steps: int
    shortest: int
    """Time steps of the shortest episode."""
    longest: int
    """Time steps of the longest episode."""
    hours: float | None
    """Duration at the control rate [h]."""
    bytes: int
    """Size of all files as stored."""
    digest: str
    keys: dict[str, KeySummary]
    instructions: tuple[str, ...]
    source: dict[str, Any]
    """Where the set came from."""
    episode_keys: dict[str, str]
    """Per-episode columns: name to dtype."""
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return asdict(self)


def info(path: Path | str, progress: Progress = silent) -> Summary:
    """Summarise a set (zarr folder or zip, path or URL), one chunk in memory at a time.

    Raises:
        DemonstrationError: the set is damaged.
    """
    with opened_sound(path) as (stored, problems):
        attributes = stored.attributes
        digest = ContentDigest(attributes, stored.episode_ends, stored.episode_values)
        keys = {}
        for i, key in enumerate(sorted(stored.arrays)):
            progress(f"reading {key}", i, len(stored.arrays))
            try:
                keys[key] = _summarise(stored, key, digest)
            except DemonstrationError as error:
                raise DemonstrationError(f"{path}: {error}") from error
        lengths = np.diff(stored.episode_ends, prepend=0)
        return Summary(
            path=str(path),
            robot=attributes.robot if attributes else None,
            task=attributes.task if attributes else None,
            control_rate=attributes.control_rate if attributes else None,
            episodes=len(lengths),
            steps=stored.n_steps,
            shortest=int(lengths.min(initial=stored.n_steps)),
            longest=int(lengths.max(initial=0)),
            hours=stored.n_steps / attributes.control_rate / 3600 if attributes else None,
            bytes=stored.files.total_size(),
            digest=digest.hexdigest(),
            keys=keys,
            instructions=attributes.instructions if attributes else (),
            source=dict(attributes.source) if attributes else {},
            episode_keys=dict(attributes.episode_keys) if attributes else {},
            notes=tuple(str(problem) for problem in problems),
        )


def _summarise(stored: StoredSet, key: str, digest: ContentDigest) -> KeySummary:
    array = stored.arrays[key]
    shape = tuple(array.shape[1:])
    digest.key(key, array.dtype, (stored.n_steps, *shape))
    moments = Moments(1)
    for start, stop in stored.row_ranges(key):
        rows = stored.read(key, start, stop)
        digest.rows(rows)
        moments.add(rows.reshape(-1, 1))
    spec = stored.attributes.keys.get(key) if stored.attributes else None
    # JSON has no NaN and no infinity.
    numbers = [
        float(x[0]) if np.isfinite(x[0]) else None
        for x in (moments.minimum, moments.maximum, moments.mean, moments.std)
    ]
    return KeySummary(shape, str(array.dtype), spec.unit if spec else None, *numbers)
