"""Write a copy of a set with embeddings: what a run's image encoder makes of every frame.

A policy trained on it with `bridle train --observe embedding` takes the encoder along. A command
that was killed goes on when it is run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.data import progress_bar
from bridle.training.embeddings import embed


@dataclass(frozen=True)
class Options:
    """Options of `bridle data embed`."""

    path: Positional[str]
    """The set: folder, .zip or URL."""
    run: Path
    """Training run of a policy that sees the set's cameras."""
    out: Path
    """Folder of the new set."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "data embed", arguments, __doc__)
    with progress_bar() as progress:
        result = embed(options.run, options.path, options.out, progress)
    print(f"{result.path}: {result.episodes} episodes, {result.steps} steps with embeddings")
    write_json(options.json, result.to_json())
