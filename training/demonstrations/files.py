"""The files of a stored set, in a folder or a zip."""

import zipfile
from pathlib import Path

from bridle.training.demonstrations.schema import DemonstrationError


class StoredFiles:
    """Names and bytes of the files of a folder or zip.

    Raises:
        DemonstrationError: the path is neither.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise DemonstrationError(f"{path} does not exist")
        self.path = path
        self._zip = None
        if path.is_dir():
            self.names = frozenset(
                file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()
            )
            return
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DemonstrationError(
                f"{path} is neither a folder nor a readable zip: {error}"
            ) from error
        self.names = frozenset(name for name in self._zip.namelist() if not name.endswith("/"))

    def has(self, name: str) -> bool:
        """Whether a file is there now; a set may be read while it is written."""
        return name in self.names if self._zip else (self.path / name).is_file()

    def read(self, name: str, size: int = -1) -> bytes:
        """The first `size` bytes of a file, all of them by default."""
        if self._zip is None:
            with (self.path / name).open("rb") as file:
                return file.read(size)
        with self._zip.open(name) as member:
            return member.read(size)

    def size(self, name: str) -> int:
        """Bytes of a file, uncompressed."""
        if self._zip is None:
            return (self.path / name).stat().st_size
        return self._zip.getinfo(name).file_size

    def total_size(self) -> int:
        """Bytes of the whole set as stored."""
        if self._zip is None:
            return sum(self.size(name) for name in self.names)
        return self.path.stat().st_size

    def close(self) -> None:
        """Close the zip, if it is one."""
        if self._zip is not None:
            self._zip.close()
