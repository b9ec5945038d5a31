"""Learning curves as a picture."""

import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw_curves(metrics: Path, picture: Path) -> None:
    """Draw training and validation loss over steps from a `metrics.jsonl`."""
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, label in (("loss", "training"), ("val_loss", "validation")):
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), label=label)
    axes.set(xlabel="step", ylabel="loss", yscale="log", title=picture.parent.name)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=120)
