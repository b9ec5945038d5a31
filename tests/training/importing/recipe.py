"""Weights that are made rather than kept: a ResNet-18 is too large to keep beside a test.

Used by the script that lets LeRobot compute the expected chunks, and by the test that imports.
"""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

COMPUTED = "pos_grid"
"""What LeRobot keeps among its weights and computes anew."""


def made(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The weights of a name: as wide as PyTorch initialises them, and none of them neutral.

    `RandomState` and not a `Generator`, because NumPy promises that its stream never changes.
    """
    values = np.random.RandomState(crc32(name.encode())).standard_normal(shape)
    if len(shape) > 1:
        values /= np.sqrt(3 * np.prod(shape[1:]))
    else:
        values = (1.0 if name.endswith("weight") else 0.0) + 0.1 * values
    return values.astype(np.float32)
