"""An archive of arrays, checked before NumPy allocates what it promises."""

import io
import math
import zipfile

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.exceptions import BundleError

MAX_DIMENSIONS = 4


def read_arrays(data: bytes, *, largest: int, most: int) -> dict[str, NDArray[np.float32]]:
    """The arrays of an `.npz` file from somebody else.

    Args:
        data: of the file.
        largest: bytes that an array may have, unpacked.
        most: arrays that it may hold.

    Raises:
        BundleError: it holds anything but a few small float32 arrays in C order, in NumPy's format
            1.0; without the file's name.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if not 1 <= len(members) <= most:
                raise BundleError(f"it has {len(members)} arrays, allowed are 1 to {most}")
            if len({member.filename for member in members}) != len(members):
                raise BundleError("it has an array twice")
            return {
                member.filename.removesuffix(".npy"): _read(archive, member, largest)
                for member in members
            }
    except BundleError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy each raise their own
        raise BundleError(f"it cannot be read: {type(error).__name__}") from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, largest: int) -> NDArray[np.float32]:
    name = ascii(member.filename.removesuffix(".npy")[:20])
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BundleError("it is packed in an unusual way")
    # zipfile reads no more than what a member declares.
    if member.file_size > largest + 1024:
        raise BundleError(f"array {name} has more than {largest} bytes")
    content = io.BytesIO(archive.read(member))
    if np.lib.format.read_magic(content) != (1, 0):
        raise BundleError(f"array {name} is not in NumPy's format 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(content, max_header_size=1000)
    rows = content.read()
    if dtype != np.dtype("<f4") or fortran or not 1 <= len(shape) <= MAX_DIMENSIONS:
        raise BundleError(f"array {name} is {dtype.str} {shape}, not <f4 in C order")
    if len(rows) != 4 * math.prod(shape) or len(rows) > largest:
        raise BundleError(f"array {name} does not have the size that it declares")
    return np.frombuffer(rows, "<f4").reshape(shape)
