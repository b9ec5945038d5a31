"""Join demonstration sets of one robot, control rate and the same keys.

The instructions of all are put into one table. A killed merge goes on when it is run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.data import progress_bar
from bridle.training.demonstrations.merging import merge


@dataclass(frozen=True)
class Options:
    """Options of `bridle data merge`."""

    paths: Positional[tuple[str, ...]]
    """Two or more sets: folders, .zip files or URLs."""
    out: str
    """New set: a folder, a .zip or a URL."""
    task: str | None = None
    """Name of its task; without, that of the inputs, "mixed" if they differ."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "data merge", arguments, __doc__)
    with progress_bar() as progress:
        result = merge(options.paths, options.out, options.task, progress)
    for note in result.notes:
        print(note)
    print(f"{result.path}: {result.episodes} episodes, {result.steps} steps")
    write_json(options.json, result)
