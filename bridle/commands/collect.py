"""Record demonstrations of a task's scripted expert into a zarr set.

Runs the expert in parallel on seeded layouts, keeps the episodes that succeed, and writes each one
atomically: a kill loses at most the episode being written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridle.cli import write_json
from bridle.commands import parse
from bridle.training.collection import CollectConfig, collect


@dataclass(frozen=True)
class Options(CollectConfig):
    """See `CollectConfig`."""

    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "collect", arguments, __doc__)
    result = collect(options)
    low, high = result.success_interval
    print(
        f"{result.episodes} episodes, {result.steps} steps in {result.path} "
        f"({result.seconds:.0f} s); the expert succeeded in {result.success_rate:.1%} of "
        f"{result.attempts} (95 %: {low:.1%} to {high:.1%})"
    )
    write_json(options.json, result)
