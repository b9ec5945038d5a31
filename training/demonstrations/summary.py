"""What is in a stored set, in numbers for a person."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bridle.training.demonstrations.digest import ContentDigest
from bridle.training.demonstrations.schema import DemonstrationError
from bridle.training.demonstrations.storage import StoredSet, opened


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
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return asdict(self)


def info(path: Path) -> Summary:
    """Summarise a set (zarr folder or zip), one chunk in memory at a time.

    Raises:
        DemonstrationError: the set is damaged.
    """
    with opened(path) as (stored, problems):
        for problem in problems:
            if problem.severity == "error":
                raise DemonstrationError(f"{path}: {problem}")
        assert stored is not None
        attributes = stored.attributes
        digest = ContentDigest(attributes, stored.episode_ends)
        try:
            keys = {key: _summarise(stored, key, digest) for key in sorted(stored.arrays)}
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
            notes=tuple(str(problem) for problem in problems),
        )


def _summarise(stored: StoredSet, key: str, digest: ContentDigest) -> KeySummary:
    """Statistics in one pass, blocks joined by the rule of Chan, Golub and LeVeque (1983)."""
    array = stored.arrays[key]
    shape = tuple(array.shape[1:])
    digest.key(key, array.dtype, (stored.n_steps, *shape))
    low, high, count, mean, squares = np.inf, -np.inf, 0, 0.0, 0.0
    for start, stop in stored.row_ranges(key):
        rows = stored.read(key, start, stop)
        digest.rows(rows)
        values = rows.astype(np.float64)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        step = float(values.mean()) - mean
        total = count + values.size
        squares += float(values.var()) * values.size + step**2 * count * values.size / total
        mean += step * values.size / total
        count = total
    spec = stored.attributes.keys.get(key) if stored.attributes else None
    # JSON has no NaN and no infinity.
    numbers = [
        float(x) if count and np.isfinite(x) else None
        for x in (low, high, mean, np.sqrt(squares / max(count, 1)))
    ]
    return KeySummary(shape, str(array.dtype), spec.unit if spec else None, *numbers)
