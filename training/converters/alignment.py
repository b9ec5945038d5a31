"""Messages of many topics become rows at a fixed rate.

Every topic has its own rhythm. A row at time t holds of every topic the last message that is not
newer than t (or what lies between two of them), if it is not older than the topic's `max_age`;
otherwise there is a gap. Rows leave as soon as no message can change them any more, so that only
`max_delay` seconds of messages are ever held.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bridle.training.converters.source import Gap
from bridle.training.demonstrations.schema import DemonstrationError

NANOSECONDS = 1_000_000_000
_CLOCK_JUMP = 10 * NANOSECONDS


@dataclass(frozen=True)
class Sample:
    """One message of a topic, not decoded yet."""

    stamp: int
    """[ns]"""
    message: Any


@dataclass
class Stream:
    """The messages of one topic that may still be needed."""

    key: str
    topic: str
    max_age: int | None
    """[ns]; None holds a message for ever."""
    interpolate: bool = False
    samples: deque[Sample] = field(default_factory=deque)
    last: int | None = None
    """Stamp of the newest message [ns]."""
    dropped: int = 0
    """Messages whose stamp was not newer than the one before."""
    _last_log: int = 0

    def add(self, stamp: int, log: int, message: Any) -> None:
        """Take a message in.

        Raises:
            DemonstrationError: its clock and the recording's went different ways.
        """
        if self.last is not None:
            jump = (stamp - self.last) - (log - self._last_log)
            if abs(jump) > _CLOCK_JUMP:
                raise DemonstrationError(
                    f"{self.topic}: the stamp jumps by {jump / NANOSECONDS:.1f} s against the time "
                    "of the recording; `stamps: log` takes that instead"
                )
            if stamp <= self.last:
                self.dropped += 1
                return
        self.last, self._last_log = stamp, log
        self.samples.append(Sample(stamp, message))

    def forget_before(self, time: int) -> None:
        """Drop what is not the last message up to a time."""
        while len(self.samples) > 1 and self.samples[1].stamp <= time:
            self.samples.popleft()

    def is_fresh(self, time: int) -> bool:
        """Whether there is a value at a time; `forget_before` it was called."""
        if not self.samples or self.samples[0].stamp > time:
            return False
        if self.max_age is None or self.samples[0].stamp == time:
            return True
        if time - self.samples[0].stamp > self.max_age:
            return False
        if not self.interpolate:
            return True
        return len(self.samples) > 1 and self.samples[1].stamp - time <= self.max_age

    def fresh_from(self, time: int) -> int | None:
        """When it may have a value again at the earliest; None if that is not known yet."""
        later = [sample.stamp for sample in self.samples if sample.stamp > time]
        return later[0] if later else None


@dataclass(frozen=True)
class Row:
    """One time step: of each key the messages it is made of."""

    time: int
    """[ns]"""
    step: int
    """Number of the step since the first one of the recording."""
    samples: Mapping[str, tuple[Sample, ...]]
    """One message, or the two around the time."""


@dataclass(frozen=True)
class Event:
    """What a message says about episodes."""

    stamp: int
    kind: Literal["start", "stop", "discard"]


Item = Row | Gap | Event


class Aligner:
    """Rows, gaps and events of one recording in the order of time.

    Args:
        recording: its name, for gaps.
        streams: the topics; every one must have a value in every row.
        rate: rows per second [Hz].
        max_delay: what a message may come later than others of its time [ns].
    """

    def __init__(
        self, recording: str, streams: Mapping[str, Stream], rate: float, max_delay: int
    ) -> None:
        self._recording, self._streams = recording, streams
        self._rate, self._max_delay = rate, max_delay
        self._begin: int | None = None
        """Time of the first row [ns]."""
        self._step = 0
        self._first: int | None = None
        self._newest = -(2**62)
        self._events: deque[Event] = deque()
        self._gaps: dict[str, int] = {}
        """Stream that is stale -> since when."""

    def run(self, messages: Iterable[tuple[str, int, int, Any]]) -> Iterator[Item]:
        """Rows of messages (key or "", stamp, log time, message or Event) in order of log time."""
        for key, stamp, log, message in messages:
            if isinstance(message, Event):
                self._events.append(message)
                continue
            stream = self._streams[key]
            stream.add(stamp, log, message)
            if stream.max_age is not None:
                self._newest = max(self._newest, stamp)
            self._first = stamp if self._first is None else min(self._first, stamp)
            # Another message of this very moment may follow.
            yield from self._advance(self._settled() - 1)
        # Nothing comes any more: everything is settled.
        yield from self._advance(self._newest)
        yield from self._end()
        yield from self._events

    def _settled(self) -> int:
        """Until when no message can change anything any more [ns]."""
        lasts = [s.last for s in self._streams.values() if s.max_age is not None]
        all_there = min(-(2**62) if last is None else last for last in lasts)
        return max(all_there, self._newest - self._max_delay)

    def _advance(self, limit: int) -> Iterator[Item]:
        if self._begin is None:
            firsts = [s.samples[0].stamp if s.samples else None for s in self._streams.values()]
            if None in firsts:
                for stream in self._streams.values():
                    stream.forget_before(limit)
                return
            self._begin = max(first for first in firsts if first is not None)
            yield from self._late_beginners()
        while (time := self._time(self._step)) <= limit:
            for stream in self._streams.values():
                stream.forget_before(time)
            stale = [s for s in self._streams.values() if not s.is_fresh(time)]
            yield from self._note_gaps(stale, time)
            if not stale:
                while self._events and self._events[0].stamp <= time:
                    yield self._events.popleft()
                yield Row(
                    time, self._step, {s.key: _around(s, time) for s in self._streams.values()}
                )
                self._step += 1
                continue
            again = [s.fresh_from(time) for s in stale]
            known = [time for time in again if time is not None]
            # A stream without a newer message is stale up to the limit at least.
            target = max(known) if len(known) == len(again) else limit + 1
            self._step = max(self._step + 1, self._step_at(target))

    def _time(self, step: int) -> int:
        assert self._begin is not None
        return self._begin + round(step * NANOSECONDS / self._rate)

    def _step_at(self, time: int) -> int:
        """The first step not before a time."""
        assert self._begin is not None
        return math.ceil((time - self._begin) * self._rate / NANOSECONDS - 1e-9)

    def _late_beginners(self) -> Iterator[Gap]:
        assert self._first is not None
        for stream in self._streams.values():
            late = stream.samples[0].stamp - self._first
            if stream.max_age is not None and late > stream.max_age:
                yield self._gap(stream, self._first, stream.samples[0].stamp)

    def _note_gaps(self, stale: list[Stream], time: int) -> Iterator[Gap]:
        names = {stream.key for stream in stale}
        for key in [key for key in self._gaps if key not in names]:
            yield self._gap(
                self._streams[key], self._gaps.pop(key), self._streams[key].samples[0].stamp
            )
        for stream in stale:
            before = [sample.stamp for sample in stream.samples if sample.stamp <= time]
            self._gaps.setdefault(stream.key, before[-1] if before else time)

    def _end(self) -> Iterator[Gap]:
        for key, since in self._gaps.items():
            stream = self._streams[key]
            if stream.max_age is not None and self._newest - since > stream.max_age:
                yield self._gap(stream, since, self._newest)
        self._gaps.clear()

    def _gap(self, stream: Stream, start: int, end: int) -> Gap:
        assert self._first is not None
        begin, finish = (round((t - self._first) / NANOSECONDS, 6) for t in (start, end))
        return Gap(self._recording, stream.topic, begin, finish)


def _around(stream: Stream, time: int) -> tuple[Sample, ...]:
    first = stream.samples[0]
    if not stream.interpolate or first.stamp == time or len(stream.samples) < 2:
        return (first,)
    return (first, stream.samples[1])
