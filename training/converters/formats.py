"""The formats that are read: what they look like, and where the code for each one is."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from bridle.training.converters import lerobot, mcap, robomimic, zarr_set
from bridle.training.converters.source import ConversionError, Source, SourceOptions
from bridle.training.demonstrations.places import locate


@dataclass(frozen=True)
class Format:
    """One format."""

    what: str
    looks_like: str
    module: str
    source: str


FORMATS = {
    "bridle": Format("a set of Bridle's", "`bridle_schema` in .zattrs", "zarr_set", "BridleSource"),
    "diffusion_policy": Format(
        "a zarr store of diffusion_policy", "`meta/episode_ends`", "zarr_set", "ZarrSource"
    ),
    "umi": Format("a zarr store of UMI", "`data/robot0_eef_pos`", "zarr_set", "UmiSource"),
    "robomimic": Format("a robomimic file", "HDF5", "robomimic", "RobomimicSource"),
    "lerobot": Format("a LeRobot dataset", "`meta/info.json`", "lerobot", "LeRobotSource"),
    "mcap": Format("ROS 2 bags", ".mcap, `metadata.yaml`", "mcap", "McapSource"),
}
"""Name -> format; `open_source` opens one."""


def recognise(path: Path) -> str | None:
    """The format of a path by its first bytes and its files; None if it is none of them."""
    if robomimic.recognise(path):
        return "robomimic"
    if lerobot.recognise(path):
        return "lerobot"
    if mcap.recognise(path):
        return "mcap"
    return zarr_set.recognise(path)


def detect(path: Path) -> str:
    """The format of a path.

    Raises:
        ConversionError: it does not exist or is none that is known.
    """
    place = locate(path)
    found = zarr_set.recognise(place) if isinstance(place, str) else recognise(place)
    if found is not None:
        return found
    if isinstance(place, str):
        raise ConversionError(f"{place} is no zarr store; other formats are read from here only")
    if not place.exists():
        raise ConversionError(f"{place} does not exist")
    inside = sorted(place.iterdir())[:200] if place.is_dir() else []
    near = [child for child in inside if recognise(child)]
    if near:
        raise ConversionError(f"{place} is no data set, but {near[0]} is; give that")
    known = "; ".join(f"{name}: {f.looks_like}" for name, f in FORMATS.items())
    raise ConversionError(f"{place} is of no format that is known ({known})")


def open_source(path: Path, name: str, options: SourceOptions) -> Source:
    """Open a data set of a format.

    Raises:
        ConversionError: it is not of this format, or damaged.
    """
    kind, place = FORMATS[name], locate(path)
    if isinstance(place, Path) and not place.exists():
        raise ConversionError(f"{place} does not exist")
    if isinstance(place, str) and kind.module != "zarr_set":
        raise ConversionError(f"{place}: {kind.what} is read from here only, copy it first")
    opened: Source = getattr(import_module(f"{__package__}.{kind.module}"), kind.source)(
        place, options
    )
    return opened
