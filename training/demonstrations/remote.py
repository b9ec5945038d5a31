"""Reading sets behind URLs: object stores and web servers, through fsspec."""

import shutil
from collections.abc import Mapping, Sequence
from tempfile import TemporaryFile
from typing import IO, Any

from bridle.training.demonstrations.object_store import object_store
from bridle.training.demonstrations.schema import DemonstrationError

_VERSIONS = (
    *("ETag", "etag", "e_tag", "md5Hash"),
    *("LastModified", "last_modified", "mtime", "created", "updated"),
)


def filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL as fsspec has it, and the path in it.

    Raises:
        DemonstrationError: the protocol is unknown, or the library for it is not installed.
    """
    import fsspec

    try:
        fs, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        fs, root = _object_store(url, error), url.split("://", 1)[1]
    except ValueError as error:
        raise DemonstrationError(f"{url} cannot be opened: {why(error)}") from error
    return fs, str(root).rstrip("/")


def _object_store(url: str, error: ImportError) -> Any:
    try:
        store = object_store(url)
    # What is wrong with a bucket's name or the environment comes as exceptions of obstore's own.
    except Exception as fault:
        raise DemonstrationError(f"{url} cannot be opened: {why(fault)}") from fault
    if store is None:
        raise DemonstrationError(f"{url} cannot be opened: {why(error)}") from error
    return store


def open_remote(url: str) -> IO[bytes]:
    """A file behind a URL, to be read here and there.

    Raises:
        DemonstrationError: it does not exist or cannot be opened.
    """
    fs, root = filesystem(url)
    try:
        file: IO[bytes] = fs.open(root, "rb")
        return file if _gives_parts(file) else _whole(fs, root)
    except FileNotFoundError as error:
        raise DemonstrationError(f"{url} does not exist") from error
    except Exception as error:
        raise DemonstrationError(f"{url} cannot be opened: {why(error)}") from error


def _gives_parts(file: IO[bytes]) -> bool:
    """Whether a file can be read here and there; some web servers only give all of it."""
    try:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 1))
        file.read(1)
        file.seek(0)
    except ValueError:  # what fsspec says then
        file.close()
        return False
    return True


def _whole(fs: Any, root: str) -> IO[bytes]:
    copy: IO[bytes] = TemporaryFile()  # noqa: SIM115 - the caller closes it
    with fs.open(root, "rb", block_size=0) as stream:
        shutil.copyfileobj(stream, copy)
    copy.seek(0)
    return copy


class RemoteFiles:
    """A folder behind a URL, listed once."""

    def __init__(self, url: str) -> None:
        self._fs, self._root = filesystem(url)
        try:
            self._fs.invalidate_cache()
            found = self._fs.find(self._root, detail=True)
        except FileNotFoundError:
            found = {}
        except Exception as error:
            raise DemonstrationError(f"{url} cannot be listed: {why(error)}") from error
        self._infos = {
            name[len(self._root) :].lstrip("/"): info
            for name, info in found.items()
            if name.startswith(f"{self._root}/")
        }
        if not self._infos:
            hint = ", or its server lists no folders: give a .zip" if url.startswith("http") else ""
            raise DemonstrationError(f"{url} does not exist{hint}")
        self.faults: list[tuple[str, str]] = []
        self.names = frozenset(self._infos)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def has(self, name: str) -> bool:
        """See `Backend`."""
        return name in self._infos

    def size(self, name: str) -> int:
        """See `Backend`."""
        size = self._infos[name].get("size")
        if size is None:  # a web server's listing
            size = self._fs.size(self._path(name))
        return int(size)

    def read(self, name: str, limit: int | None) -> bytes:
        """See `Backend`."""
        # An empty file cannot be read in part.
        whole = limit is None or self.size(name) <= limit
        part = {} if whole else {"start": 0, "end": limit}
        return bytes(self._fs.cat_file(self._path(name), **part))

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """See `Backend`."""
        contents = self._fs.cat([self._path(name) for name in names])
        if isinstance(contents, bytes):  # of a single name
            return [contents]
        return [bytes(contents[self._path(name)]) for name in names]

    def versions(self) -> Mapping[str, object]:
        """See `Backend`."""
        return {
            name: (info.get("size"), *(str(info.get(key)) for key in _VERSIONS))
            for name, info in self._infos.items()
        }

    def total_size(self) -> int:
        """See `Backend`."""
        return sum(self.size(name) for name in self.names)

    def close(self) -> None:
        """See `Backend`."""


def why(error: Exception) -> str:
    """An error of a store as one line of bounded length."""
    return " ".join(f"{type(error).__name__} {error}".split())[:300]
