"""Matplotlib figures laid out in inches, all in one style."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bridle.training.viewing import palette
from bridle.training.viewing.drawing import font, plain

WIDTH, DPI = 13.0, 110
"""Inches, and pixels of one."""
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    # Text comes from the set, and a dollar sign in it is one.
    "text.parse_math": False,
    "text.color": palette.INK,
    "axes.edgecolor": palette.FAINT,
    "axes.labelcolor": palette.MUTED,
    "axes.facecolor": palette.PANEL,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": palette.PAPER,
    "grid.linewidth": 1.0,
    "xtick.color": palette.MUTED,
    "ytick.color": palette.MUTED,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "axes.unicode_minus": True,
}


def text_width(text: str, points: float, *, bold: bool = False) -> float:
    """Width of a text on a page [in]."""
    return font(100, bold).getlength(plain(text)) / 100 * points / 72


class Page:
    """A figure that grows downwards; places are inches from its upper left corner."""

    def __init__(self, height: float, width: float = WIDTH) -> None:
        """Start an empty page."""
        self.width, self.height = width, height
        self.figure: Any = Figure(figsize=(width, height), dpi=DPI, facecolor=palette.PAPER)
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float, **options: Any) -> Any:
        """Axes whose upper left corner of the plotted area is there."""
        axes = self.figure.add_axes(
            (
                left / self.width,
                1 - (top + height) / self.height,
                width / self.width,
                height / self.height,
            ),
            **options,
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        return axes

    def text(self, left: float, top: float, text: str, **options: Any) -> None:
        """Text whose upper left corner is there."""
        self.figure.text(
            left / self.width, 1 - top / self.height, text, va="top", ha="left", **options
        )

    def save(self, path: Path) -> None:
        """Write the page as PNG."""
        with warnings.catch_warnings():
            # Writing systems that the font lacks are drawn as boxes; index.html has the words.
            warnings.filterwarnings("ignore", message=".*Glyph.*")
            self.figure.savefig(path, dpi=DPI)


@contextmanager
def style() -> Iterator[None]:
    """Everything drawn within has the style."""
    with matplotlib.rc_context(_STYLE):
        yield
