"""Compare training runs: a table, a picture of success and learning curves, and a result file.

Runs of one task stand together, the most successful first. A run that `bridle evaluate` has not
seen is listed without a success.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.training.comparison import Comparison, RunSummary, compare, draw


@dataclass(frozen=True)
class Options:
    """Options of `bridle compare`."""

    runs: Positional[tuple[Path, ...]]
    """Run folders."""
    plot: Path = Path("comparison.png")
    """Draw success with its intervals and the learning curves here."""
    json: Path | None = None
    """Write the result here."""


def _policy(summary: RunSummary) -> str:
    lines = [f"{summary.generator} {summary.network}"]
    for name, value in summary.differs.items():
        words = " ".join(map(str, value)) if isinstance(value, list | tuple) else value
        lines.append(f"{name} {words}".rstrip())
    return "\n".join(lines)


def _training(summary: RunSummary) -> str:
    steps = f"{summary.steps:,} steps"
    if summary.steps < summary.planned_steps:
        steps = f"{summary.steps:,} of {summary.planned_steps:,} steps"
    lines = [steps if summary.seconds is None else f"{steps}, {summary.seconds:,.0f} s"]
    if summary.parameters is not None:
        lines.append(f"{summary.parameters:,} parameters")
    if summary.val_loss is not None:
        lines.append(f"validation loss {summary.val_loss:.4f}")
    return "\n".join(lines)


def _success(summary: RunSummary) -> str:
    found = summary.evaluation
    if found is None:
        return "not evaluated"
    low, high = found.success_interval
    lines = [f"{found.successes}/{found.episodes}, {found.success_rate:.0%}"]
    lines[0] += f" ({low:.0%} to {high:.0%})"
    return "\n".join(lines + [f"{m.name} {m.successes}/{m.episodes}" for m in found.by_mode])


def show(comparison: Comparison) -> None:
    """Print a table for each task."""
    console = Console()
    for task, summaries in groupby(comparison.runs, lambda summary: summary.task):
        table = Table(
            Column("run", overflow="fold"),
            Column("policy", overflow="fold"),
            Column("training", no_wrap=True),
            Column("success (95 %)", no_wrap=True),
            title=task,
            show_lines=True,
        )
        for s in summaries:
            table.add_row(s.run, _policy(s), _training(s), _success(s))
        console.print(table)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "compare", arguments, __doc__)
    comparison = compare(options.runs)
    show(comparison)
    draw(comparison, options.plot)
    print(f"picture: {options.plot}")
    write_json(options.json, comparison)
