"""The archive of tables, checked before NumPy allocates what it promises."""

import io
import zipfile
from dataclasses import dataclass

import numpy as np

from bridle.deploy.exceptions import BundleError

MAX_ARCHIVE_BYTES = 2**22
"""Largest archive: its directory alone could have twenty entries a kilobyte."""
MAX_TABLES = 128
MAX_STEPS = 1000
MAX_COLUMNS = 4096
MAX_TABLE_BYTES = 2**22
"""Largest table, unpacked."""


@dataclass(frozen=True)
class Tables:
    """What an archive was found to hold."""

    steps: frozenset[int]
    """The numbers of steps that there are tables of."""
    columns: int
    """Of each."""


def inspect_tables(data: bytes) -> Tables:
    """Refuse an archive that is not a few small tables of finite float32, of the same columns.

    Raises:
        BundleError: saying what it may not have, without the file's name.
    """
    if len(data) > MAX_ARCHIVE_BYTES:
        raise BundleError(f"it has more than {MAX_ARCHIVE_BYTES} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if not 1 <= len(members) <= MAX_TABLES:
                raise BundleError(f"it has {len(members)} tables, allowed are 1 to {MAX_TABLES}")
            if len({member.filename for member in members}) != len(members):
                raise BundleError("it has a table twice")
            shapes = [_inspect_member(archive, member) for member in members]
    except BundleError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy each raise their own
        raise BundleError(f"it cannot be read: {type(error).__name__}") from error
    columns = {columns for _, columns in shapes}
    if len(columns) != 1:
        raise BundleError("its tables have different numbers of columns")
    return Tables(frozenset(steps for steps, _ in shapes), columns.pop())


def _inspect_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[int, int]:
    name = member.filename.removesuffix(".npy")
    if not (name.isascii() and name.isdecimal() and 1 <= int(name[:9]) <= MAX_STEPS):
        raise BundleError(f"it has a table of {name[:20]!r} steps")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BundleError("it is packed in an unusual way")
    # zipfile reads no more than what a member declares.
    if member.file_size > MAX_TABLE_BYTES:
        raise BundleError(f"the table of {name} steps has more than {MAX_TABLE_BYTES} bytes")
    content = io.BytesIO(archive.read(member))
    version = np.lib.format.read_magic(content)
    if version != (1, 0):
        raise BundleError(f"the table of {name} steps is not in NumPy's format 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(content, max_header_size=1000)
    rows = content.read()
    if dtype != np.dtype("<f4") or fortran or len(shape) != 2 or shape[0] != int(name):
        raise BundleError(f"the table of {name} steps is {dtype.str} {shape}, not <f4 ({name}, n)")
    if not 1 <= shape[1] <= MAX_COLUMNS or len(rows) != 4 * shape[0] * shape[1]:
        raise BundleError(f"the table of {name} steps does not have the size that it declares")
    if not np.isfinite(np.frombuffer(rows, "<f4")).all():
        raise BundleError(f"the table of {name} steps has numbers that are not finite")
    return int(shape[0]), int(shape[1])
