"""Measure how long a chunk takes, from an observation to joint targets.

`infer` is what the robot runs, checks and all; beside it, in the same run and in turn, the bare
ONNX Runtime session of the same graph, OpenVINO if it is installed, PyTorch, and the floor: the
floating point operations of a chunk at the speed of large matrix products.
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
from bridle.deploy.export.latency_benchmark import LatencyBenchmarkConfig, measure


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
    heads = ("model", "weights", "backend", "median ms", "p99 ms", "x PyTorch", "x floor")
    table = Table(
        *(
            Column(head, justify="left" if i in (0, 2) else "right", no_wrap=True)
            for i, head in enumerate(heads)
        ),
        caption=f"x PyTorch: how often as fast; x floor: how often as long, at "
        f"{result.sgemm_gflops:.0f} GFLOP/s of large matrix products",
    )
    for _, group in groupby(result.rows, key=lambda row: row.model):
        rows = list(group)
        torch_ms = next(row.median_ms for row in rows if row.backend == "torch")
        for i, row in enumerate(rows):
            table.add_row(
                row.model if i == 0 else "",
                f"{row.parameters / 1e6:.1f} M" if i == 0 else "",
                row.backend,
                f"{row.median_ms:.3g}",
                f"{row.p99_ms:.3g}",
                f"{torch_ms / row.median_ms:.1f}",
                f"{row.median_ms / row.floor_ms:.1f}",
                end_section=i == len(rows) - 1,
            )
    Console().print(table)
    packages = ("torch", "onnxruntime", "openvino", "numpy")
    write_json(options.json, asdict(result) | {"machine": machine(*packages)})
    return 0
