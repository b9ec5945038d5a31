"""Make the tables of docs/results.md: collect, train and evaluate every cell.

Cells run side by side, each with one thread. Finished ones are skipped, and ones that were cut off
go on where they were: give the same command again. The tables and their pictures are drawn from the
small result files alone.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bridle.cli import write_json
from bridle.commands import parse
from bridle.training.reproduction import (
    Cell,
    cells_of,
    make_results,
    read_result,
    read_specification,
)
from bridle.training.results_page import draw_page


@dataclass(frozen=True)
class Options:
    """Options of `bridle reproduce results`."""

    work: Path = Path("results")
    """Folder of demonstration sets and runs."""
    results: Path = Path("docs/results")
    """Folder of the result files."""
    page: Path = Path("docs/results.md")
    """Page whose tables are drawn anew, if it is there."""
    only: tuple[str, ...] = ()
    """Cells to make, as patterns: generators/push-*."""
    jobs: int = max(1, os.cpu_count() or 1)
    """Cells at once."""
    list: bool = False
    """Say what there is and what is finished, and make nothing."""
    json: Path | None = None
    """Write all results here."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Options, "reproduce results", arguments, __doc__)
    specification = read_specification()
    cells = cells_of(specification, options.only)
    console = Console()

    def say(cell: Cell, result: dict[str, Any]) -> None:
        rows = ", ".join(
            f"{row} {e['successes']} of {e['episodes']}" for row, e in result["rows"].items()
        )
        console.print(f"{cell.name}: {rows}", highlight=False, soft_wrap=True)

    made = {cell.name: read_result(cell, options.results) for cell in cells}
    for cell in cells:
        if (result := made[cell.name]) is not None:
            say(cell, result)
        elif options.list:
            console.print(f"{cell.name}: not made", highlight=False)
    failures = 0
    if not options.list:
        for failure in make_results(
            cells, options.work, options.results, jobs=options.jobs, report=say
        ):
            console.print(failure, style="red", highlight=False, soft_wrap=True)
            failures += 1
        if options.page.is_file():
            draw_page(specification, options.results, options.page)
    write_json(options.json, {c.name: read_result(c, options.results) for c in cells})
    return 1 if failures else 0
