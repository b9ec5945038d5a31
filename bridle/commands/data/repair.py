"""Repair a demonstration set that a crash or a bad disk has damaged.

In place it removes leftovers, writes lost metadata again, finds out where episodes end, and cuts
off episodes whose rows never came to the disk. With --out it writes the episodes that are whole to
a new set and leaves the damaged ones out. It says all it does, and all that is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.data import progress_bar
from bridle.training.demonstrations.repairing import repair


@dataclass(frozen=True)
class Options:
    """Options of `bridle data repair`."""

    path: Positional[str]
    """Damaged set; in place a zarr folder, with --out also a .zip or a URL."""
    out: str | None = None
    """New set for the episodes that are whole: a folder, a .zip or a URL."""
    dry_run: bool = False
    """Only say what would be done."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; exit status 1 when something is still wrong."""
    options = parse(Options, "data repair", arguments, __doc__)
    with progress_bar() as progress:
        result = repair(options.path, options.out, options.dry_run, progress)
    for name, lines in (("", result.done), ("lost: ", result.lost), ("wrong: ", result.remaining)):
        for line in lines:
            print(f"{name}{line}")
    if options.dry_run:
        print("nothing was written: this was a dry run")
    elif not (result.done or result.lost or result.remaining):
        print(f"{options.path}: nothing to repair")
    if result.remaining:
        print(f"{options.path}: still damaged; --out makes a set of the episodes that are whole")
    else:
        print(f"{options.out or options.path}: {result.episodes} episodes")
    write_json(options.json, result)
    return 1 if result.remaining else 0
