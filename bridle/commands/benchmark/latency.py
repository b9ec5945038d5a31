"""Measure how long a chunk takes, from an observation to joint targets.

`infer` is what the robot runs, checks and all; beside it, in the same run and in turn, the bare
ONNX Runtime session of the same graph, OpenVINO if it is installed, PyTorch, and the floor: the
floating point operations of a chunk at the speed of large matrix products. Under it, what serving
the policy costs a process that does nothing else.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.benchmark import machine
from bridle.deploy.export.latency_benchmark import (
    LatencyBenchmark,
    LatencyBenchmarkConfig,
    measure,
)


@dataclass(frozen=True)
class Options(LatencyBenchmarkConfig):
    """Options of `bridle benchmark latency`."""

    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Options, "benchmark latency", arguments, __doc__)
    names = [field.name for field in fields(LatencyBenchmarkConfig)]
    result = measure(LatencyBenchmarkConfig(**{name: getattr(options, name) for name in names}))
    console = Console()
    console.print(_latencies(result))
    console.print(_robot_side(result))
    packages = ("torch", "onnxruntime", "openvino", "numpy")
    write_json(options.json, asdict(result) | {"machine": machine(*packages)})
    return 0


def _latencies(result: LatencyBenchmark) -> Table:
    table = _table(
        "model",
        "backend",
        "median",
        "p99",
        "x torch",
        "x floor",
        texts=2,
        caption="ms; x torch: how often as fast as PyTorch; x floor: how often as long as the "
        f"floor, at {result.sgemm_gflops:.0f} GFLOP/s",
    )
    for _, group in groupby(result.rows, key=lambda row: row.model):
        rows = list(group)
        torch_ms = next(row.median_ms for row in rows if row.backend == "torch")
        titles = [rows[0].model, f"{rows[0].parameters / 1e6:.1f} M weights"]
        for i, row in enumerate(rows):
            table.add_row(
                titles[i] if i < len(titles) else "",
                row.backend,
                f"{row.median_ms:.3g}",
                f"{row.p99_ms:.3g}",
                f"{torch_ms / row.median_ms:.1f}",
                f"{row.median_ms / row.floor_ms:.1f}",
                end_section=i == len(rows) - 1,
            )
    return table


def _robot_side(result: LatencyBenchmark) -> Table:
    table = _table(
        "model",
        "import",
        "load",
        "first chunk",
        "memory",
        "peak",
        texts=1,
        caption="s, ms, MB of a process that does nothing but serve the policy",
    )
    for model, cost in result.robot_side.items():
        table.add_row(
            model,
            f"{cost.import_seconds:.2f}",
            f"{cost.load_seconds:.2f}",
            f"{1e3 * cost.first_chunk_seconds:.1f}",
            *("?" if mb is None else f"{mb:.0f}" for mb in (cost.resident_mb, cost.peak_mb)),
        )
    return table


def _table(*heads: str, texts: int, caption: str) -> Table:
    """Made for 80 columns. The first `texts` columns are texts, the others numbers."""
    columns = (
        Column(head, justify="left" if i < texts else "right", no_wrap=True)
        for i, head in enumerate(heads)
    )
    return Table(*columns, caption=caption)
