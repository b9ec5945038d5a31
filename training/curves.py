"""Learning curves as a picture."""

import json
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw_curves(metrics: Path, picture: Path) -> None:
    """Draw losses, and the success in simulation where there is any, from a `metrics.jsonl`."""
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    evaluated = [row for row in rows if row.get("success_rate") is not None]
    figure = Figure(figsize=(7, 6 if evaluated else 4), layout="constrained")
    FigureCanvasAgg(figure)
    loss, *below = figure.subplots(2 if evaluated else 1, sharex=True, squeeze=False)[:, 0]
    for name, label in (("loss", "training"), ("val_loss", "validation")):
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        if points:
            loss.plot(*zip(*points, strict=True), label=label)
    loss.set(ylabel="loss", yscale="log", title=picture.parent.name)
    loss.grid(alpha=0.3)
    loss.legend()
    for axes in below:
        _draw_success(axes, evaluated)
    figure.axes[-1].set_xlabel("step")
    figure.savefig(picture, dpi=120)


def _draw_success(axes: Any, rows: list[dict[str, Any]]) -> None:
    steps = [row["step"] for row in rows]
    axes.plot(steps, [row["success_rate"] for row in rows], marker="o", color="C2")
    low, high = zip(*(row["success_interval"] for row in rows), strict=True)
    axes.fill_between(steps, low, high, color="C2", alpha=0.2, label="95 %")
    axes.set(ylabel="success in simulation", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
