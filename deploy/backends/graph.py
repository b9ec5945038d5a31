"""What a loaded graph is, whatever runs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from bridle.deploy.exceptions import BundleError

Array = NDArray[Any]

KEPT = 8
"""Batches and tables for which buffers are kept."""


@dataclass(frozen=True)
class Signature:
    """What a graph takes and gives."""

    name: str
    """File of the bundle."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fixed: bool = True
    """Whether the shapes of what it gives follow from those of what it takes."""
    repeated: bool = False
    """Whether it is run many times for one result, so that a GPU had better record it."""
    half: bool = False
    """Whether there is float16 in it."""

    def check(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Compare with what a loaded graph has.

        Raises:
            BundleError: it takes or gives something else.
        """
        if set(inputs) != set(self.inputs) or set(outputs) != set(self.outputs):
            raise BundleError(
                f"{self.name} takes {sorted(inputs)} and gives {sorted(outputs)}, "
                f"expected {sorted(self.inputs)} and {sorted(self.outputs)}"
            )


class Graph(Protocol):
    """A loaded graph."""

    used: str
    """What really runs it."""

    def __call__(self, feed: Mapping[str, Array]) -> list[Array]:
        """Run: arrays by the names of the inputs -> arrays in the order of the outputs."""
        ...


class UnavailableError(BundleError):
    """A provider that was asked for is not there."""
