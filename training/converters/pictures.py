"""Compressed pictures, decoded only if they are as large as they must be."""

import io
from typing import BinaryIO

import numpy as np

from bridle.training.converters.source import require
from bridle.training.demonstrations.files import one_line
from bridle.training.demonstrations.schema import Array, DemonstrationError

LARGEST = 64 << 20
"""Pixels of a picture that is still decoded."""


def picture_size(where: str, file: BinaryIO) -> tuple[int, int, int]:
    """Height, width and 3 of a PNG or JPEG, from its header alone.

    Raises:
        DemonstrationError: it is neither, or too large.
    """
    images = require("PIL.Image")
    try:
        with images.open(file, formats=("PNG", "JPEG")) as picture:
            width, height = picture.size
    # Pillow raises all kinds of errors on damaged files.
    except Exception as error:
        raise DemonstrationError(f"{where}: no PNG or JPEG: {one_line(error)}") from error
    if width * height > LARGEST:
        raise DemonstrationError(f"{where}: {width} x {height} pixels are not decoded")
    return height, width, 3


def decode_picture(where: str, file: BinaryIO, shape: tuple[int, ...]) -> Array:
    """A PNG or JPEG as RGB bytes (H, W, 3).

    Raises:
        DemonstrationError: it is neither, damaged, or not of this shape.
    """
    images = require("PIL.Image")
    found = picture_size(where, file)
    if found != shape:
        raise DemonstrationError(f"{where}: expected a picture of {shape}, got {found}")
    file.seek(0)
    try:
        with images.open(file, formats=("PNG", "JPEG")) as picture:
            return np.array(picture.convert("RGB"))
    except Exception as error:
        raise DemonstrationError(f"{where}: cannot be decoded: {one_line(error)}") from error


def encode_png(frame: Array) -> bytes:
    """An RGB image (H, W, 3) uint8 as PNG, without loss."""
    file = io.BytesIO()
    require("PIL.Image").fromarray(frame).save(file, "PNG", compress_level=3)
    return file.getvalue()
