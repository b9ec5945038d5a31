"""Sets in zips: reading what others may have made to harm, and packing."""

import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from bridle.training.demonstrations.layout import PARTIAL
from bridle.training.demonstrations.lock import WriteLock
from bridle.training.demonstrations.schema import DemonstrationError

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_EPOCH = (1980, 1, 1, 0, 0, 0)


class ZipFiles:
    """The entries of a zip. Nothing is ever unpacked to the disk.

    Sizes are those that the zip declares, and no more than them is ever taken from an entry:
    readers bound them by what the set's metadata allows before they ask for the bytes.

    Raises:
        DemonstrationError: the file is no zip.
    """

    def __init__(self, path: str, file: IO[bytes]) -> None:
        self._file = file
        try:
            self._zip = zipfile.ZipFile(file)
        # A damaged directory raises nearly anything: BadZipFile, struct.error, OverflowError.
        except Exception as error:
            file.close()
            what = " ".join(f"{error}".split())
            raise DemonstrationError(
                f"{path} is neither a folder nor a readable zip: {what}"
            ) from error
        self.faults: list[tuple[str, str]] = []
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for entry in self._zip.infolist():
            if entry.filename.endswith("/"):
                continue
            fault = _fault(entry, self._entries)
            if fault:
                self.faults.append((ascii(entry.filename).strip("'"), fault))
            else:
                self._entries[entry.filename] = entry
        self.names = frozenset(self._entries)

    def has(self, name: str) -> bool:
        """See `Backend`."""
        return name in self._entries

    def size(self, name: str) -> int:
        """See `Backend`."""
        return self._entries[name].file_size

    def read(self, name: str, limit: int | None) -> bytes:
        """See `Backend`."""
        entry = self._entries[name]
        size = entry.file_size if limit is None else min(limit, entry.file_size)
        with self._zip.open(entry) as member:
            content = member.read(size)
            # The checksum is looked at when the end is reached.
            more = member.read(1) if limit is None else b""
        if len(content) != size or more:
            raise OSError(f"{name} is not of the {entry.file_size} bytes that the zip declares")
        return content

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """See `Backend`."""
        return [self.read(name, None) for name in names]

    def versions(self) -> Mapping[str, object]:
        """See `Backend`."""
        return {name: (e.file_size, e.CRC, e.header_offset) for name, e in self._entries.items()}

    def total_size(self) -> int:
        """See `Backend`."""
        position = self._file.seek(0, 2)
        return int(position)

    def close(self) -> None:
        """See `Backend`."""
        self._zip.close()
        self._file.close()


def _fault(entry: zipfile.ZipInfo, seen: Mapping[str, object]) -> str | None:
    name = entry.orig_filename
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in PurePosixPath(name).parts:
        return f"the entry {name!r} leads out of the archive"
    if not name.isprintable():
        return "is no name that can be printed"
    if entry.filename in seen:
        return "the entry is there twice"
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "the entry is a link or a special file; a set holds plain files"
    if entry.flag_bits & _ENCRYPTED:
        return "the entry is encrypted"
    if entry.compress_type not in _METHODS:
        return f"the entry is compressed by method {entry.compress_type}; repack it as stored"
    return None


def pack(path: Path | str, out: Path) -> None:
    """Pack a set into a zip: a `.partial` file first, then renamed.

    Entries are stored as they are, since chunks are compressed already, in alphabetical order and
    without times: the same set gives the same bytes.

    Args:
        path: the set.
        out: the zip; one that is there is replaced.

    Raises:
        DemonstrationError: there is no set to read, or someone else packs to the same place.
    """
    from bridle.training.demonstrations.files import StoredFiles

    files = StoredFiles(path)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(out) as partial:
            with zipfile.ZipFile(partial, "w") as archive:
                for name in sorted(n for n in files.names if not n.endswith(PARTIAL)):
                    entry = zipfile.ZipInfo(name, _EPOCH)
                    entry.external_attr = (stat.S_IFREG | 0o644) << 16
                    archive.writestr(entry, files.read(name))
            partial.replace(out)
    finally:
        files.close()


@contextmanager
def unfinished(out: Path) -> Iterator[Path]:
    """The file beside a zip that becomes it; there is none before and none afterwards."""
    lock, partial = WriteLock(out), out.with_name(f"{out.name}{PARTIAL}")
    try:
        partial.unlink(missing_ok=True)
        yield partial
    finally:
        partial.unlink(missing_ok=True)
        lock.release()
