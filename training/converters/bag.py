"""One ROS 2 bag, open: its topics, their messages, and the rows they make."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from bridle.training.converters.alignment import (
    NANOSECONDS,
    Aligner,
    Event,
    Item,
    Row,
    Stream,
)
from bridle.training.converters.keys import known_spec
from bridle.training.converters.messages import Decoder, attribute
from bridle.training.converters.source import Column, ConversionError, require
from bridle.training.converters.topics import INSTRUCTION, TopicMap
from bridle.training.demonstrations.files import one_line
from bridle.training.demonstrations.schema import Array, DemonstrationError

_MOST_SENTENCES = 10_000
_LOOK_AT = 5
"""Messages of a topic that show whether it is stamped."""
_STRING = "std_msgs/msg/String"


@contextmanager
def reading(bag: Path) -> Iterator[Any]:
    """The rosbags reader of a .mcap file or a rosbag2 folder.

    Raises:
        ConversionError: it cannot be read.
    """
    highlevel, typesys = require("rosbags.highlevel"), require("rosbags.typesys")
    if not bag.exists():
        raise ConversionError(f"{bag} does not exist")
    _check_links(bag)
    try:
        store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
        reader = highlevel.AnyReader([bag], default_typestore=store)
        reader.open()
    # rosbags raises all kinds of errors on damaged files.
    except Exception as error:
        advice = "; was the recording ended? `mcap recover` repairs what was not"
        raise ConversionError(f"{bag} is not a readable bag: {one_line(error)}{advice}") from error
    try:
        yield reader
    finally:
        reader.close()


def _check_links(bag: Path) -> None:
    if not bag.is_dir():
        return
    home = bag.resolve()
    for path in bag.iterdir():
        if not path.resolve().is_relative_to(home):
            raise ConversionError(f"{bag}: {path.name} leads out of the folder")


def _header_stamp(raw: bytes) -> int:
    """The stamp [ns] of a serialised message that begins with a header."""
    seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)
    return int(seconds * NANOSECONDS + nanoseconds)


def _has_header(reader: Any, kind: str) -> bool:
    fields = reader.typestore.fielddefs.get(kind, ((), ()))[1]
    return bool(fields) and fields[0][0] == "header" and "std_msgs/msg/Header" in fields[0][1]


class Topics:
    """The topics of one open bag."""

    def __init__(self, bag: str, reader: Any, topic_map: TopicMap) -> None:
        self.bag, self.map, self._reader = bag, topic_map, reader
        self._connections: dict[str, Any] = {}
        wanted = {place.topic for place in topic_map.keys.values()}
        if topic_map.episodes.topic is not None:
            wanted.add(topic_map.episodes.topic)
        for topic in sorted(wanted):
            found = [c for c in reader.connections if c.topic == topic]
            if not found or not sum(c.msgcount for c in found):
                has = ", ".join(sorted({c.topic for c in reader.connections})) or "none"
                what = "holds no messages of" if found else "has no topic"
                raise ConversionError(f"{bag} {what} {topic}; it has {has}")
            if len({c.msgtype for c in found}) > 1:
                raise ConversionError(f"{bag}: {topic} has messages of several types")
            self._connections[topic] = found
        self.types = {topic: found[0].msgtype for topic, found in self._connections.items()}
        self._stamped = {
            topic: _has_header(reader, kind) and self._is_stamped(topic)
            for topic, kind in self.types.items()
        }
        self._watched: dict[str, list[str]] = {}
        for key, place in topic_map.keys.items():
            self._watched.setdefault(place.topic, []).append(key)
        self.streams: dict[str, Stream] = {}
        self.n_messages = sum(c.msgcount for found in self._connections.values() for c in found)
        self.n_read = 0

    def columns(self) -> dict[str, Column]:
        """What the first message of each topic is."""
        columns: dict[str, Column] = {}
        for key, place in self.map.keys.items():
            if key == INSTRUCTION:
                self._check_sentences(place.topic)
                columns["instruction_id"] = Column((), "int32", "instruction_id")
                continue
            stamp, raw = next(self._raw(place.topic))
            decoder = self.decoder(key, None)
            value = self.decode(key, decoder, stamp, raw)
            if place.interpolate and value.dtype.kind != "f":
                raise ConversionError(f"keys.{key}: {value.dtype} cannot be interpolated")
            known = known_spec(key)
            unit = place.unit or (known.unit if known else "unknown")
            meaning = (
                known.meaning
                if known
                else f"{', '.join(place.fields) or 'images'} of {place.topic}"
            )
            columns[key] = Column(value.shape, value.dtype.name, key, unit, meaning)
        columns["timestamp"] = Column((), "float64", "timestamp")
        return columns

    def collect_sentences(self, sentences: dict[str, int]) -> None:
        """Add the sentences of this bag in the order of their first use."""
        place = self.map.keys.get(INSTRUCTION)
        if place is None:
            return
        self._check_sentences(place.topic)
        for stamp, raw in self._raw(place.topic):
            text = self.sentence(stamp, raw)
            sentences.setdefault(text, len(sentences))
            if len(sentences) > _MOST_SENTENCES:
                raise ConversionError(
                    f"{self.bag}: {place.topic} holds more than {_MOST_SENTENCES} sentences"
                )

    def sentence(self, time: int, raw: bytes) -> str:
        """The text of an instruction."""
        topic = self.map.keys[INSTRUCTION].topic
        message = self._deserialise(topic, time, raw)
        text = str(message.data).strip()
        if not text:
            raise DemonstrationError(f"{self._at(topic, time)}: the instruction is empty")
        return text

    def decoder(self, key: str, column: Column | None) -> Decoder:
        """How messages of a key become numbers."""
        place = self.map.keys[key]
        return Decoder(
            self.types[place.topic],
            key,
            place.fields,
            place.names,
            column.shape if column else None,
        )

    def decode(self, key: str, decoder: Decoder, time: int, raw: bytes) -> Array:
        """The value of a message, with its place in errors."""
        topic = self.map.keys[key].topic
        message = self._deserialise(topic, time, raw)
        try:
            return decoder(message)
        except DemonstrationError as error:
            raise DemonstrationError(f"{self._at(topic, time)}: {error}") from error

    def items(self) -> Iterator[tuple[int, Item | DemonstrationError]]:
        """Rows and gaps, each with the number of its episode; rows outside of any are left out.

        What is wrong with the recording comes as the last item of the episode it spoils.
        """
        self.streams = {
            key: Stream(key, place.topic, self._age(key), place.interpolate)
            for key, place in self.map.keys.items()
        }
        aligner = Aligner(
            self.bag, self.streams, self.map.rate, round(self.map.max_delay * NANOSECONDS)
        )
        number, inside = 0, self.map.episodes.by == "bag"
        expected: int | None = None
        rows = 0
        try:
            for item in aligner.run(self._messages()):
                if isinstance(item, Event):
                    if item.kind == "discard" and inside:
                        yield number, item
                    inside, number, expected = item.kind == "start", number + 1, None
                elif isinstance(item, Row):
                    rows += 1
                    if not inside:
                        continue
                    if expected not in (None, item.step) and self.map.gaps == "split":
                        number += 1
                    expected = item.step + 1
                    yield number, item
                elif inside:
                    yield number, item
        except DemonstrationError as error:
            yield number, error
            return
        if not rows:
            yield number, DemonstrationError(f"{self.bag}: {self._why_no_rows()}")

    def _why_no_rows(self) -> str:
        clocks = []
        for stream in self.streams.values():
            clock = "header" if self._uses_header(stream.topic) else "recording"
            last = "never" if stream.last is None else f"until {stream.last / NANOSECONDS:.3f} s"
            clocks.append(f"{stream.topic} {last} ({clock})")
        return (
            "at no time all topics have fresh messages; they have them "
            f"{', '.join(clocks)}; `stamps: log` takes one clock for all"
        )

    def _age(self, key: str) -> int | None:
        if key == INSTRUCTION:
            return None
        age = self.map.keys[key].max_age or self.map.max_age
        return round(age * NANOSECONDS)

    def _messages(self) -> Iterator[tuple[str, int, int, Any]]:
        connections = [c for found in self._connections.values() for c in found]
        rule = self.map.episodes
        for connection, log, raw in self._all(connections):
            self.n_read += 1
            stamp = self._stamp(connection.topic, log, raw)
            if connection.topic == rule.topic:
                event = self._event(stamp, log, raw)
                if event is not None:
                    yield "", stamp, log, event
            for key in self._watched.get(connection.topic, ()):
                yield key, stamp, log, raw

    def _event(self, stamp: int, log: int, raw: bytes) -> Event | None:
        rule = self.map.episodes
        assert rule.topic is not None
        message = self._deserialise(rule.topic, log, raw)
        if rule.start is None and rule.discard is None:
            return Event(stamp, "start")
        try:
            value = attribute(message, rule.field)
        except DemonstrationError as error:
            raise ConversionError(f"{self._at(rule.topic, log)}: {error}") from error
        if rule.discard is not None and value == rule.discard:
            return Event(stamp, "discard")
        if rule.start is None or value == rule.start:
            return Event(stamp, "start")
        return Event(stamp, "stop") if value == rule.stop else None

    def _raw(self, topic: str) -> Iterator[tuple[int, bytes]]:
        for _, log, raw in self._all(self._connections[topic]):
            yield log, raw

    def _all(self, connections: Sequence[Any]) -> Iterator[tuple[Any, int, bytes]]:
        try:
            yield from self._reader.messages(connections=connections)
        # rosbags raises all kinds of errors on damaged files.
        except Exception as error:
            raise DemonstrationError(f"{self.bag} is damaged: {one_line(error)}") from error

    def _uses_header(self, topic: str) -> bool:
        return self.map.stamps == "header" and self._stamped[topic]

    def _stamp(self, topic: str, log: int, raw: bytes) -> int:
        """Time of a message [ns]."""
        return _header_stamp(raw) if self._uses_header(topic) and len(raw) >= 12 else log

    def _is_stamped(self, topic: str) -> bool:
        """Whether its headers hold times: commands often hold 0, which means "now"."""
        first = islice(self._raw(topic), _LOOK_AT)
        return any(len(raw) >= 12 and _header_stamp(raw) for _, raw in first)

    def _deserialise(self, topic: str, time: int, raw: bytes) -> Any:
        try:
            return self._reader.deserialize(raw, self.types[topic])
        # rosbags raises all kinds of errors on damaged messages.
        except Exception as error:
            raise DemonstrationError(
                f"{self._at(topic, time)}: cannot be decoded: {one_line(error)}"
            ) from error

    def _check_sentences(self, topic: str) -> None:
        if self.types[topic] != _STRING:
            raise ConversionError(f"{self.bag}: {topic} must be {_STRING}, got {self.types[topic]}")

    def _at(self, topic: str, time: int) -> str:
        seconds = (time - self._reader.start_time) / NANOSECONDS
        return f"{self.bag}, {topic} at {seconds:.3f} s"
