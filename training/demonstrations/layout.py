"""The files of a new set: zarr format 2, written by hand since the format is fixed."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np

from bridle.training.demonstrations.attributes import CHECKSUMS, ENDS, Attributes

STATE_CHUNK, IMAGE_CHUNK = 1000, 16
"""Time steps per chunk; 16 frames are a usual horizon and read 5 times faster than single ones."""
_LARGE_ROW = 2048
"""Bytes of a time step from which it counts as an image."""
PARTIAL = ".partial"
"""Ends the name of what is not finished."""
BLOSC = numcodecs.Blosc("lz4", shuffle=numcodecs.Blosc.SHUFFLE).get_config()


def array_metadata(
    shape: tuple[int, ...], dtype: str, compressor: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What `.zarray` holds for rows of `shape`, none yet."""
    is_large = len(shape) == 3 or math.prod(shape) * np.dtype(dtype).itemsize > _LARGE_ROW
    rows = IMAGE_CHUNK if is_large else STATE_CHUNK
    return {
        "shape": [0, *shape],
        "chunks": [rows, *shape],
        "dtype": np.dtype(dtype).newbyteorder("<").str,
        "compressor": compressor,
        "fill_value": 0,
        "filters": None,
        "order": "C",
        "zarr_format": 2,
    }


def create_group(path: Path, attributes: Attributes) -> None:
    """Write a set without episodes to a folder that does not exist."""
    for group in ("", "data", "meta"):
        _write(path / group / ".zgroup", {"zarr_format": 2})
    _write(path / ".zattrs", attributes.to_json())
    for key, spec in attributes.keys.items():
        _write(path / "data" / key / ".zarray", array_metadata(spec.shape, spec.dtype, BLOSC))
    # Without compression: a few bytes per episode, and readable with any tool.
    for name, dtype in {**attributes.episode_keys, ENDS: "int64"}.items():
        _write(path / "meta" / name / ".zarray", array_metadata((), dtype))
    sums = array_metadata((len(attributes.keys),), "uint32")
    _write(path / "meta" / CHECKSUMS / ".zarray", sums)


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2))
