"""A demonstration set in memory, or mapped into it."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.cache import mapped
from bridle.training.demonstrations.digest import ContentDigest
from bridle.training.demonstrations.files import StoredFiles
from bridle.training.demonstrations.schema import Array, DemonstrationError
from bridle.training.demonstrations.storage import opened_sound

UNKNOWN = "unknown"


@dataclass(frozen=True)
class DemonstrationSet:
    """Episodes in RAM or mapped files. Arrays are read-only."""

    arrays: Mapping[str, Array]
    """Key to rows (n_steps, ...), all episodes one after the other."""
    episode_ends: NDArray[np.int64]
    """Index after the last row of each episode (n_episodes,)."""
    attributes: Attributes | None
    """None for a set that Bridle did not write: robot, rate and units are unknown."""
    episode_values: Mapping[str, Array] = field(default_factory=dict)
    """Per-episode columns, such as the seed of each episode: name to values (n_episodes,)."""
    known_digest: str | None = None
    """The digest, if it is known already."""

    @property
    def n_episodes(self) -> int:
        """Number of episodes."""
        return len(self.episode_ends)

    @property
    def n_steps(self) -> int:
        """Number of time steps of all episodes."""
        return int(self.episode_ends[-1]) if self.n_episodes else 0

    @property
    def robot(self) -> str:
        """Name of the robot, or "unknown"."""
        return self.attributes.robot if self.attributes else UNKNOWN

    @property
    def task(self) -> str:
        """Name of the task, or "unknown"."""
        return self.attributes.task if self.attributes else UNKNOWN

    @property
    def control_rate(self) -> float:
        """Time steps per second [Hz]; NaN when unknown."""
        return self.attributes.control_rate if self.attributes else float("nan")

    @property
    def instructions(self) -> tuple[str, ...]:
        """Sentences that `instruction_id` indexes."""
        return self.attributes.instructions if self.attributes else ()

    @cached_property
    def digest(self) -> str:
        """`ContentDigest` of the keys that were loaded."""
        if self.known_digest is not None:
            return self.known_digest
        digest = ContentDigest(self.attributes, self.episode_ends, self.episode_values)
        for key in sorted(self.arrays):
            rows = self.arrays[key]
            digest.key(key, rows.dtype, rows.shape)
            digest.rows(rows)
        return digest.hexdigest()

    def episode(self, index: int) -> dict[str, Array]:
        """Views of one episode: key to rows (T, ...).

        Raises:
            DemonstrationError: there is no such episode.
        """
        if not 0 <= index < self.n_episodes:
            raise DemonstrationError(f"episode: expected 0 to {self.n_episodes - 1}, got {index}")
        start = int(self.episode_ends[index - 1]) if index else 0
        stop = int(self.episode_ends[index])
        return {key: rows[start:stop] for key, rows in self.arrays.items()}


def load(
    path: Path | str,
    keys: Sequence[str] | None = None,
    memory: Literal["ram", "memmap"] = "ram",
    cache: Path | None = None,
) -> DemonstrationSet:
    """Read a set, Bridle's own or one of diffusion_policy.

    Args:
        path: zarr folder, or a zip of one; a path or a URL.
        keys: what to read; None reads everything.
        memory: "ram" holds all rows; "memmap" writes them to `.npy` files once and maps those, for
            sets that are larger than the memory.
        cache: folder for those files; None takes `<path>.cache`.

    Raises:
        DemonstrationError: the set is damaged or lacks a key, or does not fit into the memory.
            Values are not checked here: `validate` does.

    Warns:
        UserWarning: with every note about the set, such as attributes that are missing.
    """
    if memory not in ("ram", "memmap"):
        raise DemonstrationError(f"memory must be ram or memmap, got {memory!r}")
    # Before the set is opened: what changes in between makes the cache look old, not new.
    fingerprint = _fingerprint(path) if memory == "memmap" else ""
    with opened_sound(path) as (stored, problems):
        for problem in problems:
            warnings.warn(f"{path}: {problem}", stacklevel=2)
        wanted = tuple(stored.arrays) if keys is None else tuple(dict.fromkeys(keys))
        unknown = [key for key in wanted if key not in stored.arrays]
        if unknown:
            raise DemonstrationError(
                f"{path} has no {', '.join(unknown)}; it has {', '.join(stored.arrays)}"
            )
        digest = None
        try:
            if memory == "memmap":
                arrays, digest = mapped(stored, fingerprint, wanted, cache)
            else:
                arrays = {key: stored.read(key, 0, stored.n_steps) for key in wanted}
        except DemonstrationError as error:
            raise DemonstrationError(f"{path}: {error}") from error
        values = dict(stored.episode_values)
        ends = stored.episode_ends
        for array in (ends, *arrays.values(), *values.values()):
            array.flags.writeable = False
        return DemonstrationSet(
            MappingProxyType(arrays), ends, stored.attributes, MappingProxyType(values), digest
        )


def _fingerprint(path: Path | str) -> str:
    files = StoredFiles(path)
    try:
        return files.fingerprint()
    finally:
        files.close()


def split_by_episode(
    n_episodes: int, val_ratio: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Episodes to train on and to validate on, each in rising order.

    The same choice as `get_val_mask` of diffusion_policy: at least one episode for validation when
    `val_ratio` > 0, and at least one left for training.

    Raises:
        DemonstrationError: a value is out of range.
    """
    if n_episodes < 1:
        raise DemonstrationError(f"n_episodes must be at least 1, got {n_episodes}")
    if not 0 <= val_ratio < 1:
        raise DemonstrationError(f"val_ratio must lie in [0, 1), got {val_ratio}")
    held_out = np.zeros(n_episodes, np.bool_)
    if val_ratio > 0:
        n_val = min(max(1, round(n_episodes * val_ratio)), n_episodes - 1)
        held_out[np.random.default_rng(seed).choice(n_episodes, n_val, replace=False)] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
