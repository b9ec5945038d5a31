"""What can still be read of a damaged set: its arrays, where its episodes end, which are whole."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations.arrays import Layout, StoredArray
from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.checks import checksum
from bridle.training.demonstrations.codecs import BLOSC_HEADER, blosc_fault
from bridle.training.demonstrations.ends import BLOCK_BYTES, EndFinder
from bridle.training.demonstrations.files import StoredFiles
from bridle.training.demonstrations.layout import BLOSC, STATE_CHUNK, array_metadata
from bridle.training.demonstrations.progress import Progress
from bridle.training.demonstrations.schema import Array, DemonstrationError, KeySpec
from bridle.training.demonstrations.storage import CHECKSUMS, ENDS, StoredSet
from bridle.training.demonstrations.structure import LARGEST_META_CHUNK, read_object
from bridle.training.demonstrations.validation import first_fault


@dataclass
class Salvage:
    """A set as far as it can be read."""

    stored: StoredSet
    """Arrays with as many rows as there are chunks for; ends as far as they are known."""
    claimed: Mapping[str, int | None]
    """Rows that the metadata of each key claims; None if it is not readable."""
    lost_columns: list[str]
    """Per-episode columns that cannot be read."""
    mended: list[str] = field(default_factory=list)
    """What was found out again, and how."""
    unknown_from: int | None = None
    """First committed episode whose end cannot be found out; None if there is none."""
    torn: dict[int, str] = field(default_factory=dict)
    """Episodes some rows of which never came to the disk: the array was not that long yet."""
    damaged: dict[int, str] = field(default_factory=dict)
    """Episodes whose rows were there once, and are gone or wrong."""

    def examine(self, progress: Progress) -> None:
        """Find out which episodes are whole."""
        stored = self.stored
        bands = {key: _bands(array) for key, array in stored.arrays.items()}
        for episode in range(stored.n_episodes):
            stop = stored.span(episode)[1]
            for key in stored.arrays:
                claimed = self.claimed[key]
                is_torn = claimed is not None and stop > claimed
                if not self._is_there(key, episode, bands[key]):
                    fault: str | None = "chunks are missing"
                elif is_torn and stored.checksums is None:
                    fault = "nothing tells whether its rows came to the disk"
                else:
                    fault = episode_fault(stored, key, episode)
                if fault and is_torn:
                    self.torn.setdefault(episode, f"data/{key} ends at row {claimed}")
                elif fault:
                    where = "" if fault.startswith("data/") else f"data/{key}: "
                    self.damaged.setdefault(episode, where + fault)
            progress("examining", episode + 1, stored.n_episodes)

    def _is_there(self, key: str, episode: int, bands: NDArray[np.int64]) -> bool:
        start, stop = self.stored.span(episode)
        step = self.stored.arrays[key].chunks[0]
        first, last = start // step, (stop - 1) // step
        there = np.searchsorted(bands, last, side="right") - np.searchsorted(bands, first)
        return bool(there == last - first + 1)


def salvage(files: StoredFiles) -> Salvage:
    """Read what can be read.

    Raises:
        DemonstrationError: too little is left: the attributes, or the layout of a key.
    """
    attributes = _attributes(files)
    mended: list[str] = []
    arrays, claimed = {}, {}
    for key, spec in attributes.keys.items():
        arrays[key], claimed[key] = _array(files, key, spec, mended)
    columns: dict[str, tuple[tuple[int, ...], str]] = {
        f"meta/{name}": ((), dtype) for name, dtype in attributes.episode_keys.items()
    }
    columns[CHECKSUMS] = ((len(attributes.keys),), "uint32")
    rows = {name: _rows(files, name, *columns[name]) for name in columns}
    entries = _rows(files, ENDS, (), "int64")
    listed = [] if entries is None else entries.tolist()
    n = _count(files, list(columns), listed)
    sums = rows.pop(CHECKSUMS)
    stored = StoredSet(arrays, np.empty(0, np.int64), attributes, files, {}, sums)
    n_rows = min((c for c in claimed.values() if c is not None), default=None)
    ends, is_all = EndFinder(stored, listed, n, n_rows, mended).find()
    whole = {
        name.removeprefix("meta/"): values[: len(ends)]
        for name, values in rows.items()
        if values is not None and len(values) >= len(ends)
    }
    lost = sorted(attributes.episode_keys.keys() - whole.keys())
    stored = replace(
        stored,
        episode_ends=np.array(ends, np.int64),
        episode_values=whole,
        checksums=None if sums is None or len(sums) < len(ends) else sums[: len(ends)],
    )
    return Salvage(stored, claimed, lost, mended, None if is_all else len(ends))


def episode_fault(stored: StoredSet, key: str, episode: int) -> str | None:
    """What is wrong with the rows of one key in one episode; None if nothing."""
    array, (start, stop) = stored.arrays[key], stored.span(episode)
    length = max(1, BLOCK_BYTES // (array.chunk_bytes // array.chunks[0]))
    previous: Array | None = None
    total = 0
    for first in range(start, stop, length):
        last = min(first + length, stop)
        try:
            rows = stored.read(key, first, last)
        except DemonstrationError as error:
            return str(error)
        fault = first_fault(stored, key, first, rows, previous)
        if fault is not None:
            return f"row {fault[0]}: {fault[1]}"
        total, previous = checksum(rows, total), rows[-1:]
    expected = _expected(stored, key, episode)
    return None if expected in (None, total) else "its checksum differs"


def _expected(stored: StoredSet, key: str, episode: int) -> int | None:
    if stored.checksums is None or stored.attributes is None:
        return None
    return int(stored.checksums[episode, sorted(stored.attributes.keys).index(key)])


def _attributes(files: StoredFiles) -> Attributes:
    try:
        content = read_object(files, ".zattrs") if files.has(".zattrs") else {}
    except DemonstrationError as error:
        raise DemonstrationError(
            f"{files.path}: .zattrs {error}; units, instructions and source are lost with it, "
            "and cannot be found out again"
        ) from error
    if "bridle_schema" not in content:
        raise DemonstrationError(
            f"{files.path} has no attributes of Bridle's: only its own sets are repaired; "
            "bridle data convert brings others in"
        )
    try:
        return Attributes.from_json(content)
    except DemonstrationError as error:
        raise DemonstrationError(f"{files.path}: .zattrs: {error}") from error


def _array(
    files: StoredFiles, key: str, spec: KeySpec, mended: list[str]
) -> tuple[StoredArray, int | None]:
    """An array with as many rows as its chunks have, and the rows that its metadata claims."""
    name = f"data/{key}"
    claimed: int | None = None
    try:
        if not files.has(f"{name}/.zarray"):
            raise DemonstrationError("it was missing")
        layout = Layout.from_json(read_object(files, f"{name}/.zarray"))
        if layout.shape[1:] != spec.shape or layout.dtype != np.dtype(spec.dtype):
            raise DemonstrationError(
                f"was of {layout.dtype} {layout.shape[1:]}, the attributes say "
                f"{spec.dtype} {spec.shape}"
            )
        claimed = layout.shape[0]
    except DemonstrationError as error:
        layout = Layout.from_json(array_metadata(spec.shape, spec.dtype, BLOSC))
        mended.append(f"{name}/.zarray: written again from the attributes ({error})")
    array = StoredArray(name, layout, files)
    bands = _bands(array)
    if claimed is None and len(bands):
        first = int(bands[0]) * array.chunks[0]
        _, chunk = next(array.chunk_names(first, first + 1))
        fault = blosc_fault(files.read(chunk, BLOSC_HEADER), files.size(chunk), array.chunk_bytes)
        if fault and "claims" in fault:
            raise DemonstrationError(
                f"{files.path}: {name}/.zarray cannot be written again from the attributes, its "
                f"chunks are of another size: {chunk} {fault}"
            )
    rows = (int(bands[-1]) + 1) * array.chunks[0] if len(bands) else 0
    shape = (rows, *layout.shape[1:])
    return replace(array, layout=replace(layout, shape=shape)), claimed


def _bands(array: StoredArray) -> NDArray[np.int64]:
    """Chunks along time of which all parts are there, in rising order."""
    parts: dict[int, int] = {}
    for name in array.files.names:
        if name.startswith(f"{array.name}/"):
            index = array.chunk_index(name)
            if index is not None and index[0] < 1 << 40:
                parts[index[0]] = parts.get(index[0], 0) + 1
    needed = math.prod(
        math.ceil(s / c) for s, c in zip(array.shape[1:], array.chunks[1:], strict=True)
    )
    return np.array(sorted(i for i, n in parts.items() if n >= needed), np.int64)


def _rows(files: StoredFiles, name: str, shape: tuple[int, ...], dtype: str) -> NDArray[Any] | None:
    """The rows of an array of `meta/` up to where it is cut; None if nothing can be read."""
    kind = np.dtype(dtype).newbyteorder("<")
    try:
        layout = Layout.from_json(read_object(files, f"{name}/.zarray"), LARGEST_META_CHUNK)
        if layout.codec.name is not None or layout.chunks[0] != STATE_CHUNK:
            array = StoredArray(name, layout, files)
            if layout.shape[1:] != shape or not len(_bands(array)):
                return None
            n_rows = min(layout.shape[0], (int(_bands(array)[-1]) + 1) * layout.chunks[0])
            return array.read(0, n_rows).astype(dtype)
    except DemonstrationError:
        pass  # without metadata it is taken for one of Bridle's own: plain numbers
    row = kind.itemsize * math.prod(shape)
    parts, index = [], 0
    while True:
        chunk = f"{name}/{'.'.join(map(str, (index, *(0 for _ in shape))))}"
        if not files.has(chunk):
            break
        content = files.read(chunk, STATE_CHUNK * row)
        parts.append(content[: len(content) - len(content) % row])
        if len(content) < STATE_CHUNK * row:
            break
        index += 1
    if not parts:
        return None
    return np.frombuffer(b"".join(parts), kind).reshape(-1, *shape).astype(dtype)


def _count(files: StoredFiles, columns: Sequence[str], listed: Sequence[int]) -> int | None:
    """Committed episodes, as far as any metadata says; None if none does."""
    counts: dict[str, int] = {}
    for name in (ENDS, *columns):
        try:
            content = read_object(files, f"{name}/.zarray")
            counts[name] = Layout.from_json(content, LARGEST_META_CHUNK).shape[0]
        except DemonstrationError:
            continue
    if ENDS not in counts:
        return min(counts.values(), default=None)
    # The columns are written before the ends: fewer of them means that one of both is wrong.
    fewest = min(counts.values())
    more = listed[fewest : counts[ENDS]]
    return counts[ENDS] if len(more) and more[0] > max([0, *listed[:fewest]]) else fewest
