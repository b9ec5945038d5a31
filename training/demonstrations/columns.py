"""One array on disk that grows at its end.

zarr's own resize and write cost 2 ms per key and episode; this is a fifth of it, and the order of
the renames is ours to choose.
"""

import json
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np

from bridle.training.demonstrations.layout import PARTIAL
from bridle.training.demonstrations.schema import Array, DemonstrationError


def replace_file(path: Path, content: bytes) -> None:
    """Write a file beside its place and rename it there: readers see the old one or the new one."""
    partial = path.with_name(path.name + PARTIAL)
    partial.write_bytes(content)
    partial.replace(path)


class Column:
    """Rows are added, chunk by chunk, and counted only once they are committed."""

    def __init__(self, folder: Path, n_rows: int, last_rows: Array) -> None:
        """Continue after `n_rows` rows.

        Args:
            folder: of the array.
            n_rows: committed rows.
            last_rows: at least those (t, ...) of a last, partly filled chunk.

        Raises:
            DemonstrationError: the array is not laid out as Bridle does it.
        """
        self.n_rows = n_rows
        """Committed rows."""
        self._folder = folder
        self._meta: dict[str, Any] = json.loads((folder / ".zarray").read_text())
        self._chunk, *rest = self._meta["chunks"]
        usual = {"filters": None, "order": "C", "dimension_separator": "."}
        if rest != self._meta["shape"][1:] or any(
            self._meta.get(name, value) not in (value, []) for name, value in usual.items()
        ):
            raise DemonstrationError(
                f"{folder} was laid out anew by something else, which Bridle does not append to; "
                "bridle data filter makes a set of its own of it"
            )
        compressor = self._meta["compressor"]
        self._codec = numcodecs.get_codec(compressor) if compressor else None
        self._tail = last_rows[len(last_rows) - n_rows % self._chunk :].copy()
        self._buffer = np.zeros((self._chunk, *last_rows.shape[1:]), last_rows.dtype)
        self.discard()

    def discard(self) -> None:
        """Forget what was added since the last commit."""
        self._written = self.n_rows
        self._buffer[:] = 0
        self._buffer[: len(self._tail)] = self._tail

    def add(self, rows: Array) -> None:
        """Add rows (t, ...) without committing them; full chunks go to the disk."""
        while len(rows):
            at = self._written % self._chunk
            part, rows = rows[: self._chunk - at], rows[self._chunk - at :]
            self._buffer[at : at + len(part)] = part
            self._written += len(part)
            if self._written % self._chunk == 0:
                self._write_chunk(self._written // self._chunk - 1)
                self._buffer[:] = 0

    def flush(self) -> None:
        """Put a last, partly filled chunk on the disk."""
        if self._written % self._chunk:
            self._write_chunk(self._written // self._chunk)

    def _write_chunk(self, index: int) -> None:
        name = ".".join([str(index), *["0"] * (self._buffer.ndim - 1)])
        content = self._codec.encode(self._buffer) if self._codec else self._buffer.tobytes()
        replace_file(self._folder / name, content)

    def write_length(self) -> None:
        """Put the length with all added rows on the disk."""
        self._meta["shape"][0] = self._written
        replace_file(self._folder / ".zarray", json.dumps(self._meta, indent=2).encode())

    def stored_length(self) -> int:
        """The length on the disk."""
        return int(json.loads((self._folder / ".zarray").read_text())["shape"][0])

    def commit(self) -> None:
        """Count the added rows."""
        self.n_rows = self._written
        self._tail = self._buffer[: self.n_rows % self._chunk].copy()
