"""Recording: episodes are appended to a set one by one, each as a whole or not at all.

Every file is replaced by a rename, in this order: chunks of all keys, lengths of all keys, chunk of
`episode_ends`, length of `episode_ends`. The last rename is the commit. A writer that is killed
before it leaves rows that no episode claims; the next append overwrites them.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numcodecs
import numpy as np
import zarr

from bridle.training.demonstrations.lock import WriteLock
from bridle.training.demonstrations.schema import (
    Array,
    Attributes,
    DemonstrationError,
    KeySpec,
    first_not_increasing,
    first_out_of_range,
)
from bridle.training.demonstrations.storage import ENDS, opened

STATE_CHUNK, IMAGE_CHUNK = 1000, 16
"""Time steps per chunk; 16 frames are a usual horizon and read 5 times faster than single ones."""
_PARTIAL = ".partial"


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + _PARTIAL)
    partial.write_bytes(content)
    partial.replace(path)


class _Column:
    """One array on disk that grows at its end.

    zarr's own resize and write cost 2 ms per key and episode; this is a fifth of it, and the order
    of the renames is ours to choose.
    """

    def __init__(self, folder: Path, n_rows: int, tail: Array) -> None:
        """Continue after `n_rows` rows; `tail` are those of a last, partly filled chunk."""
        self.folder = folder
        self.n_rows = n_rows
        self._tail = self._next_tail = tail
        self._meta: dict[str, Any] = json.loads((folder / ".zarray").read_text())
        self._chunk = int(self._meta["chunks"][0])
        compressor = self._meta["compressor"]
        self._codec = numcodecs.get_codec(compressor) if compressor else None

    def write(self, rows: Array) -> None:
        """Write rows (T, ...) after the committed ones, without committing them."""
        block = np.concatenate([self._tail, rows])
        first = self.n_rows // self._chunk
        for i in range(0, len(block), self._chunk):
            part = block[i : i + self._chunk]
            chunk = np.zeros((self._chunk, *block.shape[1:]), block.dtype)
            chunk[: len(part)] = part
            name = ".".join([str(first + i // self._chunk), *["0"] * (block.ndim - 1)])
            _replace(
                self.folder / name, self._codec.encode(chunk) if self._codec else chunk.tobytes()
            )
        self._next_tail = block[len(block) - len(block) % self._chunk :].copy()

    def set_length(self, n_rows: int) -> None:
        """Write the length of the array."""
        self._meta["shape"][0] = n_rows
        _replace(self.folder / ".zarray", json.dumps(self._meta, indent=2).encode())

    def commit(self, n_rows: int) -> None:
        """Take the rows last written as committed."""
        self.n_rows, self._tail = n_rows, self._next_tail


class DemonstrationWriter:
    """Appends episodes to a demonstration set. Use it as a context manager, or `close` it.

    Safe against the death of the process at any moment. Nothing is forced to the disk: what the
    machine loses with its power is left to the file system, and `validate` finds it.
    """

    def __init__(self, path: Path, lock: WriteLock) -> None:
        """Use `create` or `open`."""
        self.path = path
        self._lock = lock
        with opened(path) as (stored, problems):
            for problem in problems:
                if problem.severity == "error":
                    raise DemonstrationError(f"{path}: {problem}")
            if stored is None or stored.attributes is None:
                raise DemonstrationError(f"{path} was not written by Bridle; convert it first")
            self.attributes = stored.attributes
            n_steps = stored.n_steps
            self._columns = {
                key: _Column(path / "data" / key, n_steps, _tail(stored.arrays[key], n_steps))
                for key in self.attributes.keys
            }
            ends = stored.episode_ends
            whole = len(ends) - len(ends) % STATE_CHUNK
            self._ends = _Column(path / ENDS, len(ends), ends[whole:])
        for partial in path.rglob(f"*{_PARTIAL}"):
            partial.unlink()

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        robot: str,
        task: str,
        control_rate: float,
        keys: Mapping[str, KeySpec],
        instructions: Sequence[str],
    ) -> Self:
        """Start a new set.

        Args:
            path: folder that does not exist yet.
            robot: name of the robot.
            task: name of the task.
            control_rate: time steps per second [Hz].
            keys: what every episode must hold; `known_key` gives Bridle's own.
            instructions: sentences that `instruction_id` indexes; they cannot change later.

        Raises:
            DemonstrationError: a value is wrong, the path exists, or someone else writes there.
        """
        attributes = Attributes(robot, task, control_rate, dict(keys), tuple(instructions))
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = WriteLock(path)
        try:
            if path.exists():
                raise DemonstrationError(f"{path} exists; open it to append, or choose another")
            partial = path.with_name(path.name + _PARTIAL)
            shutil.rmtree(partial, ignore_errors=True)
            _create_group(partial, attributes)
            partial.rename(path)
            return cls(path, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, path: Path) -> Self:
        """Continue a set, also one whose writer was killed.

        Raises:
            DemonstrationError: it is damaged, not Bridle's, or someone else writes to it.
        """
        if not path.is_dir():
            raise DemonstrationError(
                f"{path} is not a folder; only a zarr folder can be appended to"
            )
        lock = WriteLock(path)
        try:
            return cls(path, lock)
        except BaseException:
            lock.release()
            raise

    @property
    def n_episodes(self) -> int:
        """Committed episodes."""
        return self._ends.n_rows

    @property
    def n_steps(self) -> int:
        """Committed time steps."""
        return self._columns["action"].n_rows

    def append(self, episode: Mapping[str, Array]) -> None:
        """Commit one episode.

        Args:
            episode: every key of the set, rows (T, *shape) of its dtype, all of one T >= 1.

        Raises:
            DemonstrationError: naming key, episode, row, what was expected and got. Nothing of
                the episode is stored then, and the next one can be appended.
        """
        self._check(episode)
        n_steps = self.n_steps + len(episode["action"])
        for key, column in self._columns.items():
            column.write(episode[key])
        for column in self._columns.values():
            column.set_length(n_steps)
        self._ends.write(np.array([n_steps], np.int64))
        self._ends.set_length(self.n_episodes + 1)
        for column in self._columns.values():
            column.commit(n_steps)
        self._ends.commit(self.n_episodes + 1)

    def _check(self, episode: Mapping[str, Array]) -> None:
        where = f"episode {self.n_episodes}"
        if self._lock.released:
            raise DemonstrationError(f"{self.path}: the writer is closed")
        missing = sorted(self.attributes.keys.keys() - episode.keys())
        extra = sorted(episode.keys() - self.attributes.keys.keys())
        if missing or extra:
            raise DemonstrationError(
                f"{where}: expected the keys {', '.join(sorted(self.attributes.keys))}; "
                f"missing {', '.join(missing) or 'none'}, unknown {', '.join(extra) or 'none'}"
            )
        for key, spec in self.attributes.keys.items():
            spec.check(f"data/{key}, {where}", episode[key])
        lengths = {key: len(rows) for key, rows in episode.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise DemonstrationError(
                f"{where}: expected one length of at least 1 for all keys, got {lengths}"
            )
        if "timestamp" in episode:
            row = first_not_increasing(episode["timestamp"])
            if row is not None:
                before, now = episode["timestamp"][row - 1 : row + 1].tolist()
                raise DemonstrationError(
                    f"data/timestamp, {where}, row {row}: "
                    f"expected more than {before} s, got {now} s"
                )
        if "instruction_id" in episode:
            count = len(self.attributes.instructions)
            row = first_out_of_range(episode["instruction_id"], count)
            if row is not None:
                raise DemonstrationError(
                    f"data/instruction_id, {where}, row {row}: expected one of the {count} "
                    f"instructions (0 to {count - 1}), got {episode['instruction_id'][row]}"
                )

    def close(self) -> None:
        """Let others write. Everything appended is committed already."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _create_group(path: Path, attributes: Attributes) -> None:
    group = zarr.create_group(path, zarr_format=2, attributes=attributes.to_json())
    blosc = numcodecs.Blosc("lz4", shuffle=numcodecs.Blosc.SHUFFLE)
    for key, spec in attributes.keys.items():
        steps = IMAGE_CHUNK if len(spec.shape) == 3 else STATE_CHUNK
        group.create_array(
            f"data/{key}",
            shape=(0, *spec.shape),
            chunks=(steps, *spec.shape),
            dtype=spec.dtype,
            compressors=blosc,
            fill_value=0,
        )
    # Without compression: 8 bytes per episode, and readable with any tool.
    group.create_array(
        ENDS, shape=(0,), chunks=(STATE_CHUNK,), dtype="int64", compressors=None, fill_value=0
    )


def _tail(array: "zarr.Array[Any]", n_rows: int) -> Array:
    """Committed rows of the last, partly filled chunk."""
    return np.asarray(array[n_rows - n_rows % array.chunks[0] : n_rows])
