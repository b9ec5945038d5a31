"""Stores in the layout of diffusion_policy: its own, those of UMI, and Bridle's sets.

zarr of format 2, folder or zip, `data/<key>` over time and `meta/episode_ends`
(https://github.com/real-stanford/diffusion_policy, .../universal_manipulation_interface).
"""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from bridle.training.converters.keys import camera_key, identifier, is_image
from bridle.training.converters.source import (
    Block,
    Column,
    ConversionError,
    Episode,
    Rule,
    SourceOptions,
    require,
    rows_per_block,
)
from bridle.training.demonstrations.files import METADATA_LIMIT, StoredFiles
from bridle.training.demonstrations.schema import Array, DemonstrationError
from bridle.training.demonstrations.storage import ENDS, StoredSet, opened_sound

PUSHT_RATE = 10.0
"""Steps per second of the Push-T environment of diffusion_policy [Hz]."""
UMI_RATE = 60_000 / 1001
"""Frames per second of the GoPro that UMI records with [Hz]."""


def recognise(path: Path | str) -> str | None:
    """The format of a store: diffusion_policy, umi, or bridle; None for anything else."""
    try:
        files = StoredFiles(path)
    except DemonstrationError:
        return None
    try:
        if ".zgroup" not in files.names or f"{ENDS}/.zarray" not in files.names:
            return None
        try:
            attributes = json.loads(files.read(".zattrs")) if ".zattrs" in files.names else {}
        except (ValueError, OSError):
            attributes = {}
        if isinstance(attributes, dict) and "bridle_schema" in attributes:
            return "bridle"
        umi = "data/robot0_eef_pos/.zarray" in files.names
        return "umi" if umi and "data/action/.zarray" not in files.names else "diffusion_policy"
    finally:
        files.close()


class ZarrSource:
    """A store of others, read through the same checks as Bridle's own sets."""

    format = "diffusion_policy"

    def __init__(self, path: Path | str, options: SourceOptions) -> None:
        self._stack = ExitStack()
        try:
            self._stored, self.notes = _open(path, self._stack)
            self._path = path
            self.robot: str | None = None
            self.task: str | None = None
            self.instructions: tuple[str, ...] = ()
            self.episode_keys: Mapping[str, str] = {}
            self.position: tuple[int, int] | None = None
            self.derived: tuple[Rule, ...] = ()
            self.origin: Mapping[str, Any] = {}
            self.n_episodes = len(self._stored.episode_ends)
            self.columns = {key: self._column(key) for key in sorted(self._stored.arrays)}
            self.control_rate = options.rate or self._rate()
            shapes = {key: [list(c.shape), c.dtype] for key, c in self.columns.items()}
            self.fingerprint: Mapping[str, Any] = {
                "episodes": self.n_episodes,
                "steps": self._stored.n_steps,
                "columns": shapes,
            }
        except BaseException:
            self._stack.close()
            raise

    def episodes(self, first: int, columns: Sequence[str]) -> Generator[Episode]:
        """See `Source`."""
        rows = rows_per_block([self.columns[name] for name in columns])
        for index in range(first, self.n_episodes):
            begin = int(self._stored.episode_ends[index - 1]) if index else 0
            end = int(self._stored.episode_ends[index])

            def blocks(begin: int = begin, end: int = end) -> Iterator[Block]:
                for start in range(begin, end, rows):
                    stop = min(start + rows, end)
                    yield {name: self._read(name, start, stop) for name in columns}

            yield Episode(index, f"episode {index}", blocks, self._values(index))

    def close(self) -> None:
        """Close its files."""
        self._stack.close()

    def _read(self, name: str, start: int, stop: int) -> Array:
        rows = self._stored.read(name, start, stop)
        return rows.astype(rows.dtype.newbyteorder("="), copy=False)

    def _values(self, index: int) -> Mapping[str, Any]:
        return {}

    def _column(self, key: str) -> Column:
        array = self._stored.arrays[key]
        shape, dtype = tuple(array.shape[1:]), np.dtype(array.dtype).name
        if is_image(shape, dtype):
            return Column(shape, dtype, camera_key(key))
        return Column(shape, dtype, identifier(key))

    def _rate(self) -> float | None:
        if {"keypoint", "n_contacts", "state", "action"} <= self.columns.keys():
            self.notes.append(f"taken for Push-T: {PUSHT_RATE:g} Hz; --rate says otherwise")
            return PUSHT_RATE
        if "timestamp" not in self.columns or self.columns["timestamp"].shape not in ((), (1,)):
            return None
        times = self._stored.read("timestamp", 0, int(self._stored.episode_ends[0]))
        steps = np.diff(times.astype(np.float64).ravel())
        rate = 1 / float(np.median(steps)) if len(steps) and np.median(steps) > 0 else 0.0
        if not 0.1 <= rate <= 10_000:
            return None
        rate = float(f"{rate:.4g}")
        self.notes.append(f"the timestamps of episode 0 give {rate:g} Hz; --rate says otherwise")
        return rate


class UmiSource(ZarrSource):
    """UMI: no actions; the measured poses and widths are what a policy is to command."""

    format = "umi"

    def __init__(self, path: Path | str, options: SourceOptions) -> None:
        super().__init__(path, options)
        robots: list[str] = []
        while f"robot{len(robots)}_eef_pos" in self.columns:
            robots.append(f"robot{len(robots)}")
        parts = ("eef_pos", "eef_rot_axis_angle", "gripper_width")
        names = [f"{robot}_{part}" for robot in robots for part in parts]
        missing = [name for name in names if name not in self.columns]
        if missing:
            self.close()
            raise ConversionError(f"{path}: UMI's {', '.join(missing)} is missing")
        # As its own data loader does: 7 numbers for each gripper.
        self.derived = (Rule(tuple(names), "action"),)

    def _rate(self) -> float | None:
        self.notes.append(f"taken at the GoPro's {UMI_RATE:.2f} Hz; --rate says otherwise")
        return UMI_RATE


class BridleSource(ZarrSource):
    """A set of Bridle's own."""

    format = "bridle"

    def __init__(self, path: Path | str, options: SourceOptions) -> None:
        super().__init__(path, options)
        attributes = self._stored.attributes
        if attributes is None:
            self.close()
            raise ConversionError(f"{path} is not a set of Bridle's")
        self.robot, self.task = attributes.robot, attributes.task
        self.instructions, self.origin = attributes.instructions, attributes.source
        self.episode_keys = attributes.episode_keys

    def _values(self, index: int) -> Mapping[str, Any]:
        values = self._stored.episode_values
        return {name: values[name][index].item() for name in self.episode_keys}

    def _column(self, key: str) -> Column:
        attributes = self._stored.attributes
        spec = attributes.keys.get(key) if attributes else None
        if spec is None:
            array = self._stored.arrays[key]
            shape, dtype = tuple(array.shape[1:]), np.dtype(array.dtype).name
            return Column(shape, dtype, "", left_out="the set's attributes do not name it")
        return Column(spec.shape, spec.dtype, key, spec.unit, spec.meaning, spec)

    def _rate(self) -> float | None:
        attributes = self._stored.attributes
        return attributes.control_rate if attributes else None


def _open(path: Path | str, stack: ExitStack) -> tuple[StoredSet, list[str]]:
    _register_image_codecs(path)
    stored, problems = stack.enter_context(opened_sound(path))
    if not len(stored.episode_ends):
        raise ConversionError(f"{path}: no episode is committed")
    ours = stored.attributes is not None
    return stored, [str(p) for p in problems if ours or p.where != ".zattrs"]


def _register_image_codecs(path: Path | str) -> None:
    files = StoredFiles(path)
    try:
        for name in files.names:
            if name.endswith("/.zarray") and b'"imagecodecs_' in files.read(name, METADATA_LIMIT):
                require("imagecodecs.numcodecs").register_codecs(verbose=False)
                return
    finally:
        files.close()
