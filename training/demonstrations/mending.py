"""Repairing a set in place: what is to be written and removed, planned first and done then."""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bridle.training.demonstrations.arrays import Layout, StoredArray
from bridle.training.demonstrations.checks import checksum
from bridle.training.demonstrations.columns import replace_file
from bridle.training.demonstrations.ends import BLOCK_BYTES
from bridle.training.demonstrations.files import StoredFiles
from bridle.training.demonstrations.layout import BLOSC, PARTIAL, STATE_CHUNK, array_metadata
from bridle.training.demonstrations.rewriting import ours
from bridle.training.demonstrations.salvage import Salvage
from bridle.training.demonstrations.schema import Array, DemonstrationError
from bridle.training.demonstrations.storage import CHECKSUMS, ENDS
from bridle.training.demonstrations.structure import LARGEST_META_CHUNK, read_object


class Mending:
    """The plan for one folder. Files are replaced by renames, the commit after the rest."""

    def __init__(self, found: Salvage, path: Path) -> None:
        self.done = list(found.mended)
        """Each thing that is put right."""
        self.remaining: list[str] = []
        """Each thing that cannot be, in place."""
        self._found, self._path, self._files = found, path, found.stored.files
        self._writes: list[tuple[str, bytes]] = []
        self._removals: list[str] = []
        self._leftover = path.with_name(path.name + PARTIAL)
        if self._leftover.is_dir():
            self.done.append(f"{self._leftover} removed: what a killed creation left")

    def apply(self) -> None:
        """Do it."""
        for name, content in self._writes:
            (self._path / name).parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path / name, content)
        for name in self._removals:
            (self._path / name).unlink(missing_ok=True)
        shutil.rmtree(self._leftover, ignore_errors=True)

    def cut_to(self, n_episodes: int) -> None:
        """Plan a set of the first episodes, with everything in it that they need."""
        stored = self._found.stored
        ends = stored.episode_ends[:n_episodes]
        n_steps = int(ends[-1]) if n_episodes else 0
        for group in ("", "data/", "meta/"):
            if not _is_object(self._files, f"{group}.zgroup"):
                self._write(f"{group}.zgroup", {"zarr_format": 2})
                self.done.append(f"{group}.zgroup: written again")
        for key in stored.arrays:
            self._data(key, n_steps)
        for name, dtype in ours(stored).episode_keys.items():
            if name in stored.episode_values:
                self._meta(f"meta/{name}", dtype, stored.episode_values[name][:n_episodes])
            else:
                self.remaining.append(f"meta/{name}: cannot be read; --out makes a set without it")
        self._checksums(n_episodes)
        self._meta(ENDS, "int64", ends)
        self._remove_leftovers()

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        self._writes.append((name, json.dumps(content, indent=2).encode()))

    def _data(self, key: str, n_steps: int) -> None:
        name, claimed = f"data/{key}/.zarray", self._found.claimed[key]
        if claimed == n_steps:
            return
        if claimed is None:
            if n_steps and not self._found.stored.arrays[key].shape[0]:
                # Nothing of it is there: its metadata alone would help nobody.
                self.done = [done for done in self.done if not done.startswith(name)]
                return
            spec = ours(self._found.stored).keys[key]
            content = array_metadata(spec.shape, spec.dtype, BLOSC)
        else:
            content = read_object(self._files, name)
            how = (
                f"{claimed - n_steps} rows that no episode claims are cut off"
                if claimed > n_steps
                else f"{n_steps - claimed} rows more belong to it, as their checksums say"
            )
            self.done.append(f"data/{key}: {how}")
        content["shape"][0] = n_steps
        self._write(name, content)

    def _meta(self, name: str, dtype: str, values: Array) -> None:
        """Make an array of `meta/` hold just these rows."""
        try:
            content = read_object(self._files, f"{name}/.zarray")
            layout = Layout.from_json(content, LARGEST_META_CHUNK)
            stored = StoredArray(name, layout, self._files)
            there = self._all_there(stored, len(values))
            same = there and np.array_equal(stored.read(0, len(values)), values)
            if same and layout.dtype == np.dtype(dtype) and layout.shape[1:] == values.shape[1:]:
                if layout.shape[0] != len(values):
                    content["shape"][0] = len(values)
                    self._write(f"{name}/.zarray", content)
                    self.done.append(f"{name}: cut to {len(values)} episodes")
                return
        except DemonstrationError:
            pass  # it is written again
        if not any(done.startswith(name) for done in self.done):
            self.done.append(f"{name}: written again, of {len(values)} episodes")
        zeros = (0,) * (values.ndim - 1)
        for i in range(math.ceil(len(values) / STATE_CHUNK)):
            part = values[i * STATE_CHUNK : (i + 1) * STATE_CHUNK]
            chunk = np.zeros((STATE_CHUNK, *values.shape[1:]), np.dtype(dtype).newbyteorder("<"))
            chunk[: len(part)] = part
            self._writes.append((f"{name}/{'.'.join(map(str, (i, *zeros)))}", chunk.tobytes()))
        content = array_metadata(values.shape[1:], dtype)
        content["shape"][0] = len(values)
        self._write(f"{name}/.zarray", content)

    def _all_there(self, array: StoredArray, n_rows: int) -> bool:
        return n_rows <= array.shape[0] and all(
            self._files.has(name) for _, name in array.chunk_names(0, n_rows)
        )

    def _checksums(self, n_episodes: int) -> None:
        stored = self._found.stored
        if stored.checksums is not None:
            self._meta(CHECKSUMS, "uint32", stored.checksums[:n_episodes])
            return
        if not any(name.startswith(f"{CHECKSUMS}/") for name in self._files.names):
            return  # a set without them is one, too
        if self._found.damaged:
            self.remaining.append(f"{CHECKSUMS}: cannot be read")
            return
        self.done.append(
            f"{CHECKSUMS}: made again of the rows as they are now; whether those are the ones that "
            "were written, nothing tells any more"
        )
        keys = sorted(stored.arrays)
        sums = [[self._sum(key, episode) for key in keys] for episode in range(n_episodes)]
        self._meta(CHECKSUMS, "uint32", np.array(sums, np.uint32).reshape(-1, len(keys)))

    def _sum(self, key: str, episode: int) -> int:
        array, (start, stop) = self._found.stored.arrays[key], self._found.stored.span(episode)
        length = max(1, BLOCK_BYTES // (array.chunk_bytes // array.chunks[0]))
        total = 0
        for first in range(start, stop, length):
            total = checksum(array.read(first, min(first + length, stop)), total)
        return total

    def _remove_leftovers(self) -> None:
        """Remove unfinished files, and chunks that neither an episode nor the metadata claims."""
        stored = self._found.stored
        partial = [name for name in self._files.names if name.endswith(PARTIAL)]
        chunks = []
        for key, array in stored.arrays.items():
            claimed = max(stored.n_steps, self._found.claimed[key] or 0)
            for name in self._files.names:
                index = array.chunk_index(name) if name.startswith(f"{array.name}/") else None
                if index is not None and index[0] * array.chunks[0] >= claimed:
                    chunks.append(name)
        for names, what in ((partial, "unfinished files"), (chunks, "chunks after the last row")):
            if names:
                self.done.append(f"{len(names)} {what} removed, such as {min(names)}")
        self._removals = sorted(partial + chunks)


def _is_object(files: StoredFiles, name: str) -> bool:
    try:
        return files.has(name) and bool(read_object(files, name))
    except DemonstrationError:
        return False
