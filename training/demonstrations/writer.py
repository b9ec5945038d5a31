"""Recording: episodes are appended to a set one by one, each as a whole or not at all.

Every file is replaced by a rename, in this order: chunks of all keys, chunks of the per-episode
columns, lengths of all of them, chunk of `episode_ends`, length of `episode_ends`. The last rename
is the commit. A writer that is killed before it leaves rows that no episode claims; the next
append overwrites them.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from bridle.training.demonstrations.attributes import CHECKSUMS, ENDS, Attributes
from bridle.training.demonstrations.checks import EpisodeCheck, checksum, episode_row
from bridle.training.demonstrations.columns import Column
from bridle.training.demonstrations.layout import PARTIAL, create_group
from bridle.training.demonstrations.lock import WriteLock
from bridle.training.demonstrations.places import locate
from bridle.training.demonstrations.schema import Array, DemonstrationError, KeySpec
from bridle.training.demonstrations.storage import StoredSet, opened_sound


class DemonstrationWriter:
    """Appends episodes to a demonstration set. Use it as a context manager, or `close` it.

    Safe against the death of the process at any moment. Nothing is forced to the disk: what the
    machine loses with its power is left to the file system, and `validate` finds it.
    """

    def __init__(self, path: Path, lock: WriteLock) -> None:
        """Use `create`, `open` or `create_or_resume`."""
        self.path = path
        self._lock = lock
        with opened_sound(path) as (stored, _):
            if stored.attributes is None:
                raise DemonstrationError(f"{path} was not written by Bridle; convert it first")
            self.attributes = stored.attributes
            self._data = {
                key: Column(path / "data" / key, stored.n_steps, _tail(stored, key))
                for key in sorted(self.attributes.keys)
            }
            meta: dict[str, Array] = dict(stored.episode_values)
            if stored.checksums is not None:
                meta[CHECKSUMS] = stored.checksums
            n = stored.n_episodes
            self._meta = {name: Column(path / "meta" / name, n, meta[name]) for name in meta}
            self._ends = Column(path / "meta" / ENDS, n, stored.episode_ends)
            self._values = {
                name: list(stored.episode_values[name]) for name in stored.episode_values
            }
        for partial in path.rglob(f"*{PARTIAL}"):
            partial.unlink()

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        robot: str,
        task: str,
        control_rate: float,
        keys: Mapping[str, KeySpec],
        instructions: Sequence[str],
        source: Mapping[str, Any] | None = None,
        episode_keys: Mapping[str, str] | None = None,
    ) -> Self:
        """Start a new set.

        Args:
            path: folder that does not exist yet.
            robot: name of the robot.
            task: name of the task.
            control_rate: time steps per second [Hz].
            keys: what every episode must hold; `known_key` gives Bridle's own.
            instructions: sentences that `instruction_id` indexes; they cannot change later.
            source: where the set comes from, a JSON object such as {"command": ..., "seed": 0}.
            episode_keys: values that every episode brings once, name to dtype: {"seed": "int64"}.

        Raises:
            DemonstrationError: a value is wrong, the path exists, or someone else writes there.
        """
        return cls.create_with(
            path,
            Attributes(
                robot,
                task,
                control_rate,
                dict(keys),
                tuple(instructions),
                {} if source is None else source,
                {} if episode_keys is None else episode_keys,
            ),
        )

    @classmethod
    def create_with(cls, path: Path | str, attributes: Attributes) -> Self:
        """Start a new set; see `create`."""
        path = _folder(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = WriteLock(path)
        try:
            if path.exists():
                raise DemonstrationError(f"{path} exists; open it to append, or choose another")
            partial = path.with_name(path.name + PARTIAL)
            shutil.rmtree(partial, ignore_errors=True)
            create_group(partial, attributes)
            partial.rename(path)
            return cls(path, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Continue a set, also one whose writer was killed.

        Raises:
            DemonstrationError: it is damaged, not Bridle's, or someone else writes to it.
        """
        path = _folder(path)
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
        return self._data["action"].n_rows

    def episode_values(self, name: str) -> Array:
        """Committed values (n_episodes,) of a per-episode column, such as the seeds already done.

        Raises:
            DemonstrationError: the set has no such column.
        """
        if name not in self._values:
            has = ", ".join(self._values) or "none"
            raise DemonstrationError(f"{self.path} has no episode key {name!r}; it has {has}")
        return np.array(self._values[name], self.attributes.episode_keys[name])

    def append(
        self, episode: Mapping[str, Array], values: Mapping[str, float] | None = None
    ) -> None:
        """Commit one episode.

        Args:
            episode: every key of the set, rows (T, *shape) of its dtype, all of one T >= 1.
            values: one number for each of the set's `episode_keys`.

        Raises:
            DemonstrationError: naming key, episode, row, what was expected and got. Nothing of
                the episode is stored then, and the next one can be appended.
        """
        self.append_blocks([episode], values)

    def append_blocks(
        self,
        blocks: Iterable[Mapping[str, Array]],
        values: Mapping[str, float] | None = None,
    ) -> None:
        """Commit one episode that comes in consecutive blocks of rows, one in memory at a time.

        Args:
            blocks: each as in `append`, with rows (t, *shape) of one t >= 1.
            values: one number for each of the set's `episode_keys`.

        Raises:
            DemonstrationError: as in `append`. Whatever `blocks` raises passes through. Nothing is
                committed then, and the next episode can be appended.
        """
        where = f"episode {self.n_episodes}"
        if self._lock.released:
            raise DemonstrationError(f"{self.path}: the writer is closed")
        row = episode_row(self.attributes, values, where)
        check = EpisodeCheck(self.attributes, where)
        sums = dict.fromkeys(self._data, 0)
        try:
            for block in blocks:
                check.block(block)
                for key, column in self._data.items():
                    column.add(block[key])
                    sums[key] = checksum(block[key], sums[key])
            check.end()
            if CHECKSUMS in self._meta:
                row[CHECKSUMS] = np.array([list(sums.values())], np.uint32)
            self._commit(row, self.n_steps + check.n_rows)
        except BaseException:
            self._recover(row)
            raise
        self._count(row)

    def _commit(self, row: Mapping[str, Array], n_steps: int) -> None:
        for column in self._data.values():
            column.flush()
        for name, column in self._meta.items():
            column.add(row[name])
            column.flush()
        for column in chain(self._data.values(), self._meta.values()):
            column.write_length()
        self._ends.add(np.array([n_steps], np.int64))
        self._ends.flush()
        self._ends.write_length()

    def _count(self, row: Mapping[str, Array]) -> None:
        for column in self._columns():
            column.commit()
        for name, values in self._values.items():
            values.append(row[name][0])

    def _recover(self, row: Mapping[str, Array]) -> None:
        # An interrupt may come between the commit and our counting it.
        if self._ends.stored_length() > self._ends.n_rows:
            self._count(row)
            return
        for column in self._columns():
            column.discard()

    def _columns(self) -> Iterable[Column]:
        return chain(self._data.values(), self._meta.values(), [self._ends])

    def finish(self) -> None:
        """Say that nothing more comes. A folder is complete as it is; see `StagedWriter`."""

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
        try:
            if error is None:
                self.finish()
        finally:
            self.close()


def _folder(path: Path | str) -> Path:
    place = locate(path)
    if isinstance(place, Path):
        return place
    raise DemonstrationError(
        f"{place} is not on this machine; create_or_resume writes there, sets that are there "
        "already are not appended to"
    )


def _tail(stored: StoredSet, key: str) -> Array:
    """Committed rows of the last, partly filled chunk."""
    array = stored.arrays[key]
    return array.read(stored.n_steps - stored.n_steps % array.chunks[0], stored.n_steps)
