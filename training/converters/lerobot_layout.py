"""Where the files of a LeRobot dataset are, what its metadata says, and what our keys are there.

Version 3.0: several episodes share a file (https://huggingface.co/docs/lerobot/lerobot-dataset-v3).
Versions 2.0 and 2.1 have one file per episode and JSON lines for metadata.
"""

import json
import math
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bridle.training.converters.arrow import to_numpy
from bridle.training.converters.source import ConversionError, require
from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.files import one_line
from bridle.training.demonstrations.schema import CAMERA_PREFIX

VERSION = "v3.0"
INFO, STATS, TASKS, OURS = (
    "meta/info.json",
    "meta/stats.json",
    "meta/tasks.parquet",
    "meta/bridle.json",
)
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
FILES_PER_CHUNK = 1000
OWN_FEATURES: Mapping[str, str] = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
"""Columns that every data file has besides the features of the robot."""
_LARGEST_JSON = 256 << 20

_NAMES = {
    "action": "action",
    "joint_position": "observation.state",
    "object_state": "observation.environment_state",
    "reward": "next.reward",
    "cost": "next.cost",
    "instruction_id": "bridle.instruction_id",
    "intervention": "bridle.intervention",
    "timestamp": "bridle.timestamp",
}
_OBSERVED = ("joint_velocity", "tcp_pose", "gripper")


def feature_name(key: str) -> str:
    """LeRobot's name for one of our keys: its policies find their inputs by name."""
    if key.startswith(CAMERA_PREFIX):
        return f"observation.images.{key.removeprefix(CAMERA_PREFIX)}"
    if key in _NAMES:
        return _NAMES[key]
    return f"observation.{key}" if key in _OBSERVED else f"bridle.{key}"


def task_texts(attributes: Attributes) -> Sequence[str]:
    """LeRobot's tasks: the instructions, each once; without any the name of the task."""
    return list(dict.fromkeys(attributes.instructions)) or [attributes.task]


def stored_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How a row is stored: single numbers as such, more than 5 dimensions flat."""
    if shape in ((), (1,)):
        return ()
    return shape if len(shape) <= 4 else (int(np.prod(shape)),)


def numbered(template: str, number: int, video_key: str = "") -> str:
    """The file of a group of episodes."""
    chunk, file = divmod(number, FILES_PER_CHUNK)
    return template.format(chunk_index=chunk, file_index=file, video_key=video_key)


@dataclass(frozen=True)
class EpisodeFiles:
    """Where one episode is."""

    index: int
    length: int
    data: Path
    first_row: int
    """Of the episode in the data file."""
    videos: Mapping[str, tuple[Path, float]]
    """Feature -> file, and the time in it at which the episode begins [s]."""


class Layout:
    """The metadata of a dataset, read and checked.

    Raises:
        ConversionError: it is damaged, of an unknown version, or leads out of its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.info = _json_object(self.inside(INFO))
        version = self.info.get("codebase_version")
        if version not in ("v2.0", "v2.1", VERSION):
            raise ConversionError(
                f"{root}: versions 2.0, 2.1 and 3.0 are read, got {version!r}; "
                "convert it with LeRobot's own tool first"
            )
        self.version = str(version)
        features = self.info.get("features")
        if not isinstance(features, dict) or not all(
            isinstance(f, dict) for f in features.values()
        ):
            raise ConversionError(f"{root}/{INFO}: features must be an object of objects")
        self.features: Mapping[str, Mapping[str, Any]] = features
        rate = self.info.get("fps")
        if not isinstance(rate, int | float) or not (math.isfinite(rate) and rate > 0):
            raise ConversionError(f"{root}/{INFO}: fps must be a positive number, got {rate!r}")
        self.rate = float(rate)
        self.video_keys = [k for k, f in features.items() if f.get("dtype") == "video"]
        self._data = _Template(root, "data_path", self.info.get("data_path"))
        self._video = (
            _Template(root, "video_path", self.info.get("video_path")) if self.video_keys else None
        )

    def inside(self, name: str) -> Path:
        """A file of the dataset.

        Raises:
            ConversionError: the name or a link leads out of the dataset, or it does not exist.
        """
        path = self.root / name
        home = self.root.resolve()
        # The cache of the Hugging Face hub keeps a dataset as links to <cache>/<dataset>/blobs.
        allowed = [home, *([home.parents[1] / "blobs"] if home.parent.name == "snapshots" else [])]
        target = path.resolve()
        if not any(target.is_relative_to(folder) for folder in allowed):
            raise ConversionError(f"{self.root}: {name!r} leads out of the dataset, to {target}")
        if not target.is_file():
            raise ConversionError(f"{self.root}: {name} is missing")
        return path

    def tasks(self) -> tuple[str, ...]:
        """Sentences in the order of their task_index."""
        if self.version == VERSION:
            rows = _table(self.inside(TASKS))
            names = [n for n in ("task", "__index_level_0__") if n in rows]
            texts = rows[names[0]] if names else []
            found = dict(zip(rows["task_index"], texts, strict=bool(names)))
        else:
            lines = list(_json_lines(self.inside("meta/tasks.jsonl")))
            found = {line.get("task_index"): line.get("task") for line in lines}
        if set(found) != set(range(len(found))) or not all(
            isinstance(text, str) for text in found.values()
        ):
            raise ConversionError(
                f"{self.root}: the tasks must be sentences numbered from 0, got {str(found)[:80]}"
            )
        return tuple(found[i] for i in range(len(found)))

    def episodes(self) -> Iterator[EpisodeFiles]:
        """Where each episode is, in order."""
        yield from self._episodes_3() if self.version == VERSION else self._episodes_2()

    def _episodes_3(self) -> Iterator[EpisodeFiles]:
        files = sorted((self.root / "meta/episodes").glob("chunk-*/file-*.parquet"))
        if not files:
            raise ConversionError(f"{self.root}: meta/episodes holds no tables")
        names = ["episode_index", "length", "dataset_from_index", "dataset_to_index"]
        names += ["data/chunk_index", "data/file_index"]
        parts = ("chunk_index", "file_index", "from_timestamp")
        names += [f"videos/{key}/{part}" for key in self.video_keys for part in parts]
        current, offset, expected, position = None, 0, 0, 0
        for file in files:
            where = file.relative_to(self.root).as_posix()
            for row in _rows(self.inside(where), where, names):
                index, length = int(row["episode_index"]), int(row["length"])
                begin, end = int(row["dataset_from_index"]), int(row["dataset_to_index"])
                if (index, begin, end - begin) != (expected, position, length) or length < 0:
                    raise ConversionError(
                        f"{self.root}/{where}: expected episode {expected} from row {position}, "
                        f"got episode {index} from {begin} to {end} of length {length}"
                    )
                place = (int(row["data/chunk_index"]), int(row["data/file_index"]))
                if place != current:
                    current, offset = place, begin
                videos = {}
                for key in self.video_keys:
                    chunk, number, start = (row[f"videos/{key}/{part}"] for part in parts)
                    videos[key] = (self._video_file(key, int(chunk), int(number)), float(start))
                data = self.inside(self._data.fill(chunk_index=place[0], file_index=place[1]))
                yield EpisodeFiles(index, length, data, begin - offset, videos)
                expected, position = expected + 1, end

    def _episodes_2(self) -> Iterator[EpisodeFiles]:
        per_chunk = self.info.get("chunks_size", FILES_PER_CHUNK)
        if type(per_chunk) is not int or per_chunk < 1:
            raise ConversionError(f"{self.root}/{INFO}: chunks_size must be positive")
        for expected, line in enumerate(_json_lines(self.inside("meta/episodes.jsonl"))):
            index, length = line.get("episode_index"), line.get("length")
            if index != expected or type(length) is not int or length < 0:
                raise ConversionError(
                    f"{self.root}/meta/episodes.jsonl: expected episode {expected} and its length, "
                    f"got {index!r} and {length!r}"
                )
            place = {"episode_chunk": index // per_chunk, "episode_index": index}
            videos = {}
            for key in self.video_keys:
                assert self._video is not None
                videos[key] = (self.inside(self._video.fill(video_key=key, **place)), 0.0)
            yield EpisodeFiles(index, length, self.inside(self._data.fill(**place)), 0, videos)

    def _video_file(self, key: str, chunk: int, number: int) -> Path:
        assert self._video is not None
        name = self._video.fill(video_key=key, chunk_index=chunk, file_index=number)
        return self.inside(name)


class _Template:
    """A path with numbers to fill in, from a file that is not to be trusted."""

    _FIELDS = ("chunk_index", "file_index", "episode_chunk", "episode_index", "video_key")

    def __init__(self, root: Path, name: str, text: Any) -> None:
        where = f"{root}/{INFO}: {name}"
        if not isinstance(text, str):
            raise ConversionError(f"{where} must be a path, got {text!r}")
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ConversionError(f"{where}: {error}, in {text!r}") from error
        for _, field, spec, conversion in parts:
            if field is None:
                continue
            if field not in self._FIELDS or conversion or not re.fullmatch(r"0?\d?d?", spec or ""):
                raise ConversionError(f"{where} must fill in plain numbers, got {text!r}")
        self._text, self._where = text, where

    def fill(self, **values: object) -> str:
        try:
            return self._text.format(**values)
        except (KeyError, ValueError) as error:
            raise ConversionError(f"{self._where}: {one_line(error)}, in {self._text!r}") from error


def _check_size(path: Path) -> None:
    if path.stat().st_size > _LARGEST_JSON:
        raise ConversionError(f"{path} is too large for metadata")


def _json_object(path: Path) -> dict[str, Any]:
    _check_size(path)
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError, RecursionError) as error:
        raise ConversionError(f"{path} is not readable JSON: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise ConversionError(f"{path}: expected an object, got {type(content).__name__}")
    return content


def read_ours(layout: Layout) -> dict[str, Any] | None:
    """What Bridle wrote into a dataset; None if someone else wrote it."""
    return _json_object(layout.inside(OURS)) if (layout.root / OURS).exists() else None


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    _check_size(path)
    with path.open(errors="replace") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise ConversionError(f"{path}, line {number}: {error}") from error
            if not isinstance(line, dict):
                raise ConversionError(f"{path}, line {number}: expected an object")
            yield line


def parquet_file(path: Path) -> Any:
    """Open a table to be streamed.

    Raises:
        ConversionError: it is none.
    """
    pa, pq = require("pyarrow"), require("pyarrow.parquet")
    try:
        return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise ConversionError(f"{path} is not a readable table: {one_line(error)}") from error


def _table(path: Path) -> dict[str, list[Any]]:
    pa = require("pyarrow")
    with parquet_file(path) as file:
        try:
            rows: dict[str, list[Any]] = file.read().to_pydict()
        except (pa.ArrowException, OSError) as error:
            raise ConversionError(f"{path}: {one_line(error)}") from error
    if "task_index" not in rows:
        raise ConversionError(f"{path}: the column task_index is missing")
    return rows


def _rows(path: Path, where: str, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of the plain numbers in a table, a thousand at a time."""
    pa = require("pyarrow")
    with parquet_file(path) as file:
        missing = sorted(set(names) - set(file.schema_arrow.names))
        if missing:
            raise ConversionError(f"{path}: the column {missing[0]} is missing")
        first = 0
        try:
            for batch in file.iter_batches(1000, columns=list(names)):
                columns = {
                    name: to_numpy(f"{where}: {name}", first, batch.column(name), (), "float64")
                    for name in names
                }
                for i in range(len(batch)):
                    row = {name: values[i] for name, values in columns.items()}
                    if not all(np.isfinite(value) for value in row.values()):
                        raise ConversionError(f"{path}, row {first + i}: expected finite numbers")
                    yield row
                first += len(batch)
        except (pa.ArrowException, OSError) as error:
            raise ConversionError(f"{path}: {one_line(error)}") from error
