"""One number for the content of a set."""

import hashlib
import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.schema import Array


class ContentDigest:
    """SHA-256 of a set's content, whatever its chunks and compression.

    Over, in this order: the root attributes as canonical JSON (`null` for a set without), the
    episode ends as little-endian int64; then the per-episode columns and after them the keys, each
    in alphabetical order, with name, dtype and shape as a line of JSON followed by the committed
    rows in C order, little-endian.
    """

    def __init__(
        self,
        attributes: Attributes | None,
        episode_ends: NDArray[np.int64],
        episode_values: Mapping[str, Array],
    ) -> None:
        self._hash = hashlib.sha256()
        self._line(attributes.to_json() if attributes else None)
        self.rows(episode_ends)
        for name in sorted(episode_values):
            values = episode_values[name]
            self.key(name, values.dtype, values.shape)
            self.rows(values)

    def _line(self, content: object) -> None:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        self._hash.update(text.encode() + b"\n")

    def key(self, name: str, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> None:
        """Begin a key whose rows come to `shape` (n_steps, ...) in all."""
        self._line([name, dtype.newbyteorder("<").str, list(shape)])

    def rows(self, block: Array) -> None:
        """Add rows (t, ...)."""
        little = block.astype(block.dtype.newbyteorder("<"), order="C", copy=False)
        self._hash.update(little.data if little.size else b"")

    def hexdigest(self) -> str:
        """The digest of all that was added, 64 hexadecimal digits."""
        return self._hash.hexdigest()
