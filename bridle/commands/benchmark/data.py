"""Measure how fast windows of demonstrations are gathered, beside bare numpy in the same run.

The bound is plain indexing of the same arrays with the same row numbers, worked out before.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.benchmark import machine
from bridle.training.benchmark import DataBenchmarkConfig, measure


@dataclass(frozen=True)
class Options(DataBenchmarkConfig):
    """Options of `bridle benchmark data`."""

    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Options, "benchmark data", arguments, __doc__)
    names = [field.name for field in fields(DataBenchmarkConfig)]
    result = measure(DataBenchmarkConfig(**{name: getattr(options, name) for name in names}))
    table = Table("set", "MB", "windows/s", "bound/s", "fraction")
    for name in ("state", "images", "memmap"):
        rate = getattr(result, name)
        table.add_row(
            name,
            f"{rate.megabytes:.0f}",
            f"{rate.windows_per_second:,.0f}",
            f"{rate.bound_windows_per_second:,.0f}",
            f"{rate.fraction:.2f}",
        )
    Console().print(table)
    write_json(options.json, asdict(result) | {"machine": machine("numpy")})
    return 0
