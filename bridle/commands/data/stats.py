"""Measure a demonstration set: per channel, as a policy's normaliser sees it, and per episode."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.data import progress_bar
from bridle.training.demonstrations.statistics import Statistics, statistics


@dataclass(frozen=True)
class Options:
    """Options of `bridle data stats`."""

    path: Positional[str]
    """Demonstration set: a zarr folder or a .zip of one; a path or a URL."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "data stats", arguments, __doc__)
    with progress_bar() as progress:
        result = statistics(options.path, progress)
    Console().print(_table(result))
    for key, its in result.keys.items():
        if its.quantiles_from < result.steps:
            print(f"{key}: quantiles of {its.quantiles_from} of {result.steps} steps")
    if result.episode_lengths:
        low, middle, high = np.quantile(result.episode_lengths, (0, 0.5, 1))
        print(
            f"{len(result.episode_lengths)} episodes of {low:.0f} to {high:.0f} steps, "
            f"half of them up to {middle:.0f}"
        )
    for key, counts in result.instructions.items():
        for sentence, steps in counts.items():
            print(f"{key}: {steps} steps: {sentence}")
    if result.intervention_steps is not None and result.intervention_episodes is not None:
        print(
            f"a person chose {result.intervention_steps:.1%} of the actions, "
            f"in {result.intervention_episodes:.1%} of the episodes"
        )
    print(f"digest {result.digest}")
    write_json(options.json, result)


def _table(result: Statistics) -> Table:
    names = ("key", "unit", "min", "1 %", "50 %", "99 %", "max", "mean", "std")
    table = Table(*names, box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for key, its in result.keys.items():
        columns = (its.minimum, its.q01, its.q50, its.q99, its.maximum, its.mean, its.std)
        for channel in range(len(its.mean)):
            name = f"{key}[{channel}]" if len(its.mean) > 1 else key
            numbers = (column[channel] for column in columns)
            table.add_row(
                name, its.unit or "?", *("" if x is None else f"{x:.3g}" for x in numbers)
            )
    return table
