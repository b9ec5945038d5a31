"""Look at a demonstration set.

bridle data info PATH        what is in it
bridle data validate PATH    every kind of damage, by file, key, row and episode
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.training.demonstrations import DemonstrationError
from bridle.training.summary import info
from bridle.training.validation import validate


@dataclass(frozen=True)
class Options:
    """Options of `bridle data`."""

    path: Positional[Path]
    """Demonstration set: a zarr folder or a .zip of one."""
    json: Path | None = None
    """Write the result here."""


def _info(options: Options) -> int:
    summary = info(options.path)
    console = Console()
    console.print(
        f"{summary.path}: {summary.episodes} episodes of {summary.shortest} to {summary.longest} "
        f"steps, {summary.steps} in all, {summary.bytes / 1e6:.1f} MB",
        highlight=False,
    )
    if summary.hours is not None:
        console.print(
            f"{summary.task} on {summary.robot} at {summary.control_rate:g} Hz, "
            f"{60 * summary.hours:.1f} min",
            highlight=False,
        )
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
    console.print(table)
    for i, sentence in enumerate(summary.instructions):
        console.print(f"instruction {i}: {sentence}", highlight=False)
    for note in summary.notes:
        console.print(note, highlight=False)
    console.print(f"digest {summary.digest}", highlight=False)
    write_json(options.json, summary)
    return 0


def _validate(options: Options) -> int:
    problems = validate(options.path)
    for problem in problems:
        print(f"{options.path}: {problem}")
    errors = sum(problem.severity == "error" for problem in problems)
    print(f"{options.path}: {errors} errors" if errors else f"{options.path}: valid")
    write_json(options.json, {"errors": errors, "problems": [asdict(p) for p in problems]})
    return 1 if errors else 0


ACTIONS = {"info": _info, "validate": _validate}


def main(arguments: Sequence[str]) -> int:
    """Run the command; exit status 1 when `validate` finds damage."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    action, *rest = arguments
    if action not in ACTIONS:
        raise DemonstrationError(
            f"bridle data knows {', '.join(ACTIONS)}, not {action!r}; bridle data --help"
        )
    return ACTIONS[action](parse(Options, f"data {action}", rest, ACTIONS[action].__doc__))
