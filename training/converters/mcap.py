"""ROS 2 bags: .mcap files and rosbag2 folders, through rosbags (no ROS needed)."""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from bridle.training.converters.alignment import Event, Item, Row, Sample
from bridle.training.converters.bag import Topics, reading
from bridle.training.converters.source import (
    Block,
    Column,
    ConversionError,
    Episode,
    Gap,
    Rule,
    SkippedEpisode,
    SourceOptions,
    require,
    rows_per_block,
)
from bridle.training.converters.topics import INSTRUCTION, TopicMap, load_topics, natural
from bridle.training.demonstrations.schema import Array, DemonstrationError

_MAGIC = b"\x89MCAP0\r\n"
_METADATA = "metadata.yaml"


def recognise(path: Path) -> bool:
    """Whether a path is a bag or a folder of bags."""
    if path.is_file():
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    return path.is_dir() and bool(bags(path))


def bags(path: Path) -> list[Path]:
    """The bags of a folder in the order of their names; a bag is the only one of itself."""
    if path.is_file() or (path / _METADATA).is_file():
        return [path]
    found = [p for p in path.iterdir() if p.suffix == ".mcap" or (p / _METADATA).is_file()]
    return sorted(found, key=lambda p: natural(p.name))


class McapSource:
    """One bag or several, cut into episodes by a topic map."""

    format = "mcap"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        if options.topics is None:
            raise ConversionError(
                f"{path} holds topics; say with --topics FILE which become which keys "
                "(docs/converters.md shows one)"
            )
        require("rosbags.highlevel")
        self._map = load_topics(Path(options.topics))
        if options.rate is not None:
            self._map = replace(self._map, rate=options.rate)
        self._bags = bags(path)
        self.robot: str | None = self._map.robot
        self.task: str | None = self._map.task
        self.control_rate: float | None = self._map.rate
        self.episode_keys: Mapping[str, str] = {"bag": "int64"}
        self.n_episodes: int | None = None
        self.notes: list[str] = []
        self.derived: tuple[Rule, ...] = ()
        self.origin: Mapping[str, Any] = {}
        self.columns: dict[str, Column] = {}
        self._topics: Topics | None = None
        self._n_read = self._n_messages = 0
        sentences: dict[str, int] = {}
        for bag in self._bags:
            with reading(bag) as reader:
                topics = Topics(bag.name, reader, self._map)
                if not self.columns:
                    self.columns = topics.columns()
                topics.collect_sentences(sentences)
                self._n_messages += topics.n_messages
        self.instructions = tuple(sentences)
        self.fingerprint: Mapping[str, Any] = {
            "bags": [[bag.name, _size(bag)] for bag in self._bags],
            "topics": _plain(self._map),
        }

    @property
    def position(self) -> tuple[int, int]:
        """Messages that were read, and all there are."""
        now = self._topics.n_read if self._topics is not None else 0
        return self._n_read + now, self._n_messages

    def episodes(self, first: int, columns: Sequence[str]) -> Generator[Episode]:
        """See `Source`."""
        index = self._n_read = 0
        for number, bag in enumerate(self._bags):
            with reading(bag) as reader:
                topics = Topics(bag.name, reader, self._map)
                self._topics = topics
                maker = _Rows(topics, self.columns, columns, self.instructions)
                for _, items in groupby(topics.items(), key=lambda pair: pair[0]):
                    if index >= first:
                        gaps: list[Gap] = []
                        taken = (item for _, item in items)

                        def blocks(
                            taken: Iterator[Item | DemonstrationError] = taken,
                            maker: _Rows = maker,
                            gaps: list[Gap] = gaps,
                        ) -> Iterator[Block]:
                            return maker.blocks(taken, gaps)

                        name = f"{bag.name}, part {index}"
                        yield Episode(index, name, blocks, {"bag": number}, gaps)
                    index += 1
                self._n_read += topics.n_messages
                self._topics = None
                for stream in topics.streams.values():
                    if stream.dropped:
                        self.notes.append(
                            f"{bag.name}: {stream.dropped} messages of {stream.topic} were not "
                            "newer than the one before and are ignored"
                        )

    def close(self) -> None:
        """Nothing is left open."""


class _Rows:
    """Makes blocks of rows, decoding each message once."""

    def __init__(
        self,
        topics: Topics,
        columns: Mapping[str, Column],
        names: Sequence[str],
        instructions: Sequence[str],
    ) -> None:
        self._topics, self._columns, self._names = topics, columns, list(names)
        self._keys = [name for name in names if name in topics.map.keys]
        self._decoders = {key: topics.decoder(key, columns[key]) for key in self._keys}
        self._sentences = {text: i for i, text in enumerate(instructions)}
        self._cache: dict[str, dict[int, Any]] = {}
        self._length = rows_per_block([columns[name] for name in names])

    def blocks(
        self, items: Iterator[Item | DemonstrationError], gaps: list[Gap]
    ) -> Iterator[Block]:
        """The blocks of one episode; its gaps are added to `gaps`.

        Raises:
            SkippedEpisode: it is too short or was discarded.
            DemonstrationError: a message is wrong, or there is a gap and gaps spoil episodes.
        """
        buffer: dict[str, list[Any]] = {name: [] for name in self._names}
        steps, first, last = 0, 0, 0
        for item in items:
            if isinstance(item, Gap):
                gaps.append(item)
                continue
            if isinstance(item, DemonstrationError):
                raise item
            if isinstance(item, Event):
                raise SkippedEpisode("discarded while it was recorded")
            first = item.step if not steps else first
            if steps and item.step != last + 1:
                gap = gaps[-1] if gaps else Gap(self._topics.bag, "?", 0, 0)
                raise DemonstrationError(
                    f"{gap.recording}: no fresh message of {gap.topic} from {gap.start:.3f} s to "
                    f"{gap.end:.3f} s"
                )
            for name in self._names:
                buffer[name].append(self._value(name, item, first))
            steps, last = steps + 1, item.step
            if len(buffer[self._names[0]]) == self._length:
                yield self._block(buffer)
        if not steps:
            raise SkippedEpisode("no row has fresh messages of all topics")
        if steps < self._topics.map.min_steps:
            raise SkippedEpisode(f"{steps} steps, fewer than {self._topics.map.min_steps}")
        if buffer[self._names[0]]:
            yield self._block(buffer)

    def _block(self, buffer: dict[str, list[Any]]) -> Block:
        block = {
            name: np.stack(rows).astype(self._columns[name].dtype)
            if self._columns[name].shape
            else np.array(rows, self._columns[name].dtype)
            for name, rows in buffer.items()
        }
        for rows in buffer.values():
            rows.clear()
        return block

    def _value(self, name: str, row: Row, first: int) -> Any:
        if name == "timestamp":
            return (row.step - first) / self._topics.map.rate
        if name == "instruction_id":
            sample = row.samples[INSTRUCTION][0]
            return self._sentences[self._topics.sentence(sample.stamp, sample.message)]
        samples = row.samples[name]
        values = [self._decoded(name, sample, samples) for sample in samples]
        if len(values) == 1:
            return values[0]
        begin, end = samples
        part = (row.time - begin.stamp) / (end.stamp - begin.stamp)
        return values[0] + part * (values[1] - values[0])

    def _decoded(self, key: str, sample: Sample, needed: Sequence[Sample]) -> Array:
        stamps = {s.stamp for s in needed}
        kept = {k: v for k, v in self._cache.get(key, {}).items() if k in stamps}
        if sample.stamp not in kept:
            value = self._topics.decode(key, self._decoders[key], sample.stamp, sample.message)
            column = self._columns[key]
            if value.dtype != column.dtype and not np.can_cast(value.dtype, column.dtype, "safe"):
                raise DemonstrationError(f"{key}: expected {column.dtype}, got {value.dtype}")
            kept[sample.stamp] = value
        self._cache[key] = kept
        result: Array = kept[sample.stamp]
        return result


def _size(bag: Path) -> int:
    if bag.is_file():
        return bag.stat().st_size
    return sum(path.stat().st_size for path in bag.iterdir() if path.is_file())


def _plain(topic_map: TopicMap) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(asdict(topic_map), default=str))
    return content
