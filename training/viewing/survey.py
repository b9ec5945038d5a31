"""One pass over the chosen episodes of a key: its statistics, and its lines as they are drawn."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations.schema import Array
from bridle.training.viewing.keys import Key
from bridle.training.viewing.reading import Reader

Numbers = NDArray[np.float64]

SAMPLED_ROWS, SAMPLED_NUMBERS = 20_000, 400_000
"""Rows that quantiles are taken from, and numbers in all of them."""
MOST_POINTS, ALL_POINTS = 1500, 60_000
"""Points of one drawn line, and of all lines of a channel."""
MOST_NUMBERS = 2_000_000
"""Numbers of an episode that are kept while its lines are made; of longer ones not every step."""
FRAMES, PIXELS = 200, 64
"""Frames of an episode whose brightness is looked at, and about how many pixels of each side."""


@dataclass
class Place:
    """The largest (or smallest) value of each channel, and where it is."""

    value: Numbers
    episode: NDArray[np.int64]
    step: NDArray[np.int64]

    def update(self, rows: Numbers, episode: int, first_step: int) -> None:
        """Take rows (t, C) into account; NaN counts as nothing."""
        held = np.where(np.isnan(rows), -np.inf, rows)
        best = held.argmax(axis=0)
        values = held[best, np.arange(held.shape[1])]
        better = values > self.value
        self.value[better] = values[better]
        self.episode[better] = episode
        self.step[better] = first_step + best[better]


def _nowhere(n: int) -> Place:
    return Place(np.full(n, -np.inf), np.full(n, -1), np.full(n, -1))


@dataclass
class Survey:
    """A key over the chosen episodes; channels (C,) are those of `key.channels`."""

    key: Key
    lengths: dict[int, int]
    """Steps of each episode."""
    highest: Place
    lowest: Place
    """Of the negated values."""
    steepest: Place
    """Of the change from the step before."""
    not_finite: int = 0
    first_not_finite: tuple[int, int] | None = None
    """Episode and step."""
    rows: int = 0
    samples: list[Numbers] = field(default_factory=list)
    changes: list[Numbers] = field(default_factory=list)
    largest_changes: list[Numbers] = field(default_factory=list)
    """Largest change of each channel (C,), one for each episode."""
    moves: list[NDArray[np.bool_]] = field(default_factory=list)
    """Whether each channel changes at all (C,), one for each episode."""
    at_high: dict[int, Numbers] = field(default_factory=dict)
    at_low: dict[int, Numbers] = field(default_factory=dict)
    """Steps of an episode that are exactly at its own extreme (C,)."""
    extremes: dict[int, tuple[Numbers, Numbers]] = field(default_factory=dict)
    """Lowest and highest value of an episode, each (C,)."""
    still_frames: dict[int, float] = field(default_factory=dict)
    """For pictures: share of frames that are the one before, for each episode."""
    lines: dict[int, tuple[Numbers, Numbers]] = field(default_factory=dict)
    """Steps (p,) and values (p, C) to draw, for each episode."""
    mean: Numbers = field(default_factory=lambda: np.empty((0, 0)))
    """Mean (s, C) over episodes, of every `mean_stride`-th step, as long as half of them run."""
    mean_stride: int = 1

    @property
    def episodes(self) -> tuple[int, ...]:
        """The chosen episodes."""
        return tuple(self.lengths)

    @property
    def low(self) -> Numbers:
        """Lowest value of each channel (C,)."""
        return -self.lowest.value

    @property
    def high(self) -> Numbers:
        """Highest value of each channel (C,)."""
        return self.highest.value

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Channels (C,) that never change, but for the last digits of their numbers."""
        size = np.maximum(np.abs(self.low), np.abs(self.high))
        with np.errstate(invalid="ignore"):  # infinity less infinity, where nothing is finite
            still: NDArray[np.bool_] = self.high - self.low <= 1e-6 * size
        return still | ~np.isfinite(self.high)

    def forget_lines(self) -> None:
        """Keep the statistics only, once the lines are drawn."""
        self.lines.clear()
        self.mean = self.mean[:0]

    def sampled(self) -> Numbers:
        """Rows (r, C), evenly drawn."""
        return np.concatenate(self.samples) if self.samples else np.empty((0, len(self.high)))

    def sampled_changes(self) -> Numbers:
        """Absolute changes (r, C) from one step to the next, evenly drawn."""
        return np.concatenate(self.changes) if self.changes else np.empty((0, len(self.high)))


def survey(reader: Reader, key: Key) -> Survey:
    """Read the chosen episodes of a key once.

    Raises:
        DemonstrationError: a chunk cannot be decoded.
    """
    channels, episodes = key.channels, reader.episodes
    n = len(channels)
    lengths = [int(reader.lengths[e]) for e in episodes]
    found = Survey(
        key, dict(zip(episodes, lengths, strict=True)), _nowhere(n), _nowhere(n), _nowhere(n)
    )
    sample_stride = max(1, sum(lengths) // min(SAMPLED_ROWS, SAMPLED_NUMBERS // n))
    stride = -(-max(lengths) * n // MOST_NUMBERS)
    points = int(np.clip(ALL_POINTS // len(episodes), 100, MOST_POINTS))
    total = np.zeros((-(-max(lengths) // stride), n))
    count = np.zeros(len(total))
    for episode in episodes:
        kept: list[Numbers] = []
        steps: list[NDArray[np.int64]] = []
        before = np.empty((0, n))
        found.largest_changes.append(np.zeros(n))
        for first, rows in _columns(reader, key, episode, found):
            _count(found, rows, episode, first, before, sample_stride)
            before = rows[-1:]
            own = np.arange(first, first + len(rows))
            keep = own % stride == 0
            steps.append(own[keep])
            kept.append(rows[keep])
        values, at = np.concatenate(kept), np.concatenate(steps)
        total[at // stride] += np.nan_to_num(values)
        count[at // stride] += 1
        low, high = found.extremes[episode]
        found.moves.append(high > low)
        found.lines[episode] = thinned(at, values, points)
    enough = count >= max(1, len(episodes) / 2)
    found.mean = total[enough] / count[enough, None]
    found.mean_stride = stride
    return found


def _columns(
    reader: Reader, key: Key, episode: int, found: Survey
) -> Iterator[tuple[int, Numbers]]:
    """First step and rows (t, C) of the shown channels, block by block."""
    if key.layout is not None:
        yield 0, _brightness(reader, key, episode, found)
        return
    for first, rows in reader.blocks(key.name, episode):
        flat = rows.reshape(len(rows), -1)
        shown = flat if flat.shape[1] == len(key.channels) else flat[:, key.channels]
        yield first, shown.astype(np.float64)


def _brightness(reader: Reader, key: Key, episode: int, found: Survey) -> Numbers:
    """Mean of each colour for every step (T, C); between the frames looked at it stays."""
    length = int(reader.lengths[episode])
    wanted = set(np.unique(np.linspace(0, length - 1, FRAMES).round().astype(int)).tolist())
    means = np.full((length, key.n_channels), np.nan)
    axes = (1, 2) if key.layout == "CHW" else (0, 1)
    cut = tuple(
        slice(None, None, max(1, side // PIXELS)) if axis in axes else slice(None)
        for axis, side in enumerate(key.shape)
    )
    previous: Array | None = None
    same = 0
    for first, frames in reader.blocks(key.name, episode):
        for step in range(first, first + len(frames)):
            if step not in wanted:
                means[step] = means[step - 1]
                continue
            frame = frames[step - first]
            means[step] = frame[cut].mean(axis=axes, dtype=np.float64)
            same += previous is not None and np.array_equal(previous, frame)
            previous = frame.copy()
    found.still_frames[episode] = same / max(1, len(wanted) - 1)
    return means


def _count(
    found: Survey, rows: Numbers, episode: int, first: int, before: Numbers, stride: int
) -> None:
    wrong = ~np.isfinite(rows)
    if wrong.any():
        if found.first_not_finite is None:
            found.first_not_finite = episode, first + int(wrong.any(axis=1).argmax())
        found.not_finite += int(wrong.sum())
        rows[wrong] = np.nan
    found.highest.update(rows, episode, first)
    found.lowest.update(-rows, episode, first)
    _count_extremes(found, rows, episode)
    changes = np.abs(np.diff(np.concatenate([before, rows]), axis=0))
    first_change = first + len(rows) - len(changes)
    if len(changes):
        found.steepest.update(changes, episode, first_change)
        found.largest_changes[-1] = np.fmax(
            found.largest_changes[-1], np.fmax.reduce(changes, axis=0)
        )
        found.changes.append(changes[(-found.rows) % stride :: stride])
    found.samples.append(rows[(-found.rows) % stride :: stride].copy())
    found.rows += len(rows)


def _count_extremes(found: Survey, rows: Numbers, episode: int) -> None:
    nothing = np.full(rows.shape[1], np.nan)
    low, high = found.extremes.get(episode, (nothing, nothing))
    new_low = np.fmin(low, np.fmin.reduce(rows, axis=0))
    new_high = np.fmax(high, np.fmax.reduce(rows, axis=0))
    none = np.zeros(rows.shape[1])
    for counts, old, new in ((found.at_low, low, new_low), (found.at_high, high, new_high)):
        kept = np.where(old == new, counts.get(episode, none), 0)
        counts[episode] = kept + (rows == new).sum(axis=0)
    found.extremes[episode] = new_low, new_high


def thinned(steps: NDArray[np.int64], values: Numbers, points: int) -> tuple[Numbers, Numbers]:
    """A line of at most `points`, with lowest and highest value of each stretch: no peak is lost.

    Args:
        steps: (T,), rising.
        values: (T, C).
        points: at least 2.
    """
    if len(steps) <= points:
        return steps.astype(np.float64), values
    edges = np.linspace(0, len(steps), points // 2 + 1).round().astype(int)[:-1]
    lows = np.fmin.reduceat(values, edges, axis=0)
    highs = np.fmax.reduceat(values, edges, axis=0)
    both = np.stack([lows, highs], axis=1).reshape(-1, values.shape[1])
    middles = steps[np.minimum(edges + (len(steps) // points), len(steps) - 1)]
    return np.stack([steps[edges], middles], axis=1).reshape(-1).astype(np.float64), both
