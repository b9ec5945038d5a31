"""A stored demonstration set, opened and checked as far as that needs no data.

zarr reads a chunk that is not there as zeros and opens half a set without a word. What is stored
is therefore compared here with what must be stored, before anyone reads a number.
"""

import itertools
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore, ZipStore

from bridle.training.demonstrations.files import StoredFiles
from bridle.training.demonstrations.schema import ATTRIBUTES, Array, Attributes, DemonstrationError

ENDS = "meta/episode_ends"
_METADATA = (".zgroup", ".zattrs", ".zarray")
_BLOSC_HEADER = 16


@dataclass(frozen=True)
class Problem:
    """One finding about a stored set."""

    severity: Literal["error", "note"]
    where: str
    """File or array inside the set."""
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

    arrays: Mapping[str, "zarr.Array[Any]"]
    episode_ends: NDArray[np.int64]
    attributes: Attributes | None
    """None for a set that Bridle did not write."""
    files: StoredFiles

    @property
    def n_steps(self) -> int:
        """Committed time steps."""
        return int(self.episode_ends[-1]) if len(self.episode_ends) else 0

    def episode_of(self, row: int) -> int:
        """Episode that a time step belongs to."""
        return int(np.searchsorted(self.episode_ends, row, side="right"))

    def row_ranges(self, key: str) -> Iterator[tuple[int, int]]:
        """First row, and the one after the last, of every chunk of committed time steps."""
        length = self.arrays[key].chunks[0]
        for start in range(0, self.n_steps, length):
            yield start, min(start + length, self.n_steps)

    def read(self, key: str, start: int, stop: int) -> Array:
        """Rows start..stop-1 of a key.

        Raises:
            DemonstrationError: a chunk cannot be decoded, with its file and rows.
        """
        array = self.arrays[key]
        try:
            return np.asarray(array[start:stop])
        # A codec may raise anything at all on damaged bytes.
        except Exception as error:
            name = _chunk_name(array, start // array.chunks[0])
            raise DemonstrationError(
                f"{name}: rows {start} to {stop - 1} cannot be read: {one_line(error)}"
            ) from error


def one_line(error: BaseException) -> str:
    """An error as a single line."""
    return " ".join(f"{type(error).__name__} {error}".split())


def _chunk_name(array: "zarr.Array[Any]", index: int) -> str:
    return f"{array.path}/{array.metadata.encode_chunk_key((index, *[0] * (array.ndim - 1)))}"


def _expected_chunks(array: "zarr.Array[Any]", n_rows: int) -> Iterator[tuple[int, str]]:
    """First row and file of every chunk that holds committed rows."""
    sizes = (n_rows, *array.shape[1:])
    grid = [range(math.ceil(s / c)) for s, c in zip(sizes, array.chunks, strict=True)]
    for index in itertools.product(*grid):
        name = array.metadata.encode_chunk_key(index)
        yield index[0] * array.chunks[0], f"{array.path}/{name}"


@contextmanager
def opened(path: Path) -> Iterator[tuple[StoredSet | None, list[Problem]]]:
    """Open a set (zarr folder or zip) and find all that is wrong with its structure.

    Yields:
        The set, None if its structure does not allow reading it, and what was found.
    """
    try:
        files = StoredFiles(path)
    except DemonstrationError as error:
        yield None, [Problem("error", str(path), str(error))]
        return
    store = None
    try:
        problems = list(_check_files(files))
        if problems:
            yield None, problems
            return
        store = LocalStore(path, read_only=True) if path.is_dir() else ZipStore(path, mode="r")
        group = zarr.open_group(store, mode="r", zarr_format=2, use_consolidated=False)
        yield _open(group, files)
    finally:
        files.close()
        if store is not None:
            store.close()


def _check_files(files: StoredFiles) -> Iterator[Problem]:
    if "zarr.json" in files.names:
        yield Problem("error", "zarr.json", "expected zarr format 2, got format 3")
        return
    if ".zgroup" not in files.names:
        yield Problem("error", ".zgroup", f"missing: {files.path} is not a zarr group")
        return
    for group in ("data", "meta"):
        if f"{group}/.zgroup" not in files.names:
            yield Problem("error", f"{group}/.zgroup", "missing")
    if f"{ENDS}/.zarray" not in files.names:
        yield Problem("error", f"{ENDS}/.zarray", "missing: no episode is committed")
    orphans: dict[str, str] = {}
    for name in sorted(files.names):
        parts = name.split("/")
        if len(parts) == 3 and parts[0] == "data" and parts[2][0].isdigit():
            orphans.setdefault(f"data/{parts[1]}/.zarray", name)
    for metadata, chunk in orphans.items():
        if metadata not in files.names:
            yield Problem("error", metadata, f"missing, but there is {chunk}")
    for name in sorted(n for n in files.names if n.rsplit("/", 1)[-1] in _METADATA):
        try:
            content = json.loads(files.read(name))
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            yield Problem("error", name, f"is not readable JSON: {one_line(error)}")
            continue
        if not isinstance(content, dict):
            yield Problem("error", name, f"expected a JSON object, got {type(content).__name__}")
        elif not name.endswith(".zattrs") and content.get("zarr_format") != 2:
            found = content.get("zarr_format")
            yield Problem("error", name, f"expected zarr_format 2, got {found!r}")


def _open(group: zarr.Group, files: StoredFiles) -> tuple[StoredSet | None, list[Problem]]:
    problems: list[Problem] = []
    arrays: dict[str, zarr.Array[Any]] = {}
    names = sorted(n[:-8] for n in files.names if n.startswith("data/") and n.endswith("/.zarray"))
    for name in [ENDS, *names]:
        try:
            array = group[name]
            if (
                not isinstance(array, zarr.Array)
                or array.ndim == 0
                or array.dtype.kind not in "biuf"
                or 0 in array.chunks
            ):
                raise TypeError("not an array of numbers over time in chunks of at least 1")
            arrays[name] = array
        # Metadata of others may name any codec and dtype.
        except Exception as error:
            problems.append(Problem("error", f"{name}/.zarray", one_line(error)))
    if ENDS not in arrays:
        return None, problems
    if not names:
        problems.append(Problem("error", "data", "holds no arrays"))
    ends_array = arrays.pop(ENDS)
    attributes = _read_attributes(group, problems)
    data = {name.removeprefix("data/"): array for name, array in arrays.items()}
    ends = _read_ends(ends_array, files)
    if isinstance(ends, Problem):
        problems.append(ends)
        lengths = {key: array.shape[0] for key, array in data.items()}
        if len(set(lengths.values())) > 1:
            problems.append(Problem("error", "data", f"arrays differ in length: {lengths}"))
        return None, problems
    if not len(ends):
        problems.append(Problem("note", ENDS, "no episode is committed"))
    stored = StoredSet(data, ends, attributes, files)
    problems += _check_arrays(stored)
    return stored, problems


def _read_attributes(group: zarr.Group, problems: list[Problem]) -> Attributes | None:
    content = dict(group.attrs)
    if "bridle_schema" not in content:
        missing = ", ".join(name for name in ATTRIBUTES if name not in content)
        problems.append(Problem("note", ".zattrs", f"not written by Bridle, missing: {missing}"))
        return None
    try:
        return Attributes.from_json(content)
    except DemonstrationError as error:
        problems.append(Problem("error", ".zattrs", str(error)))
        return None


def _read_ends(array: "zarr.Array[Any]", files: StoredFiles) -> NDArray[np.int64] | Problem:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        found = f"{array.dtype} {array.shape}"
        return Problem("error", ENDS, f"expected int64 (n_episodes,), got {found}")
    for _, name in _expected_chunks(array, array.shape[0]):
        if not files.has(name):
            return Problem("error", name, "the chunk is missing")
    try:
        ends = np.asarray(array[:]).astype(np.int64)
    # A codec may raise anything at all on damaged bytes.
    except Exception as error:
        return Problem("error", ENDS, f"cannot be read: {one_line(error)}")
    wrong = np.flatnonzero(np.diff(ends, prepend=0) <= 0)
    if not wrong.size:
        return ends
    episode = int(wrong[0])
    before, end = int(ends[episode - 1]) if episode else 0, int(ends[episode])
    what = "negative" if end < 0 else "empty episode" if end == before else "not increasing"
    message = f"{what}: expected an end above {before}, got {end}"
    return Problem("error", ENDS, message, episode=episode)


def _check_arrays(stored: StoredSet) -> Iterator[Problem]:
    specs = stored.attributes.keys if stored.attributes else {}
    for key in sorted(specs.keys() - stored.arrays.keys()):
        yield Problem("error", f"data/{key}", "the attributes name it, but it is not stored")
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
        yield from _check_chunks(stored, array, min(rows, n_steps))


def _check_chunks(stored: StoredSet, array: "zarr.Array[Any]", n_rows: int) -> Iterator[Problem]:
    expected = list(_expected_chunks(array, n_rows))
    missing = [(row, name) for row, name in expected if not stored.files.has(name)]
    if missing:
        row, name = missing[0]
        # Others may leave out chunks that are zero throughout; Bridle stores every chunk.
        yield Problem(
            "error" if stored.attributes else "note",
            name,
            f"the chunk is missing and reads as {array.fill_value} "
            f"({len(missing)} of {len(expected)} are missing)",
            row,
            stored.episode_of(row),
        )
    compressor = getattr(array.metadata, "compressor", None)
    if getattr(compressor, "codec_id", None) != "blosc":
        return
    for row, name in expected:
        if not stored.files.has(name):
            continue
        # Bytes 12..15 of a Blosc chunk are its length; the decoder trusts them.
        try:
            header = stored.files.read(name, _BLOSC_HEADER)
        except (OSError, zipfile.BadZipFile) as error:
            message = f"cannot be read: {one_line(error)}"
            yield Problem("error", name, message, row, stored.episode_of(row))
            continue
        length, size = int.from_bytes(header[12:16], "little"), stored.files.size(name)
        if len(header) < _BLOSC_HEADER or length != size:
            yield Problem(
                "error",
                name,
                f"truncated chunk: expected {max(length, _BLOSC_HEADER)} bytes, got {size}",
                row,
                stored.episode_of(row),
            )
