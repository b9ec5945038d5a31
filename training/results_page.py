"""`docs/results.md` and its pictures, drawn from the result files alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bridle.training.exceptions import TrainingError
from bridle.training.outcomes import wilson_interval
from bridle.training.reproduction import Cell, Specification, TableSpec, cells_of, read_result

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
"""What stands between these lines of the page is drawn; the rest is prose."""

Results = dict[tuple[str, str], list[dict[str, Any]]]


def _gather(cells: Sequence[Cell], results: Path) -> Results:
    """(row, set) -> what each seed gave."""
    found: Results = {}
    for cell in cells:
        result = read_result(cell, results)
        for row in cell.rows:
            place = found.setdefault((row, cell.set), [])
            if result is not None:
                place.append(result | {"evaluation": result["rows"][row]})
    return found


def _counts(results: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Successes and episodes over all seeds."""
    evaluations = [result["evaluation"] for result in results]
    return sum(e["successes"] for e in evaluations), sum(e["episodes"] for e in evaluations)


def _entry(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return "not made"
    successes, episodes = _counts(results)
    low, high = wilson_interval(successes, episodes)
    seeds = ""
    if len(results) > 1:
        each = ", ".join(str(r["evaluation"]["successes"]) for r in results)
        seeds = f"<br>seeds: {each}"
    rate = 100 * successes / episodes
    return f"**{rate:.3g}**<br>{100 * low:.0f}-{100 * high:.0f}{seeds}"


def _table(spec: TableSpec, rows: Sequence[str], found: Results) -> str:
    lines = [f"| | {' | '.join(spec.sets)} |", f"|---|{'---|' * len(spec.sets)}"]
    for row in rows:
        entries = (_entry(found.get((row, column), [])) for column in spec.sets)
        lines.append(f"| {row} | {' | '.join(entries)} |")
    return "\n".join(lines)


def _costs(rows: Sequence[str], found: Results) -> str:
    """What each row took to train, over its cells."""
    lines = [
        "| | parameters | steps | CPU-minutes of training, most | wall minutes with evaluation |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        made = [result for (name, _), results in found.items() if name == row for result in results]
        if not made:
            continue
        cpu = [r["train_cpu_seconds"] / 60 for r in made if r["train_cpu_seconds"] is not None]
        wall = [r["wall_seconds"] / 60 for r in made]
        parameters = sorted({f"{r['parameters'] / 1e6:.2f} M" for r in made})
        steps = sorted({r["steps"] for r in made})
        lines.append(
            f"| {row} | {', '.join(parameters)} | {', '.join(map(str, steps))} | "
            f"{max(cpu, default=float('nan')):.1f} | {np.mean(wall):.1f} on average |"
        )
    return "\n".join(lines)


def _draw(spec: TableSpec, rows: Sequence[str], found: Results, path: Path) -> None:
    figure = Figure(figsize=(max(6.0, 2.2 * len(spec.sets)), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 0.8 / len(rows)
    for i, row in enumerate(rows):
        # A bar of no width, so that the legend names every row, also one without results.
        axes.bar(0, 0, 0, color=f"C{i}", label=row)
        for j, column in enumerate(spec.sets):
            results = found.get((row, column), [])
            if not results:
                continue
            successes, episodes = _counts(results)
            low, high = wilson_interval(successes, episodes)
            rate = successes / episodes
            axes.bar(
                j + (i - (len(rows) - 1) / 2) * width,
                100 * rate,
                width,
                color=f"C{i}",
                yerr=[[100 * (rate - low)], [100 * (high - rate)]],
                error_kw={"elinewidth": 0.8},
            )
    axes.set_xticks(range(len(spec.sets)), spec.sets)
    axes.set_xlim(-0.5, len(spec.sets) - 0.5)
    axes.set(ylabel="success [%]", ylim=(0, 104), title=spec.title)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def draw_page(specification: Specification, results: Path, page: Path) -> None:
    """Draw every table anew, between the page's two marks.

    Raises:
        TrainingError: the page does not have the marks.
    """
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise TrainingError(f"{page}: the lines {BEGIN} and {END} must mark where tables go")
    sections = []
    for name, spec in specification.tables.items():
        found = _gather([c for c in cells_of(specification) if c.table == name], results)
        rows = [row for policy in spec.policies for row in specification.policies[policy].rows]
        picture = page.parent / "pictures" / f"results-{name}.png"
        _draw(spec, rows, found, picture)
        sections.append(
            "\n\n".join(
                [
                    f"## {spec.title}",
                    _table(spec, rows, found),
                    f"![{spec.title}](pictures/{picture.name})",
                    _costs(rows, found),
                ]
            )
        )
    body = "\n\n".join(sections)
    partial = page.with_suffix(".partial")
    partial.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}")
    partial.replace(page)
