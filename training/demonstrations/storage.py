"""A stored demonstration set, opened and checked as far as that needs no data.

Format 2 of zarr lets a chunk be absent and half a set be opened without a word. What is stored is
therefore compared here with what must be stored, before anyone reads a number.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations import attributes as root
from bridle.training.demonstrations.arrays import StoredArray
from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.files import StoredFiles
from bridle.training.demonstrations.schema import Array, DemonstrationError

ENDS = f"meta/{root.ENDS}"
CHECKSUMS = f"meta/{root.CHECKSUMS}"
PIECE_BYTES = 16 << 20
"""Large chunks are looked at in pieces of this size."""


@dataclass(frozen=True)
class Problem:
    """One finding about a stored set."""

    severity: Literal["error", "note"]
    where: str
    """File or array inside the set; its path if there is none."""
    message: str
    row: int | None = None
    """Time step, counted over all episodes."""
    episode: int | None = None

    def __str__(self) -> str:
        place = self.where
        if self.row is not None:
            place += f", row {self.row}"
        if self.episode is not None:
            place += f", episode {self.episode}"
        return f"{self.severity}: {place}: {self.message}"


@dataclass(frozen=True)
class StoredSet:
    """An opened set. Arrays may hold rows after `n_steps`; they are not part of it."""

    arrays: Mapping[str, StoredArray]
    episode_ends: NDArray[np.int64]
    attributes: Attributes | None
    """None for a set that Bridle did not write."""
    files: StoredFiles
    episode_values: Mapping[str, Array] = field(default_factory=dict)
    """Per-episode columns (n_episodes,) that the attributes name."""
    checksums: NDArray[np.uint32] | None = None
    """CRC-32 of every episode's rows (n_episodes, n_keys), the attributes' keys in alphabetical
    order; None for a set without."""

    @property
    def n_episodes(self) -> int:
        """Committed episodes."""
        return len(self.episode_ends)

    @property
    def n_steps(self) -> int:
        """Committed time steps."""
        return int(self.episode_ends[-1]) if len(self.episode_ends) else 0

    def span(self, episode: int) -> tuple[int, int]:
        """First row of an episode, and the one after its last."""
        start = int(self.episode_ends[episode - 1]) if episode else 0
        return start, int(self.episode_ends[episode])

    def episode_of(self, row: int) -> int:
        """Episode that a time step belongs to."""
        return int(np.searchsorted(self.episode_ends, row, side="right"))

    def row_ranges(self, key: str) -> Iterator[tuple[int, int]]:
        """First row, and the one after the last, of every piece to read committed steps in.

        A piece is a chunk, or a part of a large one; of sets behind URLs it is several, which are
        fetched together.
        """
        array = self.arrays[key]
        row = max(1, array.chunk_bytes // array.chunks[0])
        length = min(array.chunks[0], max(1, PIECE_BYTES // row))
        if not self.files.are_near and length == array.chunks[0]:
            length *= array.together()
        for start in range(0, self.n_steps, length):
            yield start, min(start + length, self.n_steps)

    def read(self, key: str, start: int, stop: int) -> Array:
        """Rows start..stop-1 of a key.

        Raises:
            DemonstrationError: a chunk cannot be decoded, with its file and rows.
        """
        return self.arrays[key].read(start, stop)


@contextmanager
def opened(path: Path | str) -> Iterator[tuple[StoredSet | None, list[Problem]]]:
    """Open a set (zarr folder or zip, path or URL) and find all that is wrong with its structure.

    Yields:
        The set, None if its structure does not allow reading it, and what was found.
    """
    from bridle.training.demonstrations.structure import examine

    try:
        files = StoredFiles(path)
    except DemonstrationError as error:
        yield None, [Problem("error", str(path), str(error))]
        return
    try:
        yield examine(files)
    finally:
        files.close()


@contextmanager
def opened_sound(path: Path | str) -> Iterator[tuple[StoredSet, list[Problem]]]:
    """Open a set whose structure is sound; errors inside name the path.

    Yields:
        The set, and the notes about it.

    Raises:
        DemonstrationError: the first thing that is wrong with its structure.
    """
    with opened(path) as (stored, problems):
        for problem in problems:
            if problem.severity == "error":
                whole = problem.where == str(path)
                raise DemonstrationError(problem.message if whole else f"{path}: {problem}")
        assert stored is not None
        yield stored, problems
