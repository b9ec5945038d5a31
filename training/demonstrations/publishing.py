"""Putting a set where a URL says, whole.

Object stores have no rename, but putting one object is atomic: `meta/episode_ends/.zarray` goes
last, and without it no reader takes the folder for a set.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bridle.training.demonstrations.places import is_zip
from bridle.training.demonstrations.remote import filesystem, why
from bridle.training.demonstrations.schema import DemonstrationError

LOCK_AGE = 900.0
"""Seconds after which the lock of a writer that gave no sign is taken over."""
_SIGN_EVERY = 60.0
_COMMIT = "meta/episode_ends/.zarray"


def exists(url: str) -> bool:
    """Whether a whole set (its commit, or the zip) is there.

    Raises:
        DemonstrationError: that cannot be found out.
    """
    fs, root = filesystem(url)
    try:
        fs.invalidate_cache()
        return bool(fs.exists(root if is_zip(url) else f"{root}/{_COMMIT}"))
    except Exception as error:
        raise DemonstrationError(f"{url} cannot be looked at: {why(error)}") from error


def publish(local: Path, url: str, sign: Callable[[int, int], None] | None = None) -> None:
    """Put a set there: a folder file by file with the commit last, or one zip.

    Whole objects of an earlier try are replaced; a set that is there is hidden first, so that no
    reader sees a mixture.

    Args:
        local: a zarr folder, or a zip.
        url: where to.
        sign: called with bytes done and in all.

    Raises:
        DemonstrationError: it cannot be written, or someone else writes there.
    """
    fs, root = filesystem(url)
    names = [""]
    if local.is_dir():
        names = sorted(f.relative_to(local).as_posix() for f in local.rglob("*") if f.is_file())
        names = [*(n for n in names if n != _COMMIT), _COMMIT]
    total, done = sum((local / name).stat().st_size for name in names), 0
    try:
        with _lock(fs, root, url) as keep:
            if local.is_dir():
                fs.invalidate_cache()
                old = fs.find(root) if fs.exists(root) else []
                # The commit goes first, then what the new set would not overwrite.
                for path in sorted(old, key=lambda p: not p.endswith(_COMMIT)):
                    if path.endswith(_COMMIT) or path[len(root) + 1 :] not in names:
                        fs.rm_file(path)
            for name in names:
                keep()
                target = f"{root}/{name}" if name else root
                _put(fs, local / name, target)
                done += (local / name).stat().st_size
                if sign:
                    sign(done, total)
            fs.invalidate_cache()
    except DemonstrationError:
        raise
    except Exception as error:
        raise DemonstrationError(f"{url} cannot be written: {why(error)}") from error


def _put(fs: Any, local: Path, target: str) -> None:
    # Only some file systems have folders; in the others this does nothing.
    fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
    fs.put_file(os.fspath(local), target)


@contextmanager
def _lock(fs: Any, root: str, url: str) -> Iterator[Callable[[], None]]:
    """An object beside the set that names its writer.

    The store creates it only if it is not there where it can (S3: conditional put), elsewhere two
    writers that look in the same moment may both go on. The writer renews it; one that is older
    than `LOCK_AGE` by its writer's clock belongs to the dead and is taken over.
    """
    path = f"{root}.lock"
    owner = f"process {os.getpid()} on {socket.gethostname()}"

    def content() -> bytes:
        return json.dumps({"owner": owner, "time": time.time()}).encode()

    try:
        _create_exclusively(fs, path, content())
    except FileExistsError:
        held = _read_lock(fs, path)
        if held is not None:
            raise DemonstrationError(
                f"{url} is being written by {held[0]}, which gave a sign {held[1]:.0f} s ago; "
                f"if it is dead, wait {LOCK_AGE / 60:.0f} minutes or remove {path}"
            ) from None
        fs.pipe_file(path, content())
    last = time.monotonic()

    def keep() -> None:
        nonlocal last
        if time.monotonic() - last > _SIGN_EVERY:
            fs.pipe_file(path, content())
            last = time.monotonic()

    try:
        yield keep
    finally:
        fs.rm_file(path)


def _create_exclusively(fs: Any, path: str, content: bytes) -> None:
    fs.invalidate_cache()
    if fs.exists(path):
        raise FileExistsError(path)
    try:
        fs.pipe_file(path, content, mode="create")
    except (TypeError, NotImplementedError, ValueError):
        fs.pipe_file(path, content)


def _read_lock(fs: Any, path: str) -> tuple[str, float] | None:
    """Owner of a lock and its age [s]; None if it may be taken over."""
    try:
        held = json.loads(fs.cat_file(path))
        age = time.time() - float(held["time"])
        return (str(held["owner"]), age) if age < LOCK_AGE else None
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError):
        return ("an unknown process", 0.0)
