"""A set as plain `.npy` files beside it, which the operating system maps into memory.

A cache is a folder named by the content digest of what it holds. It is written to a folder of
another name first and renamed, so that it is whole or not there, and it is taken only while the
fingerprint of the set's files is the one it was made of.
"""

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

import numpy as np
from numpy.lib.format import open_memmap

from bridle.training.demonstrations.digest import ContentDigest
from bridle.training.demonstrations.layout import PARTIAL
from bridle.training.demonstrations.places import cache_folder
from bridle.training.demonstrations.schema import Array, DemonstrationError
from bridle.training.demonstrations.storage import StoredSet

_MANIFEST = "manifest.json"
_TRIES = 3
"""Another process may take the set for changed and remove a cache that was just written."""


def mapped(
    stored: StoredSet, fingerprint: str, keys: Sequence[str], cache: Path | None = None
) -> tuple[dict[str, Array], str]:
    """Rows of some keys as read-only memory maps, written once, a chunk in memory at a time.

    Args:
        stored: an opened set.
        fingerprint: of its files, taken before it was opened.
        keys: what to map.
        cache: folder for caches; None takes `<set>.cache` beside a local set, and one below
            `cache_folder()` for others.

    Returns:
        Key to rows (n_steps, ...), and the content digest.

    Raises:
        DemonstrationError: a chunk is damaged, or the cache cannot be written.
    """
    folder = cache or _default_folder(stored)
    for _ in range(_TRIES):
        found = _find(folder, fingerprint, keys)
        if found is not None:
            return found
        try:
            _build(folder, fingerprint, stored, keys)
        except OSError as error:
            raise DemonstrationError(
                f"{folder} cannot be written: {error.strerror or error}; choose another cache "
                "folder, or read into RAM"
            ) from error
    raise DemonstrationError(f"{folder} is changed by something else again and again")


def _default_folder(stored: StoredSet) -> Path:
    place = stored.files.path
    if isinstance(place, Path):
        return place.with_name(f"{place.name}.cache")
    return cache_folder() / "memmap" / hashlib.sha256(place.encode()).hexdigest()[:16]


def _find(
    folder: Path, fingerprint: str, keys: Sequence[str]
) -> tuple[dict[str, Array], str] | None:
    """The arrays of a whole, fresh cache of these keys; None without one."""
    for manifest in sorted(folder.glob(f"*/{_MANIFEST}")):
        try:
            content = json.loads(manifest.read_text())
            if content["fingerprint"] != fingerprint or sorted(content["keys"]) != sorted(keys):
                continue
            if content["digest"] != manifest.parent.name:
                continue
            arrays = {key: _open(manifest.parent, key, content["keys"][key]) for key in keys}
        # Cut, edited, or just removed by another process: as if it were not there.
        except (OSError, ValueError, KeyError, TypeError):
            continue
        return arrays, content["digest"]
    return None


def _open(folder: Path, key: str, said: Mapping[str, Any]) -> Array:
    file = folder / said["file"]
    if file.parent != folder or file.stat().st_size != said["bytes"]:
        raise ValueError(f"{file} is not as it was written")
    # An empty array cannot be mapped.
    mode: Literal["r"] | None = "r" if 0 not in said["shape"] else None
    rows: Array = np.load(file, mmap_mode=mode, allow_pickle=False)
    if list(rows.shape) != said["shape"] or rows.dtype.str != said["dtype"]:
        raise ValueError(f"{file} is not as it was written")
    return rows.view(np.ndarray)


def _build(folder: Path, fingerprint: str, stored: StoredSet, keys: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    partial = Path(mkdtemp(PARTIAL, f"{socket.gethostname()}.{os.getpid()}.", folder))
    try:
        digest = ContentDigest(stored.attributes, stored.episode_ends, stored.episode_values)
        said = {}
        for i, key in enumerate(sorted(keys)):
            said[key] = _write(partial / f"{i}.npy", stored, key, digest)
        name = digest.hexdigest()
        content = {"fingerprint": fingerprint, "digest": name, "keys": said}
        (partial / _MANIFEST).write_text(json.dumps(content, indent=2))
        _remove_stale(folder, fingerprint)
        if _find(folder, fingerprint, keys) is not None:
            return  # another process was first; what it wrote is the same
        shutil.rmtree(folder / name, ignore_errors=True)
        try:
            partial.rename(folder / name)
        except OSError:
            if _find(folder, fingerprint, keys) is None:
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(file: Path, stored: StoredSet, key: str, digest: ContentDigest) -> dict[str, Any]:
    array = stored.arrays[key]
    shape = (stored.n_steps, *array.shape[1:])
    digest.key(key, array.dtype, shape)
    if stored.n_steps:
        target = open_memmap(file, mode="w+", dtype=array.dtype, shape=shape)
        for start, stop in stored.row_ranges(key):
            rows = stored.read(key, start, stop)
            digest.rows(rows)
            target[start:stop] = rows
        target.flush()
    else:
        np.save(file, np.empty(shape, array.dtype))
    said = {"file": file.name, "bytes": file.stat().st_size}
    return said | {"shape": list(shape), "dtype": array.dtype.str}


def _remove_stale(folder: Path, fingerprint: str) -> None:
    """Remove caches of what the set was before. Whoever has mapped their files keeps them."""
    for other in folder.iterdir():
        if other.name.endswith(PARTIAL):
            continue
        try:
            fresh = json.loads((other / _MANIFEST).read_text())["fingerprint"] == fingerprint
        except (OSError, ValueError, KeyError, TypeError):
            fresh = False
        if not fresh:
            shutil.rmtree(other, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes of this machine were writing when they were killed."""
    host = socket.gethostname()
    for partial in folder.glob(f"{host}.*{PARTIAL}"):
        number = partial.name[len(host) + 1 :].split(".")[0]
        if number.isdigit() and not Path(f"/proc/{number}").exists():
            shutil.rmtree(partial, ignore_errors=True)
