"""Episodes on their way into a LeRobot dataset: first in files of their own, then of a group."""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bridle.training.converters.arrow import from_numpy
from bridle.training.converters.lerobot_layout import (
    DATA,
    EPISODES,
    FILES_PER_CHUNK,
    OWN_FEATURES,
    VIDEO,
    feature_name,
    numbered,
    parquet_file,
    stored_shape,
    task_texts,
)
from bridle.training.converters.pictures import encode_png
from bridle.training.converters.source import ConversionError, require
from bridle.training.converters.statistics import (
    ImageStatistics,
    NumberStatistics,
    Sample,
    Statistics,
)
from bridle.training.converters.video import VideoJoiner, VideoReader, VideoWriter, psnr
from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.checks import EpisodeCheck
from bridle.training.demonstrations.schema import CAMERA_PREFIX, Array

PARTIAL = ".partial"
MOST_ROWS, MOST_EPISODES, MOST_BYTES, MOST_SECONDS = 10_000, 500, 100_000_000, 1000.0
"""Of a group. LeRobot compares times within a video as float32 to 0.1 ms: hence the seconds."""
_PSNR_FRAMES = 16
"""Frames of an episode that are compared with what its video gives back."""


@dataclass(frozen=True)
class Plan:
    """What is written, and where.

    Raises:
        ConversionError: a camera cannot be stored as video.
    """

    path: Path
    attributes: Attributes
    codec: str | None
    """Of the videos; None stores pictures."""

    def __post_init__(self) -> None:
        for key in self.videos:
            height, width, _ = self.attributes.keys[key].shape
            if height % 2 or width % 2:
                raise ConversionError(
                    f"{key}: video needs an even height and width, got {height} x {width}; "
                    "use --images png"
                )

    @property
    def cameras(self) -> list[str]:
        """Keys that hold images."""
        return [key for key in self.attributes.keys if key.startswith(CAMERA_PREFIX)]

    @property
    def videos(self) -> list[str]:
        """Cameras that are stored as video."""
        return self.cameras if self.codec is not None else []

    @property
    def rate(self) -> float:
        """Frames per second [Hz]."""
        return self.attributes.control_rate


class StagedEpisode:
    """One episode in files of its own, until it is whole."""

    def __init__(self, plan: Plan, episode: int, first_row: int) -> None:
        self._plan, self._episode, self._first_row = plan, episode, first_row
        self.folder = plan.path / PARTIAL / "episode"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.length = 0
        self.bytes = 0
        self.psnr: dict[str, tuple[float, float]] = {}
        keys, cameras = plan.attributes.keys, plan.cameras
        self._statistics: dict[str, NumberStatistics | ImageStatistics] = {
            feature_name(key): ImageStatistics() if key in cameras else NumberStatistics()
            for key in keys
        }
        self._statistics |= {name: NumberStatistics() for name in OWN_FEATURES}
        self._table: Any = None
        self._videos = {
            key: VideoWriter(self.video(key), plan.rate, keys[key].shape, plan.codec or "")
            for key in plan.videos
        }
        self._originals = {key: Sample(_PSNR_FRAMES) for key in self._videos}
        self._check = EpisodeCheck(plan.attributes, f"episode {episode}")

    @property
    def data(self) -> Path:
        """Its table."""
        return self.folder / "data.parquet"

    def video(self, key: str) -> Path:
        """Its video of a camera."""
        return self.folder / f"{key}.mp4"

    def write(self, block: Mapping[str, Array]) -> None:
        """Take a block of rows in.

        Raises:
            DemonstrationError: it is not what the set's keys say.
        """
        self._check.block(block)
        rows = len(block["action"])
        columns: dict[str, Any] = {}
        for key, spec in self._plan.attributes.keys.items():
            name, values = feature_name(key), block[key]
            self._statistics[name].add(values)
            if key in self._videos:
                self._originals[key].add(values)
                self._videos[key].write(values)
            elif key in self._plan.cameras:
                columns[name] = self._pictures(values)
            else:
                shape = stored_shape(spec.shape)
                columns[name] = from_numpy(values.reshape(rows, *shape))
                self.bytes += values.nbytes
        for name, values in self._own(block, rows).items():
            self._statistics[name].add(values)
            columns[name] = from_numpy(values)
        pa, pq = require("pyarrow"), require("pyarrow.parquet")
        table = pa.table(columns)
        if self._table is None:
            self._table = pq.ParquetWriter(self.data, table.schema, compression="snappy")
        self._table.write_table(table)
        self.length += rows

    def close(self) -> int:
        """Finish its files; its number of steps."""
        self._check.end()
        self._table.close()
        for key, video in self._videos.items():
            video.close()
            self.psnr[key] = self._measure(key)
        return self.length

    def abandon(self) -> None:
        """Remove it."""
        if self._table is not None:
            self._table.close()
        for video in self._videos.values():
            # The encoder may be the one that failed.
            with suppress(Exception):
                video.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def statistics(self) -> dict[str, Statistics]:
        """Of every feature."""
        return {name: found.result() for name, found in self._statistics.items()}

    def _own(self, block: Mapping[str, Array], rows: int) -> dict[str, Array]:
        frames = np.arange(self.length, self.length + rows)
        tasks = np.zeros(rows, np.int64)
        if "instruction_id" in block:
            texts = task_texts(self._plan.attributes)
            place = np.array([texts.index(t) for t in self._plan.attributes.instructions])
            tasks = place[block["instruction_id"]].astype(np.int64)
        rate = self._plan.rate
        return {
            "timestamp": (frames / rate).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full(rows, self._episode),
            "index": self._first_row + frames,
            "task_index": tasks,
        }

    def _pictures(self, frames: Array) -> Any:
        pa = require("pyarrow")
        cells = [{"bytes": encode_png(frame), "path": None} for frame in frames]
        self.bytes += sum(len(cell["bytes"] or b"") for cell in cells)
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        return pa.array(cells, kind)

    def _measure(self, key: str) -> tuple[float, float]:
        rate = self._plan.rate
        reader = VideoReader(self.video(key), f"the video of {key}")
        try:
            found = [
                psnr(frame, reader.frame(i / rate, 0.5 / rate))
                for i, frame in self._originals[key].rows
            ]
            return min(found), sum(found) / len(found)
        finally:
            reader.close()


class Group:
    """Episodes that share files."""

    def __init__(self, plan: Plan, number: int, first_episode: int, first_row: int) -> None:
        self._plan, self._number = plan, number
        self._first_episode, self._first_row = first_episode, first_row
        self._folder = plan.path / PARTIAL / "group"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._table: Any = None
        self._videos = {
            key: VideoJoiner(self._folder / f"{key}.mp4", plan.rate) for key in plan.videos
        }
        self._rows: list[dict[str, Any]] = []
        self._steps = self._bytes = 0
        self.psnr: dict[str, list[tuple[float, float]]] = {key: [] for key in self._videos}
        """Camera -> lowest and mean of each episode [dB]."""
        self._next = 0

    @property
    def full(self) -> bool:
        """Whether it shall be committed."""
        seconds = self._steps / self._plan.rate
        return (
            self._steps >= MOST_ROWS
            or len(self._rows) >= MOST_EPISODES
            or self._bytes >= MOST_BYTES
            or seconds >= MOST_SECONDS
        )

    def add(
        self, staged: StagedEpisode, index: int, length: int, values: Mapping[str, Array]
    ) -> None:
        """Take over the files of an episode, its number in the source, and its values."""
        pq = require("pyarrow.parquet")
        with parquet_file(staged.data) as source:
            if self._table is None:
                self._table = pq.ParquetWriter(
                    self._folder / "data.parquet", source.schema_arrow, compression="snappy"
                )
            for i in range(source.num_row_groups):
                self._table.write_table(source.read_row_group(i))
        rate = self._plan.rate
        chunk, file = divmod(self._number, FILES_PER_CHUNK)
        begin = self._first_row + self._steps
        row: dict[str, Any] = {
            "episode_index": self._first_episode + len(self._rows),
            "tasks": self._tasks(staged),
            "length": length,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": begin,
            "dataset_to_index": begin + length,
        }
        for key, video in self._videos.items():
            video.add(staged.video(key), length)
            name = feature_name(key)
            row |= {
                f"videos/{name}/chunk_index": chunk,
                f"videos/{name}/file_index": file,
                f"videos/{name}/from_timestamp": self._steps / rate,
                f"videos/{name}/to_timestamp": (self._steps + length) / rate,
            }
            self.psnr[key].append(staged.psnr[key])
        for name, found in staged.statistics().items():
            row |= {f"stats/{name}/{s}": value.tolist() for s, value in found.items()}
        row |= {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
        row |= {f"bridle/{name}": values[name][0].item() for name in values}
        self._rows.append(row)
        self._steps, self._bytes = self._steps + length, self._bytes + staged.bytes
        self._next = index + 1
        shutil.rmtree(staged.folder)

    def commit(self) -> None:
        """Rename its files; the last one is the commit."""
        pa, pq = require("pyarrow"), require("pyarrow.parquet")
        self._table.close()
        for video in self._videos.values():
            video.close()
        moves = {"data.parquet": numbered(DATA, self._number)}
        for key in self._videos:
            moves[f"{key}.mp4"] = numbered(VIDEO, self._number, feature_name(key))
        for name, target in moves.items():
            path = self._plan.path / target
            path.parent.mkdir(parents=True, exist_ok=True)
            (self._folder / name).replace(path)
        ours = {
            "episodes": self._first_episode + len(self._rows),
            "steps": self._first_row + self._steps,
            "next": self._next,
            "psnr": self.psnr,
        }
        table = pa.Table.from_pylist(self._rows)
        table = table.replace_schema_metadata({"bridle": json.dumps(ours)})
        partial = self._folder / "episodes.parquet"
        pq.write_table(table, partial)
        path = self._plan.path / numbered(EPISODES, self._number)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(path)

    def _tasks(self, staged: StagedEpisode) -> list[str]:
        texts = task_texts(self._plan.attributes)
        with parquet_file(staged.data) as source:
            seen: list[int] = []
            for batch in source.iter_batches(10_000, columns=["task_index"]):
                seen += [i for i in batch.column(0).unique().to_pylist() if i not in seen]
        return [texts[i] for i in seen]
