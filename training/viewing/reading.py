"""Reading what is looked at and no more: chosen episodes, one block of rows at a time."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations import DemonstrationError
from bridle.training.demonstrations.places import is_zip, locate
from bridle.training.demonstrations.schema import Array
from bridle.training.demonstrations.storage import PIECE_BYTES, StoredSet
from bridle.training.viewing.keys import Key
from bridle.training.viewing.palette import phase_colours

BLOCK_BYTES = 4 << 20
"""Rows are read in whole chunks, as many as fit into this; large ones in pieces."""
_IDS = ("instruction_id", "goal_id")


@dataclass(frozen=True)
class Run:
    """Consecutive steps of one phase: start..stop-1 of its episode."""

    start: int
    stop: int
    phase: int


def set_name(path: Path | str) -> str:
    """What a set at a path or URL is called."""
    place = locate(path)
    name = place.resolve().name if isinstance(place, Path) else place.rsplit("/", 1)[-1]
    return name[:-4] if is_zip(name) else name


class Reader:
    """A stored set as pictures need it. Rows and steps count from the start of an episode."""

    def __init__(self, stored: StoredSet, path: Path | str, episodes: Sequence[int]) -> None:
        """Look at `episodes` of a set, which is at `path`."""
        self.stored, self.path, self.episodes = stored, path, tuple(episodes)
        attributes = stored.attributes
        specs = attributes.keys if attributes else {}
        self.keys = {
            name: Key.of(name, tuple(array.shape[1:]), array.dtype, specs.get(name))
            for name, array in sorted(stored.arrays.items())
        }
        self.rate = float(attributes.control_rate) if attributes else None
        """Time steps per second [Hz], None where the set does not say."""
        self.name = set_name(path)

    # -- the set -----------------------------------------------------------------------------------

    @property
    def n_episodes(self) -> int:
        """Episodes of the whole set."""
        return len(self.stored.episode_ends)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Steps of every episode of the set (n_episodes,)."""
        return np.diff(self.stored.episode_ends, prepend=0)

    @property
    def pictures(self) -> list[Key]:
        """Keys that hold pictures."""
        return [key for key in self.keys.values() if key.layout is not None]

    @property
    def position(self) -> Key | None:
        """The key that says where the tool is."""
        found = [key for key in self.keys.values() if key.is_position]
        return next((key for key in found if key.name == "tcp_pose"), found[0] if found else None)

    def scalar(self, name: str) -> Key | None:
        """A key with one number per step, if the set has it."""
        key = self.keys.get(name)
        return key if key is not None and key.is_scalar else None

    @property
    def time_label(self) -> str:
        """What the time axis counts."""
        return "step" if self.rate is None else "time [s]"

    def time(self, step: float) -> float:
        """A step on the time axis: seconds, or steps where the rate is not known."""
        return step / (self.rate or 1.0)

    def words(self, phase: int) -> str:
        """The sentence of an instruction."""
        sentences = self.stored.attributes.instructions if self.stored.attributes else ()
        return sentences[phase] if 0 <= phase < len(sentences) else f"instruction {phase}"

    @cached_property
    def phase_steps(self) -> dict[int, int]:
        """Steps of each phase in the whole set."""
        steps: dict[int, int] = {}
        if self.scalar("instruction_id") is not None:
            for start, stop in self.stored.row_ranges("instruction_id"):
                ids = _whole(self._read("instruction_id", start, stop))
                for phase, count in zip(*np.unique(ids, return_counts=True), strict=True):
                    steps[int(phase)] = steps.get(int(phase), 0) + int(count)
        return dict(sorted(steps.items()))

    @cached_property
    def colours(self) -> dict[int, str]:
        """A colour for each phase of the set: the same whichever episodes are chosen."""
        return phase_colours(self.phase_steps)

    @cached_property
    def shown_colours(self) -> dict[int, str]:
        """Those of the phases that the chosen episodes have."""
        shown = {run.phase for episode in self.episodes for run in self.phases(episode)}
        return {phase: colour for phase, colour in self.colours.items() if phase in shown}

    # -- rows --------------------------------------------------------------------------------------

    def blocks(self, key: str, episode: int) -> Iterator[tuple[int, Array]]:
        """First step and rows (t, ...) of every block of an episode.

        Raises:
            DemonstrationError: a chunk cannot be decoded.
        """
        first, stop = self.stored.span(episode)
        array = self.stored.arrays[key]
        row_bytes = array.dtype.itemsize * math.prod(array.shape[1:])
        size = array.chunks[0]
        if not self.stored.files.are_near:
            size *= array.together()
        elif size * row_bytes > PIECE_BYTES:
            size = max(1, PIECE_BYTES // row_bytes)
        else:
            size *= max(1, BLOCK_BYTES // max(1, size * row_bytes))
        row = first
        while row < stop:
            end = min(stop, (row // size + 1) * size)
            yield row - first, self._read(key, row, end)
            row = end

    def rows(self, key: str, episode: int) -> Array:
        """All rows (T, ...) of an episode; for keys of a few numbers."""
        return np.concatenate([rows for _, rows in self.blocks(key, episode)])

    def row(self, key: str, episode: int, step: int) -> Array:
        """One row of an episode."""
        first, _ = self.stored.span(episode)
        found: Array = self._read(key, first + step, first + step + 1)[0]
        return found

    def _read(self, key: str, start: int, stop: int) -> Array:
        try:
            return self.stored.read(key, start, stop)
        except DemonstrationError as error:
            raise DemonstrationError(f"{self.path}: {error}") from error

    def all_scalars(self, name: str) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Episode (t,) and value (t,) of every step of the set, block by block."""
        for start, stop in self.stored.row_ranges(name):
            values = self._read(name, start, stop).reshape(-1).astype(np.float64)
            rows = np.arange(start, stop)
            yield np.searchsorted(self.stored.episode_ends, rows, side="right"), values

    # -- phases ------------------------------------------------------------------------------------

    @lru_cache(maxsize=256)  # noqa: B019  (a reader lives as long as one command)
    def phases(self, episode: int) -> tuple[Run, ...]:
        """The phases of an episode in their order; none for a set without `instruction_id`."""
        if self.scalar("instruction_id") is None:
            return ()
        return self.runs("instruction_id", episode)

    def runs(self, key: str, episode: int) -> tuple[Run, ...]:
        """Stretches of an episode in which a key with one number per step stays the same."""
        ids = _whole(self.rows(key, episode))
        edges = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)]
        return tuple(Run(a, b, int(ids[a])) for a, b in pairwise(edges))

    def phase_at(self, episode: int, step: int) -> int | None:
        """The phase of a step."""
        return next((run.phase for run in self.phases(episode) if step < run.stop), None)

    @lru_cache(maxsize=256)  # noqa: B019
    def interventions(self, episode: int) -> NDArray[np.bool_]:
        """Whether a person chose the action of each step (T,)."""
        if self.scalar("intervention") is None:
            return np.zeros(int(self.lengths[episode]), np.bool_)
        marked: NDArray[np.bool_] = self.rows("intervention", episode).reshape(-1) != 0
        return marked

    def gripper_changes(self, episode: int) -> tuple[list[int], list[int]]:
        """Steps at which the gripper has closed and opened, as far as the set tells.

        From `gripper` (0 is open), or the last number of an action that is said to be it. It has
        closed at 60 % of its way in the episode, and opened at 40 %.
        """
        values = self._gripper(episode)
        if values is None or np.ptp(values) < 0.02:
            return [], []
        share = (values - values.min()) / np.ptp(values)
        closes: list[int] = []
        opens: list[int] = []
        closed = bool(share[0] > 0.5)
        for step in np.flatnonzero((share > 0.6) | (share < 0.4)).tolist():
            if bool(share[step] > 0.5) != closed:
                closed = not closed
                (closes if closed else opens).append(step)
        return closes, opens

    def _gripper(self, episode: int) -> NDArray[np.float64] | None:
        for name in ("gripper", "action"):
            key = self.keys.get(name)
            if key is None or len(key.shape) > 1:
                continue
            if name == "gripper" or key.channel_name(key.n_channels - 1) == "gripper":
                rows = self.rows(name, episode)
                column = rows.reshape(len(rows), -1)[:, 0 if name == "gripper" else -1]
                return np.nan_to_num(column.astype(np.float64), posinf=0.0, neginf=0.0)
        return None


def _whole(ids: Array) -> Array:
    """Identifiers (t,) of rows (t, ...), also where they are stored as floats."""
    flat = ids.reshape(-1)
    return np.nan_to_num(flat, posinf=0, neginf=0) if flat.dtype.kind == "f" else flat


def identifies(key: Key) -> bool:
    """Whether the numbers of a key name a sentence instead of measuring something."""
    return key.name in _IDS and key.is_scalar
