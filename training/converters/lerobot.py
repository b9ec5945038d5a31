"""Reading LeRobot datasets: tables in row order, pictures and videos frame by frame."""

import io
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bridle.training.converters.arrow import to_numpy
from bridle.training.converters.keys import camera_key, identifier
from bridle.training.converters.lerobot_layout import (
    INFO,
    OWN_FEATURES,
    EpisodeFiles,
    Layout,
    parquet_file,
    read_ours,
)
from bridle.training.converters.pictures import decode_picture
from bridle.training.converters.source import (
    Block,
    Column,
    ConversionError,
    Episode,
    Rule,
    SourceOptions,
    require,
    rows_per_block,
)
from bridle.training.converters.video import VideoReader
from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.files import one_line
from bridle.training.demonstrations.schema import Array, DemonstrationError

_KEYS = {
    "action": "action",
    "observation.environment_state": "object_state",
    "next.reward": "reward",
    "timestamp": "timestamp",
    "task_index": "instruction_id",
}
_NUMBERS = ("index", "episode_index", "frame_index")
"""They number the rows and are made anew."""
_BATCH = 256
"""Most rows of a table that are decoded at once."""


def recognise(path: Path) -> bool:
    """Whether a folder is a LeRobot dataset."""
    return (path / INFO).is_file()


class LeRobotSource:
    """A dataset of version 2.0, 2.1 or 3.0."""

    format = "lerobot"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        require("pyarrow.parquet")
        self._layout = layout = Layout(path)
        self._episodes = list(layout.episodes())
        self.n_episodes: int | None = len(self._episodes)
        self.control_rate: float | None = options.rate or layout.rate
        robot = layout.info.get("robot_type")
        self.robot: str | None = robot if isinstance(robot, str) and robot else None
        self.task: str | None = None
        self.instructions = layout.tasks()
        self.episode_keys: Mapping[str, str] = {}
        self.notes: list[str] = []
        self.position: tuple[int, int] | None = None
        self.derived: tuple[Rule, ...] = ()
        self.origin: Mapping[str, Any] = {}
        self._values: Mapping[str, Sequence[Any]] = {}
        self._features = dict(layout.features)
        for name, dtype in OWN_FEATURES.items():
            self._features.setdefault(name, {"dtype": dtype, "shape": [1]})
        self.columns = {
            name: self._column(name, feature)
            for name, feature in self._features.items()
            if name not in _NUMBERS
        }
        self._take_ours()
        self.fingerprint: Mapping[str, Any] = {
            "version": layout.version,
            "episodes": self.n_episodes,
            "steps": sum(episode.length for episode in self._episodes),
            "columns": {name: [list(c.shape), c.dtype] for name, c in self.columns.items()},
        }

    def episodes(self, first: int, columns: Sequence[str]) -> Generator[Episode]:
        """See `Source`."""
        rows = rows_per_block([self.columns[name] for name in columns])
        readers = _Readers(self._layout, self._features, self.columns, columns, rows)
        try:
            for place in self._episodes[first:]:
                values = {key: self._values[key][place.index] for key in self.episode_keys}

                def blocks(place: EpisodeFiles = place) -> Iterator[Block]:
                    return readers.blocks(place)

                yield Episode(place.index, f"episode {place.index}", blocks, values)
        finally:
            readers.close()

    def close(self) -> None:
        """Nothing is left open."""

    def _column(self, name: str, feature: Mapping[str, Any]) -> Column:
        where = f"{self._layout.root}/{INFO}: features.{name}"
        dtype, shape = feature.get("dtype"), feature.get("shape")
        if dtype in ("image", "video"):
            return _image_column(where, name, feature)
        try:
            known = isinstance(dtype, str) and np.dtype(dtype).kind in "biuf"
        except TypeError:
            known = False
        if not known:
            return Column((), "bool", "", left_out=f"{dtype} is no number")
        if not isinstance(shape, list) or not all(type(n) is int and n > 0 for n in shape):
            raise ConversionError(f"{where}: the shape must be positive integers, got {shape!r}")
        key = _KEYS.get(name) or identifier(name)
        if name == "task_index" and not self.instructions:
            return Column((), "int64", "", left_out="there are no tasks")
        scalar = shape == [1] and (name in OWN_FEATURES or key in ("reward", "next_done"))
        return Column(() if scalar else tuple(shape), str(dtype), key)

    def _take_ours(self) -> None:
        """If Bridle wrote it and nobody changed it since: everything as it was."""
        ours = read_ours(self._layout)
        if ours is None:
            return
        where = f"{self._layout.root}/meta/bridle.json"
        try:
            steps = sum(episode.length for episode in self._episodes)
            if (ours["episodes"], ours["steps"]) != (self.n_episodes, steps):
                self.notes.append(f"{where} is of another state of this dataset and is ignored")
                return
            attributes = Attributes.from_json(ours["attributes"])
            names = {str(key): str(name) for key, name in ours["features"].items()}
            values = {str(k): list(v) for k, v in ours["episode_values"].items()}
        except DemonstrationError as error:
            raise ConversionError(f"{where}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConversionError(f"{where}: {one_line(error)}") from error
        missing = sorted(names.keys() ^ attributes.keys.keys()) or sorted(
            set(names.values()) - self._features.keys()
        )
        if missing or values.keys() != attributes.episode_keys.keys():
            self.notes.append(f"{where} does not fit the features and is ignored")
            return
        if any(len(v) != self.n_episodes for v in values.values()):
            raise ConversionError(f"{where}: there must be one value for each episode")
        self.robot, self.task = attributes.robot, attributes.task
        self.control_rate = attributes.control_rate
        self.instructions, self.origin = attributes.instructions, attributes.source
        self.episode_keys, self._values = attributes.episode_keys, values
        written = {name: key for key, name in names.items()}
        self.columns = {}
        for name, key in written.items():
            spec = attributes.keys[key]
            self.columns[name] = Column(spec.shape, spec.dtype, key, spec.unit, spec.meaning, spec)


class _Readers:
    """Open files of the episodes that are being read: one table, and one video for each camera."""

    def __init__(
        self,
        layout: Layout,
        features: Mapping[str, Mapping[str, Any]],
        columns: Mapping[str, Column],
        names: Sequence[str],
        rows: int,
    ) -> None:
        self._layout, self._columns, self._rows = layout, columns, rows
        kinds = {name: features[name].get("dtype") for name in names}
        self._videos = [name for name in names if kinds[name] == "video"]
        self._pictures = [name for name in names if kinds[name] == "image"]
        self._numbers = [name for name in names if kinds[name] not in ("video", "image")]
        self._table: _Table | None = None
        self._open: dict[str, tuple[Path, VideoReader]] = {}

    def blocks(self, place: EpisodeFiles) -> Iterator[Block]:
        own = ["timestamp", "episode_index", "frame_index"]
        wanted = list(dict.fromkeys([*own, *self._numbers, *self._pictures]))
        if self._table is None or self._table.path != place.data:
            self._table = _Table(place.data, self._layout, wanted, self._rows)
        for start in range(0, place.length, self._rows):
            count = min(self._rows, place.length - start)
            batch = self._table.read(place.first_row + start, count)
            block: dict[str, Array] = {}
            place_in = {name: self._column(batch, name, start, (), "int64") for name in own[1:]}
            expected = np.arange(start, start + count)
            wrong = (place_in["episode_index"] != place.index) | (
                place_in["frame_index"] != expected
            )
            if wrong.any():
                row = int(np.argmax(wrong))
                raise DemonstrationError(
                    f"{self._table.name}, row {place.first_row + start + row}: expected frame "
                    f"{start + row} of episode {place.index}, got frame "
                    f"{place_in['frame_index'][row]} of episode {place_in['episode_index'][row]}"
                )
            for name in self._numbers:
                column = self._columns[name]
                block[name] = self._column(batch, name, start, column.shape, column.dtype)
            for name in self._pictures:
                block[name] = self._decode_pictures(batch, name, start)
            if self._videos:
                times = self._column(batch, "timestamp", start, (), "float64")
                for name in self._videos:
                    block[name] = self._decode_video(place, name, times)
            yield block

    def close(self) -> None:
        for _, reader in self._open.values():
            reader.close()
        self._open.clear()

    def _column(
        self, batch: Any, name: str, start: int, shape: tuple[int, ...], dtype: str
    ) -> Array:
        assert self._table is not None
        return to_numpy(f"{self._table.name}: {name}", start, batch[name], shape, dtype)

    def _decode_pictures(self, batch: Any, name: str, start: int) -> Array:
        assert self._table is not None
        shape = self._columns[name].shape
        frames = np.empty((len(batch[name]), *shape), np.uint8)
        for i, cell in enumerate(batch[name]):
            where = f"{self._table.name}: {name}, row {start + i}"
            value = cell.as_py()
            if not isinstance(value, dict):
                raise DemonstrationError(f"{where}: expected a picture, got {type(value).__name__}")
            data = value.get("bytes")
            if data is None:
                path = self._layout.inside(str(value.get("path")))
                data = path.read_bytes()
            frames[i] = decode_picture(where, io.BytesIO(data), shape)
        return frames

    def _decode_video(self, place: EpisodeFiles, name: str, times: Array) -> Array:
        path, begin = place.videos[name]
        known, reader = self._open.get(name, (None, None))
        if reader is None or known != path:
            if reader is not None:
                reader.close()
            relative = path.relative_to(self._layout.root).as_posix()
            reader = VideoReader(path, relative)
            self._open[name] = (path, reader)
        shape = self._columns[name].shape
        frames = np.empty((len(times), *shape), np.uint8)
        tolerance = 0.5 / self._layout.rate
        for i, time in enumerate(times):
            frame = reader.frame(begin + float(time), tolerance)
            if frame.shape != shape:
                raise DemonstrationError(
                    f"{path.name} of {name}: expected frames of {shape}, got {frame.shape}"
                )
            frames[i] = frame
        return frames


class _Table:
    """Rows of one data file in rising order; a small batch of them is in memory."""

    def __init__(self, path: Path, layout: Layout, columns: Sequence[str], rows: int) -> None:
        self.path = path
        self.name = path.relative_to(layout.root).as_posix()
        self._pa = require("pyarrow")
        self._first = 0
        self._batch: Any = None
        self._columns, self._length = list(columns), min(rows, _BATCH)
        self._file = parquet_file(path)
        missing = sorted(set(columns) - set(self._file.schema_arrow.names))
        if missing:
            raise ConversionError(f"{self.name}: the column {missing[0]} is missing")
        self._restart()

    def read(self, start: int, count: int) -> dict[str, Any]:
        """Columns of rows start..start+count-1."""
        try:
            return self._read(start, count)
        except (self._pa.ArrowException, OSError) as error:
            raise DemonstrationError(f"{self.name}, row {start}: {one_line(error)}") from error

    def _read(self, start: int, count: int) -> dict[str, Any]:
        if start < self._first:
            self._restart()
        parts = []
        while count:
            if start >= self._first + len(self._batch):
                self._first += len(self._batch)
                batch = next(self._batches, None)
                if batch is None:
                    raise DemonstrationError(
                        f"{self.name} ends after {self._first} rows, and row {start} is needed"
                    )
                self._batch = batch
                continue
            part = self._batch.slice(start - self._first, count)
            parts.append(part)
            start, count = start + len(part), count - len(part)
        table = self._pa.Table.from_batches(parts).combine_chunks()
        return {name: _single(table.column(name), self._pa) for name in self._columns}

    def _restart(self) -> None:
        self._batches = self._file.iter_batches(self._length, columns=self._columns)
        self._first, self._batch = 0, self._pa.record_batch({})


def _single(column: Any, pa: Any) -> Any:
    chunks = column.chunks
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)


def _image_column(where: str, name: str, feature: Mapping[str, Any]) -> Column:
    shape, names = feature.get("shape"), feature.get("names")
    if (
        not isinstance(shape, list)
        or len(shape) != 3
        or not all(type(n) is int and n > 0 for n in shape)
    ):
        raise ConversionError(f"{where}: an image has 3 dimensions, got {shape!r}")
    first = names[0] if isinstance(names, list) and names else None
    if first in ("channel", "channels") or (first is None and shape[0] == 3 != shape[2]):
        shape = [*shape[1:], shape[0]]
    details = [feature.get("info"), feature.get("video_info"), feature]
    depth = any(
        isinstance(d, dict) and (d.get("is_depth_map") or d.get("video.is_depth_map"))
        for d in details
    )
    if depth or shape[2] != 3:
        what = "a depth map" if depth else f"{shape[2]} channels"
        return Column(tuple(shape), "uint8", "", left_out=f"{what}, not RGB")
    short = name.removeprefix("observation.").removeprefix("images.").removeprefix("image.")
    return Column(tuple(shape), "uint8", camera_key(short))
