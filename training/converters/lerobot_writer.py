"""Writing LeRobot datasets of version 3.0.

Episodes are gathered into groups; a group is one data file, one video for each camera, and one
table of its episodes, all of the same number. The rename of that table commits the group; a kill
costs at most the group that was being written. `meta/info.json` comes last of all, and without it
there is no dataset.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bridle.training.converters.arrow import to_numpy
from bridle.training.converters.lerobot_group import PARTIAL, Group, Plan, StagedEpisode
from bridle.training.converters.lerobot_layout import (
    DATA,
    EPISODES,
    FILES_PER_CHUNK,
    INFO,
    OURS,
    OWN_FEATURES,
    STATS,
    TASKS,
    VERSION,
    VIDEO,
    feature_name,
    numbered,
    parquet_file,
    stored_shape,
    task_texts,
)
from bridle.training.converters.source import ConversionError, require
from bridle.training.converters.statistics import Total
from bridle.training.converters.video import video_info
from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.checks import episode_row
from bridle.training.demonstrations.lock import WriteLock
from bridle.training.demonstrations.schema import Array


class LeRobotWriter:
    """Appends episodes to a dataset and finishes it.

    Args:
        out: folder; new, or begun by a conversion with the same attributes and options.
        attributes: of the set, ours.
        codec: of the cameras' videos; None stores pictures without loss.
    """

    def __init__(self, out: Path, attributes: Attributes, codec: str | None) -> None:
        require("pyarrow.parquet")
        self._plan = Plan(out, attributes, codec)
        self._group: Group | None = None
        self.n_episodes = self.n_steps = self.next_episode = self._n_groups = 0
        self.psnr: dict[str, list[tuple[float, float]]] = {key: [] for key in self._plan.videos}
        """Camera -> lowest and mean of each episode [dB]."""
        out.parent.mkdir(parents=True, exist_ok=True)
        self._lock = WriteLock(out)
        try:
            out.mkdir(exist_ok=True)
            self._recover()
        except BaseException:
            self._lock.release()
            raise

    @property
    def finished(self) -> bool:
        """Whether the dataset is complete."""
        return (self._plan.path / INFO).exists()

    def append(
        self, index: int, blocks: Iterator[Mapping[str, Array]], values: Mapping[str, float]
    ) -> int:
        """Take one episode in; it is committed with its group.

        Args:
            index: number of the episode in its source, rising.
            blocks: consecutive blocks of its rows.
            values: one for each of the episode keys.

        Returns:
            Its number of steps.

        Raises:
            DemonstrationError: it is wrong; nothing of it is kept then.
        """
        row = episode_row(self._plan.attributes, values, f"episode {self.n_episodes}")
        staged = StagedEpisode(self._plan, self.n_episodes, self.n_steps)
        try:
            for block in blocks:
                staged.write(block)
            length = staged.close()
        except BaseException:
            staged.abandon()
            raise
        if self._group is None:
            self._group = Group(self._plan, self._n_groups, self.n_episodes, self.n_steps)
        self._group.add(staged, index, length, row)
        self.n_episodes += 1
        self.n_steps += length
        self.next_episode = index + 1
        if self._group.full:
            self._commit_group()
        return length

    def finish(self) -> None:
        """Write the rest, and what makes it a dataset.

        Raises:
            ConversionError: there is no episode.
        """
        if self.finished:
            return
        if self._group is not None:
            self._commit_group()
        if not self.n_episodes:
            raise ConversionError("no episode was converted; LeRobot cannot load an empty dataset")
        shutil.rmtree(self._plan.path / PARTIAL, ignore_errors=True)
        totals: dict[str, Total] = {}
        values: dict[str, list[Any]] = {name: [] for name in self._plan.attributes.episode_keys}
        for table in self._episode_tables():
            self._add_table(table, totals, values)
        stats = {name: total.result() for name, total in totals.items()}
        features = {key: feature_name(key) for key in self._plan.attributes.keys}
        ours = {
            "attributes": self._plan.attributes.to_json(),
            "features": features,
            "episodes": self.n_episodes,
            "steps": self.n_steps,
            "images": "video" if self._plan.videos else "png",
            "episode_values": values,
        }
        self._write_tasks()
        _write_json(self._plan.path / STATS, stats)
        _write_json(self._plan.path / OURS, ours)
        _write_json(self._plan.path / INFO, self._info())

    def close(self) -> None:
        """Let others write."""
        self._lock.release()

    # What was there before.

    def _recover(self) -> None:
        """Count what is committed; remove what is not."""
        shutil.rmtree(self._plan.path / PARTIAL, ignore_errors=True)
        for table in self._episode_tables():
            ours = json.loads((table.schema_arrow.metadata or {}).get(b"bridle", b"{}"))
            if not ours:
                raise ConversionError(
                    f"{self._plan.path} is a dataset of someone else; choose another"
                )
            self.n_episodes, self.n_steps = ours["episodes"], ours["steps"]
            self.next_episode, self._n_groups = ours["next"], self._n_groups + 1
            for key, found in ours["psnr"].items():
                self.psnr[key] += found
        kept = {path for i in range(self._n_groups) for path in self._group_files(i)}
        for folder in ("data", "videos"):
            for path in sorted((self._plan.path / folder).rglob("file-*")):
                if path not in kept:
                    path.unlink()

    def _episode_tables(self) -> Iterator[Any]:
        number = 0
        while (path := self._plan.path / numbered(EPISODES, number)).exists():
            with parquet_file(path) as table:
                yield table
            number += 1

    def _group_files(self, number: int) -> Iterator[Path]:
        yield self._plan.path / numbered(DATA, number)
        for key in self._plan.videos:
            yield self._plan.path / numbered(VIDEO, number, feature_name(key))

    # What is written.

    def _commit_group(self) -> None:
        assert self._group is not None
        self._group.commit()
        for key, found in self._group.psnr.items():
            self.psnr[key] += found
        self._group = None
        self._n_groups += 1

    def _add_table(
        self, table: Any, totals: dict[str, Total], values: dict[str, list[Any]]
    ) -> None:
        for batch in table.iter_batches(100):
            for row in batch.to_pylist():
                found: dict[str, dict[str, Any]] = {}
                for name, value in row.items():
                    if name.startswith("stats/"):
                        feature, _, statistic = name.removeprefix("stats/").rpartition("/")
                        found.setdefault(feature, {})[statistic] = value
                for feature, statistics in found.items():
                    totals.setdefault(feature, Total()).add(statistics)
        for name, dtype in self._plan.attributes.episode_keys.items():
            column = table.read([f"bridle/{name}"]).column(0).combine_chunks()
            values[name] += to_numpy(name, 0, column, (), dtype).tolist()

    def _write_tasks(self) -> None:
        pa, pq = require("pyarrow"), require("pyarrow.parquet")
        texts = task_texts(self._plan.attributes)
        # LeRobot looks tasks up in the index of a pandas table.
        kinds = {"task_index": ("int64", "int64"), "task": ("unicode", "object")}
        pandas = {
            "index_columns": ["task"],
            "column_indexes": [],
            "columns": [
                {
                    "name": name,
                    "field_name": name,
                    "pandas_type": kind,
                    "numpy_type": numpy,
                    "metadata": None,
                }
                for name, (kind, numpy) in kinds.items()
            ],
            "creator": {"library": "pyarrow", "version": pa.__version__},
            "pandas_version": "2.0.0",
        }
        table = pa.table({"task_index": pa.array(range(len(texts)), pa.int64()), "task": texts})
        table = table.replace_schema_metadata({"pandas": json.dumps(pandas)})
        partial = self._plan.path / f"{TASKS}.partial"
        pq.write_table(table, partial)
        partial.replace(self._plan.path / TASKS)

    def _info(self) -> dict[str, Any]:
        rate = self._plan.attributes.control_rate
        return {
            "codebase_version": VERSION,
            "robot_type": self._plan.attributes.robot,
            "total_episodes": self.n_episodes,
            "total_frames": self.n_steps,
            "total_tasks": len(task_texts(self._plan.attributes)),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 500,
            "fps": int(rate) if float(rate).is_integer() else rate,
            "splits": {"train": f"0:{self.n_episodes}"},
            "data_path": DATA,
            "video_path": VIDEO if self._plan.videos else None,
            "features": self._features(),
        }

    def _features(self) -> dict[str, Any]:
        features: dict[str, Any] = {}
        for key, spec in self._plan.attributes.keys.items():
            name = feature_name(key)
            if key in self._plan.cameras:
                features[name] = {
                    "dtype": "video" if self._plan.videos else "image",
                    "shape": list(spec.shape),
                    "names": ["height", "width", "channels"],
                }
                if self._plan.videos:
                    features[name]["info"] = video_info(self._plan.path / numbered(VIDEO, 0, name))
                continue
            shape = list(stored_shape(spec.shape)) or [1]
            features[name] = {"dtype": spec.dtype, "shape": shape, "names": None}
        for name, dtype in OWN_FEATURES.items():
            features[name] = {"dtype": dtype, "shape": [1], "names": None}
        return features


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=4, ensure_ascii=False))
    partial.replace(path)
