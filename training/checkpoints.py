"""The best weights of a run so far, by their success in simulation.

run/checkpoints/step-002000_success-18-of-20.safetensors

The folder is the list: a kill cannot make the two differ.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from bridle.training import runs

_NAME = re.compile(r"step-(\d+)_success-(\d+)-of-(\d+)\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Averaged weights that were evaluated."""

    step: int
    """Optimiser steps before."""
    successes: int
    episodes: int

    @property
    def file(self) -> str:
        """Name in the folder."""
        return f"step-{self.step:06}_success-{self.successes}-of-{self.episodes}.safetensors"

    @property
    def rank(self) -> tuple[float, int]:
        """Greater is better: the success rate, and the later one of equals."""
        return self.successes / self.episodes, self.step


class Checkpoints:
    """The folder of the best checkpoints of a run."""

    def __init__(self, folder: Path, keep: int) -> None:
        """Keep the `keep` best in `folder`, which need not be there."""
        self._folder, self._keep = folder, keep

    def kept(self) -> tuple[Checkpoint, ...]:
        """All that are there, best first."""
        names = [path.name for path in self._folder.glob("*.safetensors")]
        found = [Checkpoint(*map(int, m.groups())) for m in map(_NAME.fullmatch, names) if m]
        return tuple(sorted(found, key=lambda checkpoint: checkpoint.rank, reverse=True))

    def add(self, checkpoint: Checkpoint, weights: Mapping[str, Tensor]) -> None:
        """Write one; nothing is removed yet."""
        self._folder.mkdir(exist_ok=True)
        runs.save_tensors(self._folder / checkpoint.file, weights)

    def load(self, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """The weights of one."""
        return runs.load_tensors(self._folder / checkpoint.file)

    def prune(self) -> None:
        """Remove all but the best."""
        for checkpoint in self.kept()[self._keep :]:
            (self._folder / checkpoint.file).unlink()

    def forget_after(self, step: int) -> None:
        """Remove those after the step that a killed run goes on from: they will come again."""
        for checkpoint in self.kept():
            if checkpoint.step > step:
                (self._folder / checkpoint.file).unlink()
