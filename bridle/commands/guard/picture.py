"""The workspace of a robot as a picture."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bridle.deploy.guard.model import RobotModel
from bridle.deploy.guard.sampling import Samples
from bridle.deploy.robot import RobotDescription

Vector = NDArray[np.float64]

VIEWS = (("from the side", 0, 2), ("from above", 0, 1))
"""Title, and the axes to the right and upwards."""
FREE, NEAR, OUTSIDE, ROBOT, WALL = "#0072b2", "#d55e00", "#d5dade", "#1b1f24", "#009e73"
_ROOM = 0.15
_OUTLINE = 40


def draw_workspace(robot: RobotDescription, samples: Samples, path: Path) -> None:
    """Draw where the tool was in random postures, what limits it, and the robot in one of them."""
    assert robot.model is not None
    model = RobotModel(robot.model, len(robot.joints))
    model.place(samples.middle)
    figure = Figure(figsize=(12, 6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"{robot.name}: {samples.allowed.mean():.1%} of random postures keep all limits"
    )
    for axes, (title, x, y) in zip(figure.subplots(1, 2), VIEWS, strict=True):
        _points(axes, samples, x, y)
        _walls(axes, robot, samples, x, y)
        _robot(axes, model, x, y)
        axes.set(
            title=title,
            xlabel=f"{'xyz'[x]} [m]",
            ylabel=f"{'xyz'[y]} [m]",
            aspect="equal",
            xlim=_span(samples.tools[:, x]),
            ylim=_span(samples.tools[:, y]),
        )
        axes.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _span(values: Vector) -> tuple[float, float]:
    return float(values.min()) - _ROOM, float(values.max()) + _ROOM


def _points(axes: Any, samples: Samples, x: int, y: int) -> None:
    kinds = (
        (~samples.inside, OUTSIDE, "tool outside"),
        (samples.inside & ~samples.free, NEAR, "inside, but parts too near"),
        (samples.allowed, FREE, "allowed"),
    )
    for which, colour, label in kinds:
        tools = samples.tools[which]
        axes.scatter(tools[:, x], tools[:, y], s=5, color=colour, lw=0, label=label)


def _walls(axes: Any, robot: RobotDescription, samples: Samples, x: int, y: int) -> None:
    """The box, and the half-spaces that this view sees from their side, dashed if slanted."""
    label: str | None = "workspace"
    if (box := robot.workspace) is not None:
        spans = (box.x, box.y, box.z)
        (left, right), (low, high) = spans[x], spans[y]
        corners = np.array([(left, low), (right, low), (right, high), (left, high), (left, low)])
        axes.plot(*corners.T, color=WALL, lw=2, label=label)
        label = None
    centre = samples.tools.mean(axis=0)
    for half_space in robot.half_spaces:
        normal = np.array(half_space.normal)
        seen = normal[[x, y]]
        length = float(np.linalg.norm(seen))
        if length < 0.3:
            continue
        # Where the plane cuts the one of the picture, through the middle of what is reached.
        depth = 3 - x - y
        foot = (half_space.offset - normal[depth] * centre[depth]) * seen / length**2
        along = np.array([-seen[1], seen[0]]) / length
        ends = foot + np.array([[-5.0], [5.0]]) * along
        style = "-" if length > 0.999 else "--"
        axes.plot(*ends.T, color=WALL, lw=2, ls=style, label=label)
        label = None


def _robot(axes: Any, model: RobotModel, x: int, y: int) -> None:
    """The chain of its bodies, and the balls around its geoms, faintly."""
    compiled, data = model.model, model.data
    turn = np.linspace(0, 2 * np.pi, _OUTLINE)
    for geom in model.moving_geoms:
        centre, radius = data.geom_xpos[geom], compiled.geom_rbound[geom]
        axes.plot(
            centre[x] + radius * np.cos(turn),
            centre[y] + radius * np.sin(turn),
            color=ROBOT,
            lw=0.5,
            alpha=0.35,
        )
    chain = [*(data.xpos[body] for body in compiled.jnt_bodyid), model.tool]
    points = np.array(chain)[:, [x, y]]
    axes.plot(*points.T, color=ROBOT, lw=3, marker="o", ms=4, label="robot in one of them")
