"""S3, Google and Azure through obstore, with the few names of fsspec that are used here.

obstore brings all of it in one package. Its own fsspec layer is not used: its event loop sometimes
aborts the process at the end (0.12.1).
"""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

_SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
_TOGETHER = 16
_READ_AHEAD = 1 << 20


def object_store(url: str) -> "ObjectStore | None":
    """The store of a URL, with keys and endpoint from the environment; None without obstore.

    Raises:
        ValueError: the URL or the environment do not fit the store.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES:
        return None
    try:
        from obstore.store import from_url
    except ImportError:
        return None
    bucket = rest.split("/", 1)[0]
    return ObjectStore(from_url(f"{scheme}://{bucket}"), bucket)


class ObjectStore:
    """One bucket. Paths begin with its name, as in fsspec."""

    def __init__(self, store: Any, bucket: str) -> None:
        import obstore

        self._api, self._store, self._bucket = obstore, store, bucket

    def _key(self, path: str) -> str:
        return path.removeprefix(self._bucket).lstrip("/")

    def invalidate_cache(self) -> None:
        """Nothing is kept."""

    def makedirs(self, path: str, exist_ok: bool) -> None:
        """There are no folders."""

    def find(self, path: str, detail: bool = False) -> Any:
        """Everything below a path: names, or name to description."""
        found = {
            f"{self._bucket}/{entry['path']}": entry
            for page in self._api.list(self._store, self._key(path))
            for entry in page
        }
        return found if detail else sorted(found)

    def exists(self, path: str) -> bool:
        """Whether there is an object, or something below a path."""
        try:
            self._api.head(self._store, self._key(path))
        except FileNotFoundError:
            return bool(self.find(path))
        return True

    def size(self, path: str) -> int:
        """Bytes of an object."""
        return int(self._api.head(self._store, self._key(path))["size"])

    def cat_file(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes of an object, or of its beginning."""
        if end is None:
            return bytes(self._api.get(self._store, self._key(path)).bytes())
        return bytes(self._api.get_range(self._store, self._key(path), start=start, end=end))

    def cat(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Several objects at once."""
        with ThreadPoolExecutor(_TOGETHER) as pool:
            return dict(zip(paths, pool.map(self.cat_file, paths), strict=True))

    def open(self, path: str, mode: str) -> IO[bytes]:
        """An object to be read here and there."""
        return io.BufferedReader(_Reader(self, path), _READ_AHEAD)

    def put_file(self, local: str, path: str) -> None:
        """Put a file."""
        self._api.put(self._store, self._key(path), Path(local))

    def pipe_file(self, path: str, content: bytes, mode: Any = "overwrite") -> None:
        """Put bytes.

        Raises:
            FileExistsError: `mode` is "create" and the object is there.
        """
        try:
            self._api.put(self._store, self._key(path), content, mode=mode)
        except self._api.exceptions.AlreadyExistsError as error:
            raise FileExistsError(path) from error

    def rm_file(self, path: str) -> None:
        """Remove an object."""
        self._api.delete(self._store, self._key(path))


class _Reader(io.RawIOBase):
    """An object as a file, read in ranges."""

    def __init__(self, store: ObjectStore, path: str) -> None:
        self._store, self._path = store, path
        self._size, self._position = store.size(path), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        content = self._store.cat_file(self._path, self._position, end)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)
