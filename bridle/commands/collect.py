"""Record demonstrations of a task's scripted expert into a zarr set.

Runs the expert in parallel on seeded layouts, keeps the episodes that succeed, and writes each one
atomically: a kill loses at most the episode being written, and the same command goes on from there.

Tasks:
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridle import sim
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
    tasks = "\n".join(f"  {sim.describe(name)}" for name in sim.TASKS)
    options = parse(Options, "collect", arguments, f"{__doc__}{tasks}")
    result = collect(options)
    low, high = result.success_interval
    print(
        f"{result.episodes} episodes, {result.steps} steps in {result.path} "
        f"({result.seconds:.0f} s); the expert succeeded in {result.success_rate:.1%} of "
        f"{result.attempts} (95 %: {low:.1%} to {high:.1%})"
    )
    if result.modes:
        print("ways taken: " + ", ".join(f"{mode} {n}" for mode, n in result.modes.items()))
    write_json(options.json, result)
