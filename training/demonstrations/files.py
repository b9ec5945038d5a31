"""The files of a stored set: in a folder, in a zip, or either of them behind a URL."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from bridle.training.demonstrations.places import is_zip, locate
from bridle.training.demonstrations.schema import DemonstrationError

METADATA_LIMIT = 16 << 20
"""Bytes; no metadata file of a set is larger than this."""


class Backend(Protocol):
    """One way of keeping files. `read` and `size` may raise anything."""

    names: frozenset[str]
    faults: list[tuple[str, str]]
    """Entries that a set must not have, with what is wrong. They are not among the names."""

    def has(self, name: str) -> bool:
        """Whether a file is there now."""
        ...

    def size(self, name: str) -> int:
        """Its bytes."""
        ...

    def read(self, name: str, limit: int | None) -> bytes:
        """Its first bytes."""
        ...

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """Several files whole."""
        ...

    def versions(self) -> Mapping[str, object]:
        """Something for each file that changes when the file does."""
        ...

    def total_size(self) -> int:
        """Bytes of everything as stored."""
        ...

    def close(self) -> None:
        """Release what is open."""
        ...


class StoredFiles:
    """Names and bytes of the files of a set.

    Raises:
        DemonstrationError: there is nothing at the path, or it is neither a folder nor a zip.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = locate(path)
        self._backend = _backend(self.path)
        self.names = self._backend.names
        self.faults = self._backend.faults

    @property
    def are_near(self) -> bool:
        """Whether looking into a file costs little: it is on this machine."""
        return isinstance(self.path, Path)

    def has(self, name: str) -> bool:
        """Whether a file is there now; a set may be read while it is written."""
        return self._backend.has(name)

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The first `limit` bytes of a file, all of them by default.

        Raises:
            DemonstrationError: it cannot be read.
        """
        try:
            return self._backend.read(name, limit)
        # zipfile and the object stores raise nearly anything.
        except Exception as error:
            raise DemonstrationError(f"cannot be read: {one_line(error)}") from error

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """Several files whole, together if that is faster.

        Raises:
            DemonstrationError: one cannot be read.
        """
        try:
            return self._backend.read_many(names)
        except Exception as error:
            raise DemonstrationError(f"cannot be read: {one_line(error)}") from error

    def size(self, name: str) -> int:
        """Bytes of a file, uncompressed.

        Raises:
            DemonstrationError: it is not there any more.
        """
        try:
            return self._backend.size(name)
        except Exception as error:
            raise DemonstrationError(f"cannot be read: {one_line(error)}") from error

    def total_size(self) -> int:
        """Bytes of the whole set as stored."""
        return self._backend.total_size()

    def fingerprint(self) -> str:
        """Changes when any file does; cheap, without reading them (sizes, times, versions)."""
        digest = hashlib.sha256()
        for name, version in sorted(self._backend.versions().items()):
            digest.update(f"{name}\0{version}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def close(self) -> None:
        """Release what is open."""
        self._backend.close()


def one_line(error: BaseException) -> str:
    """An error as a single line of bounded length."""
    return " ".join(f"{type(error).__name__} {error}".split())[:300]


def _backend(place: Path | str) -> Backend:
    # Both only when they are needed: zips are rare, and fsspec takes a tenth of a second.
    if isinstance(place, str):
        from bridle.training.demonstrations.remote import RemoteFiles, open_remote

        if not is_zip(place):
            return RemoteFiles(place)
        from bridle.training.demonstrations.zips import ZipFiles

        return ZipFiles(str(place), open_remote(place))
    if place.is_dir():
        return _Folder(place)
    if not place.exists():
        raise DemonstrationError(f"{place} does not exist")
    if not place.is_file():
        raise DemonstrationError(f"{place} is neither a folder nor a readable zip")
    from bridle.training.demonstrations.zips import ZipFiles

    return ZipFiles(str(place), place.open("rb"))


class _Folder:
    """A folder on this machine; links and special files in it are refused, not followed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.faults: list[tuple[str, str]] = []
        self.names = frozenset(self._walk("", str(path)))

    def _walk(self, prefix: str, folder: str) -> Iterator[str]:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = prefix + entry.name
                if not entry.name.isprintable():
                    self.faults.append((ascii(name), "is no name that can be printed"))
                elif entry.is_dir(follow_symlinks=False):
                    yield from self._walk(f"{name}/", entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield name
                else:
                    what = "a symbolic link" if entry.is_symlink() else "no plain file"
                    self.faults.append((name, f"is {what}; a set holds plain files and folders"))

    def has(self, name: str) -> bool:
        if any(name.startswith(f"{link}/") for link, _ in self.faults):
            return False
        try:
            return stat.S_ISREG((self._path / name).lstat().st_mode)
        except (OSError, ValueError):
            return False

    def size(self, name: str) -> int:
        return (self._path / name).lstat().st_size

    def read(self, name: str, limit: int | None) -> bytes:
        # A file may have become a pipe since the listing: do not wait for it.
        number = os.open(self._path / name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with open(number, "rb") as file:  # noqa: PTH123 - of a descriptor
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise OSError("no plain file")
            return file.read(-1 if limit is None else limit)

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        return [self.read(name, None) for name in names]

    def versions(self) -> Mapping[str, object]:
        return {
            name: (status.st_size, status.st_mtime_ns, status.st_ino)
            for name, status in self._statuses()
        }

    def total_size(self) -> int:
        return sum(status.st_size for _, status in self._statuses())

    def _statuses(self) -> Iterator[tuple[str, os.stat_result]]:
        for name in self.names:
            # A writer's unfinished file may be gone by now.
            with suppress(FileNotFoundError):
                yield name, (self._path / name).lstat()

    def close(self) -> None:
        pass
