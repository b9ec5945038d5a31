"""Say what is in a demonstration set: its size, its keys with their ranges, its sentences."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.data import progress_bar
from bridle.training.demonstrations.summary import Summary, info


@dataclass(frozen=True)
class Options:
    """Options of `bridle data info`."""

    path: Positional[str]
    """Demonstration set: a zarr folder or a .zip of one; a path or a URL."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "data info", arguments, __doc__)
    with progress_bar() as progress:
        summary = info(options.path, progress)
    print(
        f"{summary.path}: {summary.episodes} episodes of {summary.shortest} to {summary.longest} "
        f"steps, {summary.steps} in all, {summary.bytes / 1e6:.1f} MB"
    )
    if summary.hours is not None:
        print(
            f"{summary.task} on {summary.robot} at {summary.control_rate:g} Hz, "
            f"{60 * summary.hours:.1f} min"
        )
    Console().print(_table(summary))
    for i, sentence in enumerate(summary.instructions):
        print(f"instruction {i}: {sentence}")
    if summary.episode_keys:
        columns = (f"{name} ({dtype})" for name, dtype in summary.episode_keys.items())
        print(f"for every episode: {', '.join(columns)}")
    if summary.source:
        print(f"source: {json.dumps(summary.source)}")
    for note in summary.notes:
        print(note)
    print(f"digest {summary.digest}")
    write_json(options.json, summary)


def _table(summary: Summary) -> Table:
    table = Table(
        Column("key", no_wrap=True), "shape", "dtype", "unit", "min", "max", "mean", "std"
    )
    for name, key in summary.keys.items():
        numbers = (key.minimum, key.maximum, key.mean, key.std)
        table.add_row(
            name,
            str(key.shape),
            key.dtype,
            key.unit or "?",
            *("" if x is None else f"{x:.4g}" for x in numbers),
        )
    return table
