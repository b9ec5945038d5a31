"""Finding every kind of damage in a stored set, with the file and the time step it is at."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bridle.training.demonstrations.checks import checksum
from bridle.training.demonstrations.progress import Progress, silent
from bridle.training.demonstrations.schema import (
    INSTRUCTION_KEYS,
    Array,
    DemonstrationError,
    first_not_finite,
    first_out_of_range,
)
from bridle.training.demonstrations.storage import Problem, StoredSet, opened


def validate(path: Path | str, progress: Progress = silent) -> list[Problem]:
    """Check a set (zarr folder or zip, path or URL) completely, one chunk in memory at a time.

    Returns:
        What was found, structure before values. A set without a problem of severity "error" can be
        trained on. The values of a key are checked once its structure is sound, and the first wrong
        one is named. Every episode is compared with its checksum, if the set has them: Bridle's do.
    """
    with opened(path) as (stored, problems):
        if stored is None:
            return problems
        damaged = {tuple(p.where.split("/")[:2]) for p in problems if p.severity == "error"}
        keys = [key for key in stored.arrays if ("data", key.split("/")[0]) not in damaged]
        for i, key in enumerate(keys):
            checker = KeyCheck(stored, key)
            for start, stop in stored.row_ranges(key):
                problems += checker.rows(start, stop)
                progress(f"checking {key}", i * stored.n_steps + stop, len(keys) * stored.n_steps)
        for name, values in stored.episode_values.items():
            row = first_not_finite(values)
            if row is not None:
                message = f"expected a finite number, got {values[row]}"
                problems.append(Problem("error", f"meta/{name}", message, episode=row))
        return problems


class KeyCheck:
    """Checks the rows of one key, block by block from the first to the last."""

    def __init__(self, stored: StoredSet, key: str) -> None:
        self._stored, self._key = stored, key
        self._previous: Array | None = None
        self._sound = True
        self._named: int | None = None
        self._sums = EpisodeSums(stored, key)

    def rows(self, start: int, stop: int) -> Iterator[Problem]:
        """Read and check rows start..stop-1."""
        where, stored = f"data/{self._key}", self._stored
        try:
            rows = stored.read(self._key, start, stop)
        except DemonstrationError as error:
            yield Problem("error", where, str(error), start, stored.episode_of(start))
            self._previous = None
            self._sums.skip(stop)
            return
        fault = first_fault(stored, self._key, start, rows, self._previous) if self._sound else None
        if fault is not None:
            self._sound = False
            self._named = stored.episode_of(fault[0])
            yield Problem("error", where, fault[1], fault[0], self._named)
        self._previous = rows[-1:]
        for episode in self._sums.add(start, rows):
            if episode == self._named:
                continue  # what is wrong with it was said
            message = "the rows are not those that were written: their checksum differs"
            yield Problem("error", where, message, stored.span(episode)[0], episode)


class EpisodeSums:
    """Compares the rows of one key, as they come, with the checksums of their episodes."""

    def __init__(self, stored: StoredSet, key: str) -> None:
        self._stored = stored
        keys = sorted(stored.attributes.keys) if stored.attributes else []
        has = stored.checksums is not None and key in keys
        self._expected = stored.checksums[:, keys.index(key)] if has else None  # type: ignore[index]
        self._sum, self._episode, self._whole = 0, 0, True

    def add(self, start: int, rows: Array) -> Iterator[int]:
        """Take rows (t, ...) that follow the last ones; the episodes found to be wrong."""
        if self._expected is None:
            return
        stop = start + len(rows)
        while start < stop:
            end = self._stored.span(self._episode)[1]
            part = rows[len(rows) - (stop - start) :][: end - start]
            self._sum = checksum(part, self._sum)
            start += len(part)
            if start == end:
                if self._whole and self._sum != self._expected[self._episode]:
                    yield self._episode
                self._next()

    def skip(self, stop: int) -> None:
        """Go on after rows that could not be read."""
        while self._episode < self._stored.n_episodes:
            if self._stored.span(self._episode)[1] > stop:
                break
            self._next()
        if self._episode < self._stored.n_episodes:
            self._whole = self._stored.span(self._episode)[0] >= stop

    def _next(self) -> None:
        self._sum, self._whole = 0, True
        self._episode += 1


def first_fault(
    stored: StoredSet, key: str, start: int, rows: Array, previous: Array | None
) -> tuple[int, str] | None:
    """Row and description of the first wrong value of a block (t, ...) that begins at `start`.

    Args:
        stored: the set.
        key: of the rows.
        start: time step of the first row.
        rows: what to check.
        previous: the row before (1, ...), if it could be read.
    """
    row = first_not_finite(rows)
    if row is not None:
        return start + row, f"expected finite numbers, got {rows[row].ravel()[:8].tolist()}"
    if rows.dtype == np.bool_:
        row = first_out_of_range(rows.view(np.uint8).reshape(len(rows), -1).max(axis=1), 2)
        if row is not None:
            return start + row, "expected true or false, got a byte that is neither 1 nor 0"
    if key in INSTRUCTION_KEYS and stored.attributes is not None:
        count = len(stored.attributes.instructions)
        row = first_out_of_range(rows, count)
        if row is not None:
            return start + row, f"expected one of {count} instructions, got {rows[row]}"
    if key == "timestamp" and rows.ndim == 1:
        first = start if previous is None else start - 1
        times = rows if previous is None else np.concatenate([previous, rows])
        later = first + 1 + np.flatnonzero(times[1:] <= times[:-1])
        # Time starts again with every episode.
        wrong = np.setdiff1d(later, stored.episode_ends)
        if wrong.size:
            before, now = times[wrong[0] - first - 1 : wrong[0] - first + 1].tolist()
            return int(wrong[0]), f"expected more than {before} s, got {now} s"
    return None
