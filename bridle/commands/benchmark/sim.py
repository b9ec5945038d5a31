"""Measure steps and pictures per second of our own tasks, beside bare C in the same run.

The bound is `mujoco.rollout`: the same physics from the same states under the same commands of an
expert, without observations, rewards or Python.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Column, Table
from tyro.conf import UseAppendAction

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.benchmark import machine
from bridle.sim.benchmark import SimBenchmarkConfig, StepRate, TaskBenchmark, measure, require_own
from bridle.sim.tasks import TASKS


@dataclass(frozen=True)
class Options(SimBenchmarkConfig):
    """Options of `bridle benchmark sim`."""

    task: UseAppendAction[tuple[str, ...]] = ()
    """Task to measure; may be given several times. All of our own by default."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Options, "benchmark sim", arguments, __doc__)
    names = [field.name for field in fields(SimBenchmarkConfig)]
    config = SimBenchmarkConfig(**{name: getattr(options, name) for name in names})
    wanted = options.task or tuple(TASKS)
    for task in wanted:
        require_own(task)
    tasks = {task: measure(task, config) for task in track(wanted, description="measuring")}
    Console().print(_table(tasks))
    drawn = {task: t.render_fps_96 for task, t in tasks.items() if t.render_fps_96 is not None}
    write_json(
        options.json,
        {
            "tasks": {task: asdict(measured) for task, measured in tasks.items()},
            "step_fraction": min(t.step_fraction for t in tasks.values()),
            "render_fps_96": min(drawn.values(), default=None),
            "render_fps_96_by_task": drawn,
            "config": asdict(config),
            "machine": machine("mujoco", "numpy", "gymnasium"),
        },
    )
    return 0


def _table(tasks: dict[str, TaskBenchmark]) -> Table:
    table = Table(
        Column("task", no_wrap=True),
        "one",
        "batch x1",
        "batch x2",
        "C x1",
        "C x2",
        "fps",
        caption="steps per second on 1 and 2 threads (as a fraction of C, mujoco.rollout with as "
        "many); 96 x 96 pictures per second",
    )
    for task, measured in tasks.items():
        one, two = measured.batched_1_thread, measured.batched_2_threads
        table.add_row(
            task,
            *map(_cell, (measured.single, one, two)),
            *(f"{rate.bound_steps_per_second:,.0f}" for rate in (one, two)),
            "-" if measured.render_fps_96 is None else f"{measured.render_fps_96:,.0f}",
        )
    return table


def _cell(rate: StepRate) -> str:
    return f"{rate.steps_per_second:,.0f} ({rate.step_fraction:.2f})"
