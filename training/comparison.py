"""Runs side by side: what they are, how far they were trained, and how well they do."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bridle.training import runs
from bridle.training.exceptions import TrainingError
from bridle.training.outcomes import EVALUATION, Evaluation, load
from bridle.training.structure import to_plain

SHOWN_ANYWAY = ("data", "generator", "network", "steps")
"""Settings that have a column of their own, or say where something lies."""


@dataclass(frozen=True)
class RunSummary:
    """One run of a comparison."""

    run: str
    """Its folder."""
    task: str
    """What it was evaluated on, or else trained on."""
    generator: str
    network: str
    differs: dict[str, Any]
    """The settings in which the runs of the comparison differ."""
    steps: int
    """Optimiser steps so far."""
    planned_steps: int
    """Those it shall have."""
    parameters: int | None
    """None where the run is not finished, as of seconds."""
    seconds: float | None
    """Time of training, or of its last part where it was cut off [s]."""
    val_loss: float | None
    """Last validation loss: comparable only between runs with one generator and one data set."""
    evaluation: Evaluation | None
    """None where the run was not evaluated."""


@dataclass(frozen=True)
class Comparison:
    """Runs, those of one task together, the most successful first and the not evaluated last."""

    runs: tuple[RunSummary, ...]


def compare(folders: Sequence[Path]) -> Comparison:
    """Read what runs left behind.

    Raises:
        TrainingError: there is no folder, one is not a run, or a file in it is damaged.
    """
    if not folders:
        raise TrainingError("give at least one run")
    configs = [runs.read_config(folder) for folder in folders]
    settings = [config.train for config in configs]
    names = dict.fromkeys(name for each in settings for name in each if name not in SHOWN_ANYWAY)
    different = [n for n in names if any(each.get(n) != settings[0].get(n) for each in settings)]
    summaries = [
        _summary(folder, config, {name: config.train.get(name) for name in different})
        for folder, config in zip(folders, configs, strict=True)
    ]
    return Comparison(tuple(sorted(summaries, key=_order)))


def _summary(folder: Path, config: runs.RunConfig, differs: dict[str, Any]) -> RunSummary:
    rows = read_metrics(folder)
    last = rows[-1] if rows else {}
    result = _read_json(folder / runs.RESULT) if (folder / runs.RESULT).is_file() else {}
    evaluation = load(folder / EVALUATION) if (folder / EVALUATION).is_file() else None
    return RunSummary(
        run=str(folder),
        task=config.data.task if evaluation is None else evaluation.task,
        generator=to_plain("generator", config.policy.generator)["kind"],
        network=to_plain("network", config.policy.network)["kind"],
        differs=differs,
        steps=int(last.get("step", 0)),
        planned_steps=int(config.train["steps"]),
        parameters=result.get("parameters"),
        seconds=result.get("seconds"),
        val_loss=last.get("val_loss"),
        evaluation=evaluation,
    )


def _order(summary: RunSummary) -> tuple[str, float, str]:
    rate = -1.0 if summary.evaluation is None else summary.evaluation.success_rate
    return summary.task, -rate, summary.run


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; one that a kill cut short is left out."""
    rows: list[dict[str, Any]] = []
    path = folder / runs.METRICS
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise TrainingError(f"{path} holds no result of a training run")
    return content


def draw(comparison: Comparison, picture: Path) -> None:
    """Draw success with its intervals, and the learning curves, each run in its own colour."""
    summaries = comparison.runs
    figure = Figure(figsize=(12, max(3.5, 1.2 + 0.45 * len(summaries))), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for place, summary in enumerate(summaries):
        colour, found = f"C{place % 10}", summary.evaluation
        if found is None:
            left.text(0.02, place, "not evaluated", va="center", color="grey")
        else:
            low, high = found.success_interval
            rate = found.success_rate
            errors = [[rate - low], [high - rate]]
            left.errorbar(rate, place, xerr=errors, fmt="o", color=colour, capsize=4)
        rows = read_metrics(Path(summary.run))
        name = "val_loss" if any(row.get("val_loss") is not None for row in rows) else "loss"
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        if points:
            style = "-" if name == "val_loss" else "--"
            right.plot(*zip(*points, strict=True), style, color=colour, label=summary.run)
    labels = [f"{summary.run}\n{summary.task}" for summary in summaries]
    left.set_yticks(range(len(summaries)), labels, fontsize=8)
    left.set(xlim=(0, 1.02), ylim=(len(summaries) - 0.5, -0.5), xlabel="success, 95 % interval")
    left.grid(axis="x", alpha=0.3)
    right.set(xlabel="step", ylabel="validation loss (dashed: training loss)", yscale="log")
    right.grid(alpha=0.3)
    if right.lines:
        right.legend(fontsize=8)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=120)
