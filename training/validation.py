"""Finding every kind of damage in a stored set, with the file and the time step it is at."""

from collections.abc import Iterator
from pathlib import Path

from bridle.training.schema import (
    Array,
    DemonstrationError,
    first_not_finite,
    first_not_increasing,
    first_out_of_range,
)
from bridle.training.storage import Problem, StoredSet, opened


def validate(path: Path) -> list[Problem]:
    """Check a set (zarr folder or zip) completely, one chunk in memory at a time.

    Returns:
        What was found, structure before values; of each kind the first in every key. A set without
        a problem of severity "error" can be trained on. Chunks carry no checksum: flipped bits that
        still decode to finite numbers show only in the digest.
    """
    with opened(path) as (stored, problems):
        if stored is not None:
            # Values behind a damaged structure would be reported as what they are not.
            broken = {p.where.split("/")[1] for p in problems if p.where.startswith("data/")}
            for key in stored.arrays:
                if key not in broken or _sound(key, problems):
                    problems += _check_values(stored, key)
        return problems


def _sound(key: str, problems: list[Problem]) -> bool:
    return not any(
        p.severity == "error" and p.where.split("/")[:2] == ["data", key] for p in problems
    )


def _check_values(stored: StoredSet, key: str) -> Iterator[Problem]:
    where = f"data/{key}"
    found: set[str] = set()

    def problem(kind: str, row: int, message: str) -> Iterator[Problem]:
        if kind not in found:
            found.add(kind)
            yield Problem("error", where, message, row, stored.episode_of(row))

    before: Array | None = None
    try:
        for start, rows in stored.blocks(key):
            bad = first_not_finite(rows)
            if bad is not None:
                yield from problem("finite", start + bad, "expected finite numbers, got NaN or Inf")
            if key == "instruction_id" and stored.attributes is not None:
                count = len(stored.attributes.instructions)
                bad = first_out_of_range(rows, count)
                if bad is not None:
                    yield from problem(
                        "range",
                        start + bad,
                        f"expected one of {count} instructions, got {rows[bad]}",
                    )
            if key == "timestamp" and rows.ndim == 1:
                yield from _check_time(stored, start, rows, before, problem)
                before = rows[-1:]
    except DemonstrationError as error:
        yield Problem("error", where, str(error))
