"""robomimic HDF5: `data/demo_<i>/{actions, obs/<key>, rewards, dones, states}`.

https://robomimic.github.io/docs/datasets/overview.html. The environment that recorded it is JSON in
the attribute `env_args`; `mask/<name>` lists the demonstrations of a split.
"""

import json
import math
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
from bridle.training.demonstrations.files import one_line
from bridle.training.demonstrations.schema import Array, DemonstrationError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_CHUNK_CACHE = 32 << 20
_KEYS = {
    "actions": ("action", "unknown", "action of the environment"),
    "rewards": ("reward", "unknown", "reward of the step"),
    "dones": ("dones", "1", "the episode ends with this step"),
    "states": ("states", "unknown", "state of the simulator"),
    "obs/robot0_joint_pos": ("joint_position", "rad", "measured joint positions of the arm"),
    "obs/robot0_joint_vel": ("joint_velocity", "rad/s", "measured joint velocities of the arm"),
    "obs/object": ("object_state", "m, 1", "objects as the environment defines them"),
}
"""Column -> key, unit and meaning, where robosuite leaves no doubt."""


def recognise(path: Path) -> bool:
    """Whether a file is HDF5."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


class RobomimicSource:
    """A robomimic file."""

    format = "robomimic"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        h5py = require("h5py")
        self._path, self._h5py = path, h5py
        try:
            self._file = h5py.File(path, "r", rdcc_nbytes=_CHUNK_CACHE)
        except OSError as error:
            raise ConversionError(f"{path} is not a readable HDF5 file: {error}") from error
        try:
            self._read_structure(options)
        except ConversionError:
            self.close()
            raise
        # h5py raises all kinds of errors on damaged files.
        except Exception as error:
            self.close()
            raise ConversionError(f"{path}: {one_line(error)}") from error

    def _read_structure(self, options: SourceOptions) -> None:
        data = self._group(self._file, "data")
        demos = self._demos(data, options.filter_key)
        self._numbers = _numbers(demos)
        self._demos_in_order = sorted(demos, key=self._numbers.__getitem__)
        self.n_episodes: int | None = len(demos)
        environment = _json_attribute(data, "env_args")
        settings = environment.get("env_kwargs")
        settings = settings if isinstance(settings, dict) else {}
        self.task = _text(environment.get("env_name"))
        robots = settings.get("robots")
        self.robot = _text(robots[0] if isinstance(robots, list) and robots else robots)
        rate = settings.get("control_freq")
        known = isinstance(rate, int | float) and rate > 0
        self.control_rate = options.rate or (float(rate) if known else None)  # type: ignore[arg-type]
        self.instructions: tuple[str, ...] = ()
        self.episode_keys: Mapping[str, str] = {}
        self.notes: list[str] = []
        self.position: tuple[int, int] | None = None
        self.derived: tuple[Rule, ...] = ()
        self.origin: Mapping[str, Any] = {}
        first = self._group(data, self._demos_in_order[0])
        self.columns = {name: _column(name, self._dataset(first, name)) for name in _names(first)}
        self.fingerprint: Mapping[str, Any] = {
            "bytes": self._path.stat().st_size,
            "demos": len(demos),
            "first": self._demos_in_order[0],
            "last": self._demos_in_order[-1],
        }

    def _demos(self, data: Any, filter_key: str | None) -> list[str]:
        names = sorted(data)
        if not names:
            raise ConversionError(f"{self._path}: `data` holds no demonstrations")
        if filter_key is None:
            return names
        masks = sorted(self._file["mask"]) if "mask" in self._file else []
        if filter_key not in masks:
            has = ", ".join(masks) or "none"
            raise ConversionError(
                f"{self._path}: there is no filter key {filter_key!r}; it has {has}"
            )
        mask = self._dataset(self._file, f"mask/{filter_key}")
        if mask.dtype.kind not in "SO" or mask.ndim != 1:
            raise ConversionError(f"{self._path}: mask/{filter_key} is no list of names")
        chosen = [name.decode() if isinstance(name, bytes) else str(name) for name in mask[:]]
        missing = sorted(set(chosen) - set(names))
        if missing or not chosen:
            what = f"{missing[0]}, which does not exist" if missing else "no demonstration"
            raise ConversionError(f"{self._path}: mask/{filter_key} names {what}")
        return sorted(set(chosen))

    def episodes(self, first: int, columns: Sequence[str]) -> Generator[Episode]:
        """See `Source`."""
        for demo in self._demos_in_order:
            number = self._numbers[demo]
            if number >= first:

                def blocks(demo: str = demo) -> Iterator[Block]:
                    return self._blocks(demo, columns)

                yield Episode(number, demo, blocks)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _blocks(self, demo: str, columns: Sequence[str]) -> Iterator[Block]:
        try:
            group = self._group(self._group(self._file, "data"), demo)
            sets = {name: self._dataset(group, name) for name in columns}
            self._check(demo, group, sets)
        except DemonstrationError:
            raise
        except Exception as error:
            raise DemonstrationError(f"data/{demo}: {one_line(error)}") from error
        length = len(next(iter(sets.values())))
        rows = rows_per_block([self.columns[name] for name in columns])
        for start in range(0, length, rows):
            yield {name: _read(f"data/{demo}/{name}", d, start, rows) for name, d in sets.items()}

    def _check(self, demo: str, group: Any, sets: Mapping[str, Any]) -> None:
        lengths = {name: len(dataset) for name, dataset in sets.items()}
        if len(set(lengths.values())) > 1:
            raise DemonstrationError(f"data/{demo}: the columns differ in length: {lengths}")
        length = next(iter(lengths.values()))
        said = group.attrs.get("num_samples", length)
        if int(said) != length:
            raise DemonstrationError(f"data/{demo}: num_samples says {said}, there are {length}")
        for name, dataset in sets.items():
            if not _is_stored(dataset):
                raise DemonstrationError(f"data/{demo}/{name}: a part was never written")
            column = self.columns[name]
            if dataset.shape[1:] != column.shape or dataset.dtype.name != column.dtype:
                raise DemonstrationError(
                    f"data/{demo}/{name}: expected {column.dtype} {column.shape} per step as in "
                    f"{self._demos_in_order[0]}, got {dataset.dtype} {dataset.shape[1:]}"
                )

    def _group(self, parent: Any, name: str) -> Any:
        return self._inside(parent, name, self._h5py.Group, "group")

    def _dataset(self, parent: Any, name: str) -> Any:
        dataset = self._inside(parent, name, self._h5py.Dataset, "array")
        if dataset.external or dataset.is_virtual:
            raise ConversionError(f"{self._path}: {dataset.name} keeps its numbers in other files")
        return dataset

    def _inside(self, parent: Any, name: str, kind: type, what: str) -> Any:
        """A member of the file itself: links may lead to any other file of the machine."""
        place = parent
        for part in name.split("/"):
            if part not in place:
                where = f"{place.name.rstrip('/')}/{part}"
                if isinstance(place.get(part, getlink=True), self._h5py.ExternalLink):
                    raise ConversionError(f"{self._path}: {where} leads to another file")
                raise ConversionError(f"{self._path}: {where} is missing")
            if isinstance(place.get(part, getlink=True), self._h5py.ExternalLink):
                raise ConversionError(
                    f"{self._path}: {place.name.rstrip('/')}/{part} leads to another file"
                )
            place = place[part]
        if not isinstance(place, kind):
            raise ConversionError(f"{self._path}: {place.name} is no {what}")
        return place


def _is_stored(dataset: Any) -> bool:
    """Whether all numbers are there: HDF5 reads what is not as zeros."""
    if dataset.chunks is None:
        return bool(dataset.id.get_storage_size() >= dataset.nbytes)
    pairs = zip(dataset.shape, dataset.chunks, strict=True)
    expected = math.prod(math.ceil(size / chunk) for size, chunk in pairs)
    return bool(dataset.id.get_num_chunks() >= expected)


def _names(demo: Any) -> Iterator[str]:
    for name in sorted(demo):
        if name in ("obs", "next_obs"):
            yield from (f"{name}/{key}" for key in sorted(demo[name]))
        else:
            yield name


def _column(name: str, dataset: Any) -> Column:
    shape, dtype = tuple(dataset.shape[1:]), dataset.dtype.name
    if dataset.ndim == 0 or dataset.dtype.kind not in "biuf":
        return Column(shape, dtype, "", left_out=f"{dataset.dtype} is no column of numbers")
    if name.startswith("next_obs/"):
        return Column(shape, dtype, "", left_out="the observations of the next step")
    if name in _KEYS:
        key, unit, meaning = _KEYS[name]
        return Column(shape, dtype, key, unit, meaning)
    short = name.removeprefix("obs/")
    if is_image(shape, dtype):
        return Column(shape, dtype, camera_key(short))
    return Column(shape, dtype, identifier(short))


def _read(where: str, dataset: Any, start: int, rows: int) -> Array:
    try:
        found = dataset[start : start + rows]
    # h5py raises all kinds of errors on damaged files.
    except Exception as error:
        raise DemonstrationError(f"{where}, row {start}: {one_line(error)}") from error
    result: Array = found.astype(found.dtype.newbyteorder("="), copy=False)
    return result


def _numbers(demos: Sequence[str]) -> dict[str, int]:
    """Number of each demonstration: the one in its name, so that demo_10 comes after demo_2."""
    matches = {name: re.fullmatch(r"\D*(\d{1,15})", name) for name in demos}
    numbers = {name: int(match[1]) for name, match in matches.items() if match}
    if len(numbers) == len(demos) == len(set(numbers.values())):
        return numbers
    return {name: i for i, name in enumerate(sorted(demos))}


def _json_attribute(group: Any, name: str) -> dict[str, Any]:
    text = group.attrs.get(name, "{}")
    try:
        content = json.loads(text)
    except (ValueError, TypeError):
        return {}
    return content if isinstance(content, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
