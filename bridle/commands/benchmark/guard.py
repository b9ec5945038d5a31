"""Measure what a tick of the guard takes, and whether it keeps memory.

`cage` is the tick that has most to do: 6 joints, at least 40 rows in the quadratic programme, of
which at least 12 are of parts that are near each other; `free` and `wall` are the shipped robot,
far from everything and sliding along a wall. Beside the cage, in the same run and in turn, one step
of mink's differential inverse kinematics in the same postures with the same pairs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.benchmark import machine
from bridle.deploy.guard.benchmarking import GuardBenchmark, Times, measure


@dataclass(frozen=True)
class Options:
    """Options of `bridle benchmark guard`."""

    seconds: float = 20.0
    """Of the robot's time in each scene [s], as fast as ticks run; 600 are 120 000 ticks."""
    json: Path | None = None
    """Write the result here; `median_ms`, `p99_ms` and `max_ms` are those of the cage."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Options, "benchmark guard", arguments, __doc__)
    with Progress() as progress:
        bar = progress.add_task("ticking", total=1.0)
        result = measure(options.seconds, lambda share: progress.update(bar, completed=share))
    _show(result)
    tick = asdict(result.cage.times)
    packages = ("mujoco", "ruckig", "daqp", "mink", "numpy")
    write_json(options.json, tick | asdict(result) | {"machine": machine(*packages)})
    return 0


def _show(result: GuardBenchmark) -> None:
    console, cage, memory = Console(), result.cage, result.memory
    table = Table(
        "scene",
        *(Column(head, justify="right") for head in ("median ms", "p99 ms", "max ms", "ticks")),
        title="a tick of the guard",
    )
    rows: dict[str, Times] = {"cage": cage.times, "free": result.free, "wall": result.wall}
    for name, times in (rows | {"mink, cage": cage.mink}).items():
        numbers = (times.median_ms, times.p99_ms, times.max_ms)
        table.add_row(name, *(f"{ms:.3f}" for ms in numbers), str(times.ticks))
    console.print(table)
    growth = memory.resident_growth_mb
    grown = "?" if growth is None else f"{growth:+.1f} MB"
    console.print(
        f"cage: {cage.joints} joints, {cage.rows[0]} to {cage.rows[1]} rows, {cage.pairs[0]} to "
        f"{cage.pairs[1]} pairs, {cage.share:.0%} of its ticks; {cage.ratio:.1f} times a step of "
        f"mink\nmemory over the second half of {memory.ticks} ticks: {grown}; "
        f"{memory.traced_growth_bytes_per_tick:.1f} bytes a tick in objects"
    )
