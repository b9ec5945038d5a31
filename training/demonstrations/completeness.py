"""Whether all rows and chunks are there that the ends and the attributes of a set call for."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from bridle.training.demonstrations.arrays import StoredArray
from bridle.training.demonstrations.codecs import BLOSC_HEADER, blosc_fault
from bridle.training.demonstrations.files import StoredFiles
from bridle.training.demonstrations.schema import DemonstrationError
from bridle.training.demonstrations.storage import Problem, StoredSet

_LOOKED_FOR = 1000
"""Chunks that are looked for one by one; of more, only the number is said."""
_UNSTORED_BYTES, _UNSTORED_CHUNKS, _UNSTORED_SHARE = 256 << 20, 10_000, 100
"""How much a set of others may leave unstored, since it is zero, or the share of what it stores."""


def check_arrays(stored: StoredSet) -> Iterator[Problem]:
    """Every way in which the arrays do not hold what the ends and the attributes say."""
    specs = stored.attributes.keys if stored.attributes else {}
    for key in sorted(specs.keys() - stored.arrays.keys()):
        if f"data/{key}/.zarray" not in stored.files.names:
            yield Problem("error", f"data/{key}", "the attributes name it, but it is not stored")
    files = _files_of_arrays(stored)
    for key, array in stored.arrays.items():
        where, n_steps = f"data/{key}", stored.n_steps
        if specs and key not in specs:
            yield Problem("note", where, "the attributes do not name it")
        if key in specs:
            spec = specs[key]
            if array.shape[1:] != spec.shape or array.dtype != np.dtype(spec.dtype):
                yield Problem(
                    "error",
                    where,
                    f"expected {spec.dtype} {spec.shape} per step as the attributes say, "
                    f"got {array.dtype} {array.shape[1:]}",
                )
        rows = array.shape[0]
        if rows < n_steps:
            yield Problem(
                "error",
                where,
                f"torn episode: episode_ends needs {n_steps} rows, got {rows}",
                row=rows,
                episode=stored.episode_of(rows),
            )
        if rows > n_steps:
            yield Problem("note", where, f"{rows - n_steps} uncommitted rows are ignored", n_steps)
        yield from _check_chunks(stored, array, min(rows, n_steps), files.get(array.name, []))


def _files_of_arrays(stored: StoredSet) -> dict[str, list[str]]:
    """The files in the folder of each array, and below it."""
    folders = {array.name for array in stored.arrays.values()}
    files: dict[str, list[str]] = {}
    for name in stored.files.names:
        folder = name.rpartition("/")[0]
        while folder and folder not in folders:
            folder = folder.rpartition("/")[0]
        if folder:
            files.setdefault(folder, []).append(name)
    return files


def _check_chunks(
    stored: StoredSet, array: StoredArray, n_rows: int, files: list[str]
) -> Iterator[Problem]:
    last = -(-n_rows // array.chunks[0])
    limits = (last, *(-(-s // c) for s, c in zip(array.shape[1:], array.chunks[1:], strict=True)))
    there = {}
    for name in files:
        index = array.chunk_index(name)
        if index is not None and all(i < n for i, n in zip(index, limits, strict=True)):
            there[index] = name
    total = array.n_chunks(n_rows)
    if len(there) < total:
        missing = _first_missing(stored, array, n_rows, there)
        if missing is not None:
            row, name = missing
            # Others may leave out chunks that are zero throughout; Bridle stores every chunk.
            absent = total - len(there)
            much = absent > _UNSTORED_SHARE * len(there) and (
                absent > _UNSTORED_CHUNKS or absent * array.chunk_bytes > _UNSTORED_BYTES
            )
            yield Problem(
                "error" if stored.attributes or much else "note",
                name,
                f"the chunk is missing and reads as {array.layout.fill_value} "
                f"({absent} of {total} are missing)",
                row,
                stored.episode_of(row),
            )
    largest = array.layout.codec.largest(array.chunk_bytes)
    for index, name in sorted(there.items()):
        row = index[0] * array.chunks[0]
        try:
            fault = _chunk_fault(stored.files, array, name, largest)
            if fault:  # once more: a writer may have replaced it between two looks
                fault = _chunk_fault(stored.files, array, name, largest)
        except DemonstrationError as error:
            fault = str(error)
        if fault:
            yield Problem("error", name, fault, row, stored.episode_of(row))


def _first_missing(
    stored: StoredSet, array: StoredArray, n_rows: int, there: dict[tuple[int, ...], str]
) -> tuple[int, str] | None:
    """First row and file of the first chunk that is not there. Adds to `there` what came since."""
    unknown = ((i, name) for i, name in array.chunk_names(0, n_rows) if i not in there)
    first = None
    # A set may be written while it is read.
    for index, name in list(islice(unknown, _LOOKED_FOR)):
        if stored.files.has(name):
            there[index] = name
        elif first is None:
            first = (index[0] * array.chunks[0], name)
    return first


def _chunk_fault(files: StoredFiles, array: StoredArray, name: str, largest: int) -> str | None:
    size = files.size(name)
    if size > largest:
        return f"expected at most {largest} bytes, got {size}"
    codec = array.layout.codec
    if codec.name == "blosc" and files.are_near:
        exact = None if codec.has_filters else array.chunk_bytes
        return blosc_fault(files.read(name, BLOSC_HEADER), size, exact)
    if codec.name is None and not codec.has_filters and size != array.chunk_bytes:
        return f"truncated chunk: expected {array.chunk_bytes} bytes, got {size}"
    return None
