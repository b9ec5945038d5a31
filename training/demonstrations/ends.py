"""Finding out again where the episodes of a damaged set end."""

from collections.abc import Sequence
from itertools import islice

import numpy as np

from bridle.training.demonstrations.checks import checksum
from bridle.training.demonstrations.schema import DemonstrationError
from bridle.training.demonstrations.storage import ENDS, StoredSet

BLOCK_BYTES = 8 << 20
_BUDGET = 1_000_000
"""Time steps, at most, that are tried for an end, over all episodes."""


class EndFinder:
    """Takes the stored ends where they are plausible, and looks for the others.

    An episode's end is confirmed by the checksums: some key's rows up to there are those that were
    written. Where no key agrees, the end at which all do is looked for; without checksums, the
    next row in which time starts again.
    """

    def __init__(
        self,
        stored: StoredSet,
        listed: Sequence[int],
        n_episodes: int | None,
        n_rows: int | None,
        mended: list[str],
    ) -> None:
        """Prepare.

        Args:
            stored: arrays and checksums of the set, as far as there are any.
            listed: the stored ends, as far as they can be read.
            n_episodes: how many are committed; None if no metadata says.
            n_rows: rows that all arrays have by their metadata; None if none says.
            mended: told of every end that was found otherwise.
        """
        self._stored, self._listed, self._mended = stored, listed, mended
        self._n_episodes, self._n_rows = n_episodes, n_rows
        there = min(array.shape[0] for array in stored.arrays.values())
        self._rows = there if n_rows is None else min(there, n_rows)
        self._left = _BUDGET
        self._restarts: list[int] | None = None

    def find(self) -> tuple[list[int], bool]:
        """The ends up to the first one that cannot be found out, and whether that is all."""
        ends: list[int] = []
        while not self._is_all(ends):
            episode, start = len(ends), ends[-1] if ends else 0
            end = self._end(episode, start)
            if end is None:
                return ends, False
            ends.append(end)
        return ends, True

    def _is_all(self, ends: list[int]) -> bool:
        if self._n_episodes is not None:
            return len(ends) >= self._n_episodes
        # Rows are counted after they were written, so all that are counted are of episodes.
        return self._n_rows is not None and (ends[-1] if ends else 0) >= self._n_rows

    def _end(self, episode: int, start: int) -> int | None:
        entry = self._listed[episode] if episode < len(self._listed) else 0
        # Without a count of episodes, what follows the last end must not be taken for one.
        plausible = entry > start and (self._n_episodes is not None or entry <= self._rows)
        sums = self._sums(episode)
        if plausible and (sums is None or self._confirmed(sums, start, entry)):
            return entry
        found, how = (None, "") if sums is None else (self._search(sums, start), "its checksums")
        if found is None and plausible:
            return entry
        if found is None and sums is None:
            found, how = self._restart(start), "the timestamps"
        if found is not None:
            self._mended.append(f"{ENDS}: episode {episode} ends at row {found}, found by {how}")
        return found

    def _sums(self, episode: int) -> dict[str, int] | None:
        """What the rows of each key must come to; None if that is not known."""
        sums, attributes = self._stored.checksums, self._stored.attributes
        if sums is None or attributes is None or episode >= len(sums):
            return None
        return dict(zip(sorted(attributes.keys), sums[episode].tolist(), strict=True))

    def _confirmed(self, sums: dict[str, int], start: int, stop: int) -> bool:
        arrays = self._stored.arrays
        small_first = sorted(arrays, key=lambda key: arrays[key].chunk_bytes)
        return any(
            stop <= arrays[key].shape[0] and self._sum(key, start, stop) == sums[key]
            for key in small_first
        )

    def _sum(self, key: str, start: int, stop: int) -> int | None:
        array, total = self._stored.arrays[key], 0
        length = max(1, BLOCK_BYTES // (array.chunk_bytes // array.chunks[0]))
        for first in range(start, stop, length):
            try:
                total = checksum(array.read(first, min(first + length, stop)), total)
            except DemonstrationError:
                return None
        return total

    def _search(self, sums: dict[str, int], start: int) -> int | None:
        """The end at which the checksums of all keys agree."""
        total, array = 0, self._stored.arrays["action"]
        for row in islice(range(start, self._rows), self._left):
            self._left -= 1
            try:
                total = checksum(array.read(row, row + 1), total)
            except DemonstrationError:
                return None
            if total == sums["action"] and all(
                self._sum(key, start, row + 1) == sums[key] for key in sums
            ):
                return row + 1
        return None

    def _restart(self, start: int) -> int | None:
        """The next row after `start` in which time begins again, or the end of the rows."""
        if self._restarts is None:
            self._restarts = self._all_restarts()
        return next((row for row in self._restarts if row > start), None)

    def _all_restarts(self) -> list[int]:
        array = self._stored.arrays.get("timestamp")
        if array is None or array.ndim != 1:
            return []
        try:
            times = array.read(0, self._rows)
        except DemonstrationError:
            return []
        restarts = [int(row) + 1 for row in np.flatnonzero(times[1:] <= times[:-1])]
        return [*restarts, self._rows]
