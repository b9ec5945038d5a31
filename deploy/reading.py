"""Reads a folder that somebody else made: plain files in it, up to a size, and nothing else."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridle.deploy.exceptions import BundleError

MAX_ENTRIES = 64
MAX_FOLDER_BYTES = 2**31
"""Largest folder that is held in memory."""


class Folder:
    """An open folder. Its files are opened relative to it, so that it cannot be exchanged."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._left = MAX_FOLDER_BYTES

    def names(self) -> set[str]:
        """Everything in the folder.

        Raises:
            BundleError: there is more than a bundle has.
        """
        names: set[str] = set()
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                names.add(entry.name)
                if len(names) > MAX_ENTRIES:
                    raise BundleError(f"{self.path} holds more than {MAX_ENTRIES} files")
        return names

    def read(self, name: str, largest: int) -> bytes:
        """A file's bytes.

        Args:
            name: of a file right in the folder.
            largest: bytes it may have.

        Raises:
            BundleError: it is missing, a link, a pipe, a device, too large, or cannot be read.
        """
        try:
            # Opening a pipe would wait and opening a device may act: look before, and check after.
            found = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                raise BundleError(f"{self.path}: {name} is missing or is not a plain file")
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with open(os.open(name, flags, dir_fd=self._descriptor), "rb") as file:  # noqa: PTH123
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise BundleError(f"{self.path}: {name} is missing or is not a plain file")
                allowed = min(largest, self._left)
                # Memory is not taken for a file that is too large, nor for one that grows.
                if status.st_size <= allowed:
                    data = file.read(allowed + 1)
                if status.st_size > allowed or len(data) > allowed:
                    raise BundleError(f"{self.path}: {name} is larger than {allowed} bytes")
        except FileNotFoundError as error:
            raise BundleError(f"{self.path}: {name} is missing or is not a plain file") from error
        except OSError as error:
            raise BundleError(f"{self.path}: {name} cannot be read: {error.strerror}") from error
        self._left -= len(data)
        return data


@contextmanager
def open_folder(path: Path) -> Iterator[Folder]:
    """Open a folder for reading.

    Raises:
        BundleError: it is not a folder, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(f"{path} is not a folder") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    try:
        yield Folder(path, descriptor)
    finally:
        os.close(descriptor)
