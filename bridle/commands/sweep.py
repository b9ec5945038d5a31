"""Train every seed with every combination of settings side by side, and compare their success.

Each run has a folder in --out, as `bridle train` writes it, and a log beside it. The same command
again skips what is finished and goes on with what was cut off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from bridle.cli import write_json
from bridle.commands import parse
from bridle.training.sweep import SettingResult, SweepConfig, sweep


@dataclass(frozen=True)
class Options(SweepConfig):
    """See `SweepConfig`."""

    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; status 1 if a run failed."""
    options = parse(Options, "sweep", arguments, __doc__)
    names = [field.name for field in fields(SweepConfig)]
    result = sweep(SweepConfig(**{name: getattr(options, name) for name in names}))
    console = Console()
    console.print(_table(result.settings))
    for cell in result.cells:
        if cell.status == "failed":
            console.print(f"failed: {cell.run}: {cell.error}", markup=False, soft_wrap=True)
    write_json(options.json, result)
    return 1 if result.failed else 0


def _table(settings: Sequence[SettingResult]) -> Table:
    table = Table(
        Column("settings", overflow="fold"), "seeds", "validation", "success", "95 %", "by seed"
    )
    for setting in settings:
        rate, interval = "-", "-"
        if setting.success_rate is not None and setting.success_interval is not None:
            rate = f"{setting.success_rate:.1%} of {setting.episodes}"
            interval = "{:.0%} to {:.0%}".format(*setting.success_interval)
        table.add_row(
            Text(" ".join(f"{name}={value}" for name, value in setting.varied.items()) or "-"),
            " ".join(map(str, setting.seeds)) or "none",
            "-" if setting.val_loss is None else f"{setting.val_loss:.4f}",
            rate,
            interval,
            " ".join(f"{share:.0%}" for share in setting.success_by_seed) or "-",
        )
    return table
