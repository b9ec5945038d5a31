"""Measure training steps per second of U-Nets, beside a bare loop in the same run.

The bound is forward, backward and AdamW of the same network and loss on tensors in memory.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.benchmark import machine
from bridle.training.train_benchmark import TrainBenchmarkConfig, measure


@dataclass(frozen=True)
class Options(TrainBenchmarkConfig):
    """Options of `bridle benchmark train`."""

    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Options, "benchmark train", arguments, __doc__)
    names = [field.name for field in fields(TrainBenchmarkConfig)]
    result = measure(TrainBenchmarkConfig(**{name: getattr(options, name) for name in names}))
    table = Table(
        "U-Net",
        "weights",
        "batch",
        "steps/s",
        "bound/s",
        "fraction",
        caption=f"on {result.device}; {result.data_wait_share:.1%} of a step of the default policy "
        "is spent waiting for its windows",
    )
    for rate in result.rates:
        table.add_row(
            rate.size,
            f"{rate.parameters / 1e6:.1f} M",
            str(rate.batch),
            f"{rate.steps_per_second:.3g}",
            f"{rate.bound_steps_per_second:.3g}",
            f"{rate.fraction:.2f}",
        )
    Console().print(table)
    packages = ("torch", "accelerate", "numpy")
    write_json(options.json, asdict(result) | {"machine": machine(*packages)})
    return 0
