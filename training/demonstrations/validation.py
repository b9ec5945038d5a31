"""Finding every kind of damage in a stored set, with the file and the time step it is at."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bridle.training.demonstrations.schema import (
    Array,
    DemonstrationError,
    first_not_finite,
    first_out_of_range,
)
from bridle.training.demonstrations.storage import Problem, StoredSet, opened


def validate(path: Path) -> list[Problem]:
    """Check a set (zarr folder or zip) completely, one chunk in memory at a time.

    Returns:
        What was found, structure before values. A set without a problem of severity "error" can be
        trained on. The values of a key are checked once its structure is sound, and the first wrong
        one is named. Chunks carry no checksum: flipped bits that still decode to plausible numbers
        show only in the digest.
    """
    with opened(path) as (stored, problems):
        if stored is None:
            return problems
        damaged = {tuple(p.where.split("/")[:2]) for p in problems if p.severity == "error"}
        for key in stored.arrays:
            if ("data", key) not in damaged:
                problems += _check_values(stored, key)
        return problems


def _check_values(stored: StoredSet, key: str) -> Iterator[Problem]:
    previous: Array | None = None
    sound = True
    for start, stop in stored.row_ranges(key):
        try:
            rows = stored.read(key, start, stop)
        except DemonstrationError as error:
            yield Problem("error", f"data/{key}", str(error), start, stored.episode_of(start))
            previous = None
            continue
        fault = _first_fault(stored, key, start, rows, previous) if sound else None
        if fault is not None:
            sound = False
            row, message = fault
            yield Problem("error", f"data/{key}", message, row, stored.episode_of(row))
        previous = rows[-1:]


def _first_fault(
    stored: StoredSet, key: str, start: int, rows: Array, previous: Array | None
) -> tuple[int, str] | None:
    """Row and description of the first wrong value of a block (t, ...) that begins at `start`."""
    row = first_not_finite(rows)
    if row is not None:
        return start + row, f"expected finite numbers, got {rows[row].ravel()[:8].tolist()}"
    if key == "instruction_id" and stored.attributes is not None:
        count = len(stored.attributes.instructions)
        row = first_out_of_range(rows, count)
        if row is not None:
            return start + row, f"expected one of {count} instructions, got {rows[row]}"
    if key == "timestamp" and rows.ndim == 1:
        first = start if previous is None else start - 1
        times = rows if previous is None else np.concatenate([previous, rows])
        later = first + 1 + np.flatnonzero(np.diff(times) <= 0)
        # Time starts again with every episode.
        wrong = np.setdiff1d(later, stored.episode_ends)
        if wrong.size:
            before, now = times[wrong[0] - first - 1 : wrong[0] - first + 1].tolist()
            return int(wrong[0]), f"expected more than {before} s, got {now} s"
    return None
