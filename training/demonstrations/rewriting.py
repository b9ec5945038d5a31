"""Making a new set of episodes of others: streamed, an episode committed at a time, resumable.

Merging, splitting, filtering and repairing differ in what they choose; the rest is here. What a new
set was made of stands in its `source`, with the content digests of the inputs, so that a command
that was killed goes on only with exactly the same work, and its result is the uninterrupted one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.digest import ContentDigest
from bridle.training.demonstrations.places import is_zip, locate
from bridle.training.demonstrations.progress import Progress, silent
from bridle.training.demonstrations.resuming import create_or_resume_with
from bridle.training.demonstrations.schema import INSTRUCTION_KEYS, Array, DemonstrationError
from bridle.training.demonstrations.staging import holds, is_there, remove_leftovers, staging_folder
from bridle.training.demonstrations.storage import StoredSet
from bridle.training.demonstrations.validation import EpisodeSums

BLOCK_BYTES = 8 << 20
"""Rows are copied in blocks of about this size."""


@dataclass(frozen=True)
class Pick:
    """One episode to take."""

    stored: StoredSet
    episode: int
    new_ids: NDArray[np.int64] | None = None
    """New index of each of the input's instructions; None leaves them."""


@dataclass(frozen=True)
class Rewritten:
    """A new set."""

    path: str
    episodes: int
    steps: int
    resumed: int
    """Episodes that an earlier run had committed."""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return asdict(self)


def ours(stored: StoredSet) -> Attributes:
    """The attributes of a set that Bridle wrote.

    Raises:
        DemonstrationError: it did not.
    """
    if stored.attributes is None:
        raise DemonstrationError(
            f"{stored.files.path} was not written by Bridle; bring it in with bridle data convert"
        )
    return stored.attributes


def described(stored: StoredSet, progress: Progress = silent) -> dict[str, Any]:
    """What a new set says about one that it was made of, the content digest among it.

    Reads all of it, and compares every episode with its checksum: damage must not be copied and
    given a checksum of its own.

    Raises:
        DemonstrationError: a chunk cannot be read, or the rows are not those that were written.
    """
    attributes, path = ours(stored), stored.files.path
    digest = ContentDigest(attributes, stored.episode_ends, stored.episode_values)
    keys = sorted(stored.arrays)
    for i, key in enumerate(keys):
        array, sums = stored.arrays[key], EpisodeSums(stored, key)
        digest.key(key, array.dtype, (stored.n_steps, *array.shape[1:]))
        for start, stop in stored.row_ranges(key):
            try:
                rows = stored.read(key, start, stop)
            except DemonstrationError as error:
                raise DemonstrationError(f"{path}: {error}") from error
            digest.rows(rows)
            for episode in sums.add(start, rows):
                raise DemonstrationError(
                    f"{path}: data/{key}, episode {episode}: the rows are not those that were "
                    "written (their checksum differs); bridle data repair --out leaves it out"
                )
            progress(f"reading {path}", i * stored.n_steps + stop, len(keys) * stored.n_steps)
    return {
        "digest": digest.hexdigest(),
        "episodes": stored.n_episodes,
        "task": attributes.task,
        "source": dict(attributes.source),
    }


def rewrite(
    picks: Sequence[Pick],
    attributes: Attributes,
    out: Path | str,
    progress: Progress = silent,
    notes: Sequence[str] = (),
) -> Rewritten:
    """Write some episodes to a new set, or go on with it.

    Args:
        picks: which episodes, in their new order.
        attributes: of the new set; its keys and episode keys are among those of every input.
        out: folder, zip or URL.
        progress: told how far it is.
        notes: for the result.

    Raises:
        DemonstrationError: another set is there, or an episode cannot be stored.
    """
    place = locate(out)
    staged = isinstance(place, str) or is_zip(place)
    steps = sum(stop - start for start, stop in (p.stored.span(p.episode) for p in picks))
    if staged and is_there(place) and not staging_folder(place).exists():
        if not holds(place, attributes):
            raise DemonstrationError(f"{out} exists; choose another --out or remove it")
        remove_leftovers(place)
        return Rewritten(str(out), len(picks), steps, len(picks), tuple(notes))
    with create_or_resume_with(place, attributes) as writer:
        resumed = writer.n_episodes
        for pick in picks[resumed:]:
            values = {
                name: pick.stored.episode_values[name][pick.episode].item()
                for name in attributes.episode_keys
            }
            try:
                writer.append_blocks(_blocks(pick, sorted(attributes.keys)), values)
            except DemonstrationError as error:
                where = f"{pick.stored.files.path}, episode {pick.episode}"
                raise DemonstrationError(f"{where}: {error}") from error
            progress(f"writing {out}", writer.n_steps, steps)
        return Rewritten(str(out), writer.n_episodes, writer.n_steps, resumed, tuple(notes))


def _blocks(pick: Pick, keys: Sequence[str]) -> Iterator[Mapping[str, Array]]:
    start, stop = pick.stored.span(pick.episode)
    arrays = [pick.stored.arrays[key] for key in keys]
    row = sum(a.dtype.itemsize * int(np.prod(a.shape[1:])) for a in arrays)
    length = max(1, BLOCK_BYTES // row)
    for first in range(start, stop, length):
        last = min(first + length, stop)
        rows = {key: pick.stored.read(key, first, last) for key in keys}
        for key in INSTRUCTION_KEYS:
            if key in rows and pick.new_ids is not None:
                rows[key] = _renumbered(rows[key], pick.new_ids)
        yield rows


def _renumbered(ids: Array, new_ids: NDArray[np.int64]) -> Array:
    if ids.size and not (ids.min() >= 0 and ids.max() < len(new_ids)):
        raise DemonstrationError(f"expected instructions 0 to {len(new_ids) - 1}, got {ids.max()}")
    renumbered: Array = new_ids[ids].astype(ids.dtype)
    return renumbered
