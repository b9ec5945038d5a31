"""One stored array: its metadata, read strictly, and its rows.

zarr would do as it is told: allocate any size, run any codec, give zeros for a chunk that is not
there. A set may come from anywhere, so its arrays are read here. Format:
https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bridle.training.demonstrations.codecs import Codec
from bridle.training.demonstrations.files import StoredFiles
from bridle.training.demonstrations.schema import Array, DemonstrationError

LARGEST_CHUNK = 1 << 30
"""Bytes of a chunk, decoded; no more is ever allocated for one."""
LARGEST_SIZE = 1 << 60
_DTYPE = re.compile(r"([<>|])(b1|[iu][1248]|f[248])")
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_TOGETHER = 16
"""Chunks that are fetched at once."""


@dataclass(frozen=True)
class Layout:
    """What `.zarray` says."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    codec: Codec
    fill_value: Any
    order: str
    separator: str

    @classmethod
    def from_json(cls, content: Mapping[str, Any], largest: int = LARGEST_CHUNK) -> "Layout":
        """Read strictly; chunks of at most `largest` bytes.

        Raises:
            DemonstrationError: a part is missing, wrong, or larger than anything real.
        """
        shape, chunks = _sizes(content, "shape", 0), _sizes(content, "chunks", 1)
        if len(shape) != len(chunks) or not 1 <= len(shape) <= 16:
            raise DemonstrationError(
                "expected an array over time, shape and chunks of one length, "
                f"got {list(shape)} and {list(chunks)}"
            )
        if 0 in shape[1:]:
            raise DemonstrationError(f"a time step must hold numbers, got shape {list(shape)}")
        name = content.get("dtype")
        known = _DTYPE.fullmatch(name) if isinstance(name, str) else None
        if known is None or (known[1] == "|" and known[2][1] != "1"):
            raise DemonstrationError(f"dtype must be a type of numbers, got {name!r:.100}")
        dtype = np.dtype(known[0])
        size = math.prod(chunks) * dtype.itemsize
        if size > largest:
            raise DemonstrationError(
                f"chunks {list(chunks)} of {dtype} take {size} bytes; at most {largest} are read"
            )
        order, separator = content.get("order", "C"), content.get("dimension_separator", ".")
        if order not in ("C", "F") or separator not in (".", "/"):
            raise DemonstrationError(
                f"order must be C or F and dimension_separator . or /, got "
                f"{order!r:.50} and {separator!r:.50}"
            )
        codec = Codec(content.get("compressor"), content.get("filters"))
        fill = _fill_value(content.get("fill_value"), dtype)
        return cls(shape, chunks, dtype, codec, fill, order, separator)


def _sizes(content: Mapping[str, Any], name: str, least: int) -> tuple[int, ...]:
    sizes = content.get(name)
    if not isinstance(sizes, list) or not all(
        type(n) is int and least <= n <= LARGEST_SIZE for n in sizes
    ):
        raise DemonstrationError(
            f"{name} must be a list of integers from {least} to {LARGEST_SIZE}, got {sizes!r:.100}"
        )
    return tuple(sizes)


def _fill_value(value: object, dtype: np.dtype[Any]) -> Any:
    if value is None:
        return dtype.type(0)
    number = _SPECIAL.get(value, value) if isinstance(value, str) else value
    try:
        if not isinstance(number, bool | int | float):
            raise TypeError
        with np.errstate(all="ignore"):
            return np.array(number).astype(dtype)[()]
    except (TypeError, ValueError, OverflowError):
        raise DemonstrationError(f"fill_value must be a number, got {value!r:.100}") from None


def _product(ranges: list[range]) -> Iterator[tuple[int, ...]]:
    """As of itertools, which would keep all of every range in memory."""
    if not ranges:
        yield ()
        return
    for first in ranges[0]:
        for rest in _product(ranges[1:]):
            yield (first, *rest)


@dataclass
class StoredArray:
    """Rows (n_rows, ...) in chunks."""

    name: str
    """Path inside the set, such as `data/action`."""
    layout: Layout
    files: StoredFiles
    _band: tuple[int, Array] | None = field(default=None, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all rows, also those that no episode claims."""
        return self.layout.shape

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk."""
        return self.layout.chunks

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored, with its byte order."""
        return self.layout.dtype

    @property
    def ndim(self) -> int:
        """Number of axes, time among them."""
        return len(self.layout.shape)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk, decoded."""
        return math.prod(self.chunks) * self.dtype.itemsize

    def n_chunks(self, n_rows: int) -> int:
        """Chunks that hold the first rows."""
        return math.prod(self._grid(0, n_rows, counts=True))

    def _grid(self, start: int, stop: int, *, counts: bool = False) -> list[Any]:
        rows = range(start // self.chunks[0], math.ceil(stop / self.chunks[0]))
        others = [
            range(math.ceil(s / c)) for s, c in zip(self.shape[1:], self.chunks[1:], strict=True)
        ]
        return [len(r) if counts else r for r in (rows, *others)]

    def chunk_names(self, start: int, stop: int) -> Iterator[tuple[tuple[int, ...], str]]:
        """Place in the grid, and file, of every chunk that holds rows start..stop-1."""
        for index in _product(self._grid(start, stop)):
            yield index, self._file(index)

    def chunk_index(self, file: str) -> tuple[int, ...] | None:
        """Place in the grid of a file `data/<key>/...`; None if it is no chunk of this array."""
        parts = file.removeprefix(f"{self.name}/").split(self.layout.separator)
        if len(parts) != self.ndim or not all(p.isascii() and p.isdigit() for p in parts):
            return None
        index = tuple(map(int, parts))
        # "007" is a number, but no name of a chunk.
        return index if file == self._file(index) else None

    def _file(self, index: tuple[int, ...]) -> str:
        return f"{self.name}/{self.layout.separator.join(map(str, index))}"

    def read(self, start: int, stop: int) -> Array:
        """Rows start..stop-1. A chunk that is not there reads as the fill value.

        The chunks of the last row stay in memory for a reader that goes on from there.

        Raises:
            DemonstrationError: a chunk cannot be decoded, with its file and rows.
        """
        shape = (stop - start, *self.shape[1:])
        try:
            rows = np.empty(shape, self.dtype)
        except (MemoryError, ValueError):
            size = math.prod(shape) * self.dtype.itemsize
            raise DemonstrationError(
                f"{self.name}: rows {start} to {stop - 1} take {size} bytes, more than the memory "
                "has; a memory map may hold them"
            ) from None
        step = self.chunks[0]
        first = start // step
        while first * step < stop:
            last = min(first + self.together(), math.ceil(stop / step))
            for index, band in self._bands(first, last):
                begin, end = max(start, index * step), min(stop, (index + 1) * step)
                rows[begin - start : end - start] = band[begin - index * step : end - index * step]
            first = last
        return rows

    def together(self) -> int:
        """Chunks along time that are fetched at once: so many that a store far away pays."""
        per_band: int = math.prod(self._grid(0, 1, counts=True)[1:]) * self.chunk_bytes
        return max(1, min(_TOGETHER, (64 << 20) // max(per_band, 1)))

    def _bands(self, first: int, last: int) -> Iterator[tuple[int, Array]]:
        """Rows of one chunk after the other, all axes but time put together."""
        if self._band is not None and self._band[0] == first:
            yield self._band
            first += 1
        step = self.chunks[0]
        names = dict(self.chunk_names(first * step, last * step)) if first < last else {}
        there = [name for name in names.values() if self.files.has(name)]
        for name in there:
            self._check_size(name)
        contents = dict(zip(there, self._fetch(there), strict=True))
        for i in range(first, last):
            band = self._whole_band(i, {k: n for k, n in names.items() if k[0] == i}, contents)
            self._band = (i, band)
            yield self._band

    def _check_size(self, name: str) -> None:
        size, largest = self.files.size(name), self.layout.codec.largest(self.chunk_bytes)
        if size > largest:
            raise DemonstrationError(f"{name}: expected at most {largest} bytes, got {size}")

    def _fetch(self, names: list[str]) -> list[bytes]:
        if not names:
            return []
        try:
            return self.files.read_many(names)
        except DemonstrationError as error:
            raise DemonstrationError(f"{names[0]}: {error}") from error

    def _whole_band(
        self, i: int, names: Mapping[tuple[int, ...], str], contents: Mapping[str, bytes]
    ) -> Array:
        if len(names) == 1:
            (name,) = names.values()
            if name in contents and self.shape[1:] == self.chunks[1:]:
                return self._decode(i, name, contents[name])
        shape = (self.chunks[0], *self.shape[1:])
        if not any(name in contents for name in names.values()):
            # Takes no memory, whatever a chunk is said to hold.
            return np.broadcast_to(np.array(self.layout.fill_value, self.dtype), shape)
        band = np.full(shape, self.layout.fill_value, self.dtype)
        for index, name in names.items():
            if name in contents:
                chunk = self._decode(i, name, contents[name])
                place, inside = self._corner(index)
                band[(slice(None), *place)] = chunk[(slice(None), *inside)]
        return band

    def _corner(self, index: tuple[int, ...]) -> tuple[list[slice], list[slice]]:
        """Where a chunk lies beside the time axis, and the part of it that lies in the array."""
        sizes = zip(index[1:], self.chunks[1:], self.shape[1:], strict=True)
        place = [slice(i * chunk, min((i + 1) * chunk, size)) for i, chunk, size in sizes]
        return place, [slice(0, part.stop - part.start) for part in place]

    def _decode(self, i: int, name: str, content: bytes) -> Array:
        try:
            decoded = self.layout.codec.decode(content, self.chunk_bytes)
        except DemonstrationError as error:
            start = i * self.chunks[0]
            stop = min(start + self.chunks[0], self.shape[0])
            raise DemonstrationError(
                f"{name}: rows {start} to {stop - 1} cannot be read: {error}"
            ) from error
        flat = np.frombuffer(decoded, self.dtype)
        return flat.reshape(self.chunks, order="F" if self.layout.order == "F" else "C")
