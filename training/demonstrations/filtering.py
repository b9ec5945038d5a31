"""The episodes and keys of a set that are wanted."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations.progress import Progress, silent
from bridle.training.demonstrations.rewriting import Pick, Rewritten, described, ours, rewrite
from bridle.training.demonstrations.schema import INSTRUCTION_KEYS, Array, DemonstrationError
from bridle.training.demonstrations.storage import StoredSet, opened_sound

_RANGE = re.compile(r"(\d+)(-(\d*))?")
Chosen = NDArray[np.bool_]


@dataclass(frozen=True)
class Wanted:
    """What to keep; everything that is asked for must hold.

    Raises:
        DemonstrationError: a value is out of range.
    """

    episodes: str | None = None
    """Numbers and ranges: "0-9,15,20-" (both ends belong to a range)."""
    min_length: int = 1
    """Time steps an episode must have."""
    max_length: int | None = None
    """Time steps it may have."""
    success: bool = False
    """The last reward is above 0."""
    safe: bool = False
    """The cost is 0 in every step."""
    instruction: str | None = None
    """A sentence of the episode (`instruction_id`, `goal_id`) holds this text, in any case."""
    keys: tuple[str, ...] = ()
    """Keys to keep, besides `action`; none given keeps all."""
    drop: tuple[str, ...] = ()
    """Keys to leave out."""

    def __post_init__(self) -> None:
        if self.min_length < 1 or (self.max_length or self.min_length) < self.min_length:
            raise DemonstrationError(
                f"lengths must be 1 <= min <= max, got {self.min_length} and {self.max_length}"
            )
        if "action" in self.drop:
            raise DemonstrationError("action cannot be dropped: every set must have it")
        for part in (self.episodes or "0").split(","):
            if not _RANGE.fullmatch(part.strip()):
                raise DemonstrationError(f"episodes: expected such as 0-9,15,20-, got {part!r}")


def filter_set(
    path: Path | str, out: Path | str, wanted: Wanted, progress: Progress = silent
) -> Rewritten:
    """Write the wanted part of a set to a new one, or go on with that.

    Args:
        path: the set.
        out: new set: a folder, a zip or a URL.
        wanted: what to keep.
        progress: told how far it is.

    Raises:
        DemonstrationError: no episode is left, a key or an episode does not exist, the set is
            damaged, or another set is at `out`.
    """
    with opened_sound(path) as (stored, _):
        attributes = ours(stored)
        keys = _keys(str(path), sorted(attributes.keys), wanted)
        chosen = np.flatnonzero(_chosen(stored, wanted))
        if not len(chosen):
            raise DemonstrationError(f"{path}: none of its {stored.n_episodes} episodes is wanted")
        asked = {k: v for k, v in asdict(wanted).items() if v != getattr(Wanted(), k)}
        its = replace(
            attributes,
            keys={key: attributes.keys[key] for key in attributes.keys if key in keys},
            source={"command": "filter", "wanted": asked, "input": described(stored, progress)},
        )
        return rewrite([Pick(stored, int(i)) for i in chosen], its, out, progress)


def _keys(path: str, there: list[str], wanted: Wanted) -> list[str]:
    unknown = [key for key in (*wanted.keys, *wanted.drop) if key not in there]
    if unknown:
        raise DemonstrationError(f"{path} has no {', '.join(unknown)}; it has {', '.join(there)}")
    kept = {*wanted.keys, "action"} if wanted.keys else set(there)
    return sorted(kept - set(wanted.drop))


def _chosen(stored: StoredSet, wanted: Wanted) -> Chosen:
    lengths = np.diff(stored.episode_ends, prepend=0)
    chosen = lengths >= wanted.min_length
    if wanted.max_length is not None:
        chosen &= lengths <= wanted.max_length
    if wanted.episodes is not None:
        chosen &= _listed(wanted.episodes, stored.n_episodes)
    if wanted.success:
        chosen &= _succeeded(stored)
    if wanted.safe:
        chosen &= ~_episodes_with(stored, "cost", None)
    if wanted.instruction is not None:
        chosen &= _told(stored, wanted.instruction)
    return chosen


def _listed(text: str, n: int) -> Chosen:
    listed = np.zeros(n, np.bool_)
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        assert found is not None
        first = int(found[1])
        last = first if found[2] is None else int(found[3]) if found[3] else n - 1
        if not first <= last < n:
            raise DemonstrationError(f"episodes: expected 0 to {n - 1}, got {part.strip()!r}")
        listed[first : last + 1] = True
    return listed


def _succeeded(stored: StoredSet) -> Chosen:
    succeeded = np.zeros(stored.n_episodes, np.bool_)
    for episodes, rows, at in _scalars(stored, "reward"):
        last = at == stored.episode_ends[episodes] - 1
        succeeded[episodes[last]] = rows[last] > 0
    return succeeded


def _episodes_with(stored: StoredSet, key: str, wanted: Array | None) -> Chosen:
    """Episodes with a row that is not 0, or is one of `wanted`."""
    found = np.zeros(stored.n_episodes, np.bool_)
    for episodes, rows, _ in _scalars(stored, key):
        found[episodes[rows != 0 if wanted is None else np.isin(rows, wanted)]] = True
    return found


def _told(stored: StoredSet, text: str) -> Chosen:
    sentences = ours(stored).instructions
    ids = [i for i, words in enumerate(sentences) if text.casefold() in words.casefold()]
    if not ids:
        raise DemonstrationError(f"{stored.files.path}: no instruction holds {text!r}")
    keys = [key for key in INSTRUCTION_KEYS if key in stored.arrays]
    if not keys:
        raise DemonstrationError(f"{stored.files.path} has no {' and no '.join(INSTRUCTION_KEYS)}")
    told = [_episodes_with(stored, key, np.array(ids)) for key in keys]
    any_of_them: Chosen = np.any(told, axis=0)
    return any_of_them


def _scalars(stored: StoredSet, key: str) -> Iterator[tuple[NDArray[np.int64], Array, Array]]:
    """Rows of a key with one number per step: episode (t,), value (t,) and time step (t,)."""
    array = stored.arrays.get(key)
    if array is None or array.ndim != 1:
        raise DemonstrationError(f"{stored.files.path} has no {key!r} with one number per step")
    for start, stop in stored.row_ranges(key):
        at = np.arange(start, stop)
        yield (
            np.searchsorted(stored.episode_ends, at, side="right"),
            stored.read(key, start, stop),
            at,
        )
