"""What stands out in the numbers of a key: constants, outliers, jumps, values resting at an end."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bridle.training.viewing.survey import Numbers, Place, Survey

OUTLIER = 3.0
"""Widths of the middle 98 % that a value must lie beyond them."""
JUMP_SHARE, JUMP_RATIO = 0.25, 5.0
"""A jump is more than this share of the range, and this much more than is usual."""
SATURATED = 0.05
"""Share of steps at one extreme value."""
MOSTLY_ENDS = 0.6
"""Share of steps at either extreme above which a channel goes back and forth between them."""
SWITCH_VALUES = 4
"""A channel with no more values than this is a switch: it may jump and rest."""
NEGLIGIBLE = 0.05
"""Share of the usual range of channels with the same unit below which nothing is worth a word."""
LEAST_ROWS = 20
"""Rows below which nothing is said about what is usual."""
NAMED = 4
"""Channels that are named for one reason."""

Channels = NDArray[np.bool_]


@dataclass(frozen=True)
class Finding:
    """One thing to look at, or, as a note, to know."""

    kind: Literal["look", "note"]
    text: str
    key: str | None = None
    episode: int | None = None
    step: int | None = None


def quantiles(samples: Numbers, shares: Sequence[float]) -> Numbers:
    """Quantiles (len(shares), C) of rows (r, C), which may hold NaN; NaN where there is nothing."""
    empty = np.isnan(samples).all(axis=0)
    values = np.where(empty, 0.0, samples)
    if not len(values):
        return np.full((len(shares), samples.shape[1]), np.nan)
    found: Numbers = np.nanquantile(values, shares, axis=0)
    found[:, empty] = np.nan
    return found


class Oddities:
    """What stands out in a key that holds numbers; every method yields findings."""

    def __init__(self, survey: Survey) -> None:
        """Look at a key."""
        self._survey, self._key = survey, survey.key
        self._samples = survey.sampled()
        self._low, self._middle, self._high = quantiles(self._samples, (0.01, 0.5, 0.99))

    def all(self) -> Iterator[Finding]:
        """Everything but constants."""
        yield from self.outliers()
        yield from self.jumps()
        yield from self.saturated()
        yield from self.motionless()

    def constant(self) -> Iterator[Finding]:
        """Channels that never change."""
        survey, key = self._survey, self._key
        still = np.flatnonzero(survey.constant & np.isfinite(survey.high)).tolist()
        if not still or survey.rows < 2:
            return
        kind: Literal["look", "note"] = "look" if key.name == "action" else "note"
        if len(still) == len(survey.high) and len(still) > 1:
            same = f" ({survey.high[0]:.4g})" if np.ptp(survey.high) == 0 else ""
            yield Finding(kind, f"{key.name} never changes{same}", key.name)
            return
        texts = [f"{self._title(i)} is {self._value(i, survey.high[i])}" for i in still[:NAMED]]
        more = f", and {len(still) - NAMED} channels more" if len(still) > NAMED else ""
        yield Finding(kind, f"{', '.join(texts)}{more} throughout", key.name)

    def outliers(self) -> Iterator[Finding]:
        """Values far beyond all others."""
        out = np.flatnonzero(self._has_outlier).tolist()
        for i in out[:NAMED]:
            place, value = self._farthest(i)
            episode, step = int(place.episode[i]), int(place.step[i])
            yield Finding(
                "look",
                f"{self._title(i)} reaches {self._value(i, value)} in episode {episode}, step "
                f"{step}; 98 % of its values lie in {self._low[i]:.4g} to {self._high[i]:.4g}",
                self._key.name,
                episode,
                step,
            )
        yield from self._more(out, "outliers")

    def jumps(self) -> Iterator[Finding]:
        """Steps that are much larger than usual, and angles that wrap around."""
        survey, step_size = self._survey, self._survey.steepest.value
        changes = survey.sampled_changes()
        if not len(changes):
            return
        if len(survey.largest_changes) >= 4:
            usual = JUMP_RATIO * np.median(survey.largest_changes, axis=0)
        else:
            usual = 2 * JUMP_RATIO * quantiles(changes, (0.99,))[0]
        least = np.fmax(JUMP_SHARE * (self._high - self._low), self._negligible)
        large = (step_size > usual) & (step_size > least) & (usual > 0) & ~self._leads_to_outlier
        wraps = (np.array(self._units) == "rad") & (np.abs(step_size - math.tau) < 0.5)
        found = np.flatnonzero(~self._switch & (large | wraps)).tolist()
        for i in found[:NAMED]:
            episode, step = int(survey.steepest.episode[i]), int(survey.steepest.step[i])
            why = ", an angle that wraps around" if wraps[i] else ""
            yield Finding(
                "look",
                f"{self._title(i)} jumps by {self._value(i, step_size[i])} at step {step} of "
                f"episode {episode}{why}",
                self._key.name,
                episode,
                step,
            )
        yield from self._more(found, "jumps")

    def saturated(self) -> Iterator[Finding]:
        """Values that rest at one and the same extreme in several episodes, as if they were cut."""
        survey, key = self._survey, self._key
        episodes = survey.episodes
        few = len(episodes) < 3
        if key.dtype.kind != "f" or (few and key.name != "action"):
            return
        least = 1 if few else max(2, len(episodes) // 3)
        said: dict[int, list[str]] = {}
        for what, extreme, counts, side in (
            ("highest", survey.high, survey.at_high, 1),
            ("lowest", survey.low, survey.at_low, 0),
        ):
            there = np.array([survey.extremes[e][side] == extreme for e in episodes])
            steps = np.array([counts[e] for e in episodes]) * there * np.array(survey.moves)
            share = steps.sum(axis=0) / max(1, survey.rows)
            several = (steps > 1).sum(axis=0) >= least
            rests = several & (share > SATURATED) & ~self._switch & ~self._back_and_forth
            for i in np.flatnonzero(rests).tolist():
                part = f"at its {what}, {self._value(i, extreme[i])}, in {100 * share[i]:.0f} %"
                said.setdefault(i, []).append(part)
        found = sorted(said)
        for i in found[:NAMED]:
            text = f"{self._title(i)} rests {' and '.join(said[i])} of the steps"
            yield Finding("look", text, key.name)
        yield from self._more(found, "values that rest at an end")

    def motionless(self) -> Iterator[Finding]:
        """Episodes in which no action is ever another than the one before."""
        survey = self._survey
        if self._key.name != "action":
            return
        moves = [bool(channels.any()) for channels in survey.moves]
        still = [e for e, m in zip(survey.episodes, moves, strict=True) if not m]
        still = [e for e in still if survey.lengths[e] > 1]
        if still and any(moves):
            several = "episodes" if len(still) > 1 else "episode"
            listed = ", ".join(map(str, still[:8])) + (" ..." if len(still) > 8 else "")
            text = f"the action never changes in {several} {listed}"
            yield Finding("look", text, "action", still[0])

    @cached_property
    def _switch(self) -> Channels:
        if self._key.dtype.kind == "b":
            return np.ones(self._samples.shape[1], np.bool_)
        columns = self._samples.T
        return np.array([len(np.unique(c[~np.isnan(c)])) <= SWITCH_VALUES for c in columns])

    @cached_property
    def _back_and_forth(self) -> Channels:
        """Channels like a gripper: open or closed, however it gets from one to the other."""
        ends = (self._samples == self._survey.low) | (self._samples == self._survey.high)
        found: Channels = ends.mean(axis=0) > MOSTLY_ENDS
        return found

    @cached_property
    def _has_outlier(self) -> Channels:
        if len(self._samples) < LEAST_ROWS:
            return np.zeros(self._samples.shape[1], np.bool_)
        width = self._high - self._low
        far = np.fmax(self._survey.high - self._high, self._low - self._survey.low)
        least = np.fmax(OUTLIER * width, self._negligible)
        found: Channels = ~self._switch & (width > 0) & (far > least)
        return found

    def _farthest(self, i: int) -> tuple[Place, float]:
        """The extreme of a channel that is farther from its median, and its value."""
        low, high = float(self._survey.low[i]), float(self._survey.high[i])
        if high - self._middle[i] > self._middle[i] - low:
            return self._survey.highest, high
        return self._survey.lowest, low

    @property
    def _leads_to_outlier(self) -> Channels:
        """Channels whose steepest change leads to their outlier or back, which is said already."""
        found, steepest = self._has_outlier.copy(), self._survey.steepest
        for i in np.flatnonzero(found).tolist():
            place, _ = self._farthest(i)
            later = steepest.step[i] - place.step[i]
            found[i] = place.episode[i] == steepest.episode[i] and 0 <= later <= 1
        return found

    @cached_property
    def _units(self) -> list[str]:
        return [self._key.channel_unit(channel) for channel in self._key.channels]

    @cached_property
    def _negligible(self) -> Numbers:
        width, units = self._high - self._low, np.array(self._units)
        shares = {u: NEGLIGIBLE * quantiles(width[units == u, None], (0.5,))[0, 0] for u in units}
        return np.array([shares[unit] for unit in units])

    def _title(self, i: int) -> str:
        return self._key.title(self._key.channels[i])

    def _value(self, i: int, value: float) -> str:
        unit = self._units[i]
        # Of several units it is not known which one is this channel's.
        return f"{value:.4g} {unit}" if unit and "," not in unit else f"{value:.4g}"

    def _more(self, found: Sequence[int], what: str) -> Iterator[Finding]:
        if len(found) > NAMED:
            text = f"{self._key.name}: {len(found) - NAMED} more channels with {what}"
            yield Finding("look", text, self._key.name)
