"""Divide a demonstration set into two, by episode: one to train on, one to validate on.

The same seed gives the same parts. A split that was killed goes on when it is run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.data import progress_bar
from bridle.training.demonstrations.splitting import split


@dataclass(frozen=True)
class Options:
    """Options of `bridle data split`."""

    path: Positional[str]
    """Set to divide: a folder, a .zip or a URL."""
    train: str
    """New set for the larger part: a folder, a .zip or a URL."""
    val: str
    """New set for the other part."""
    ratio: float | None = None
    """Share of the episodes that goes to --val; or else give --count."""
    count: int | None = None
    """Number of episodes that go to --val."""
    seed: int = 42
    """Seed of the choice."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "data split", arguments, __doc__)
    with progress_bar() as progress:
        result = split(
            options.path,
            options.train,
            options.val,
            options.ratio,
            options.count,
            options.seed,
            progress,
        )
    for part in (result.train, result.val):
        print(f"{part.path}: {part.episodes} episodes, {part.steps} steps")
    write_json(options.json, result)
