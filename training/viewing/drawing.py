"""Drawing straight into pictures: text that fits, smooth lines, the bar of phases."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bridle.training.viewing import palette
from bridle.training.viewing.reading import Run

Point = tuple[float, float]
SMOOTH = 3
"""Lines are drawn this much larger and scaled down."""


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    # The other layout engine refuses some texts, and is not there on every machine.
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)


def plain(text: str) -> str:
    """Text in one line, without what cannot be printed."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def fit(text: str, face: ImageFont.FreeTypeFont, width: float) -> str:
    """As much of a text as fits into a width, with an ellipsis for the rest."""
    text = plain(text)[:400]
    if face.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if face.getlength(text[:middle].rstrip() + "…") <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"


def wrap(text: str, face: ImageFont.FreeTypeFont, width: float, lines: int) -> list[str]:
    """A text in at most so many lines of a width; the last one is shortened."""
    words, found = plain(text)[:1000].split(), list[str]()
    while words and len(found) < lines - 1:
        taken = 1
        while taken < len(words) and face.getlength(" ".join(words[: taken + 1])) <= width:
            taken += 1
        found.append(fit(" ".join(words[:taken]), face, width))
        words = words[taken:]
    return [*found, fit(" ".join(words), face, width)] if words else found


class Panel:
    """A rectangle to draw smooth shapes on; coordinates are pixels of the finished picture."""

    def __init__(self, width: int, height: int, background: str = palette.PAPER) -> None:
        self.width, self.height = width, height
        self.image = Image.new("RGB", (width * SMOOTH, height * SMOOTH), background)
        self._draw = ImageDraw.Draw(self.image)

    def line(
        self, points: Sequence[Point] | NDArray[np.float64], colour: str, width: float
    ) -> None:
        """A line through points, with round joints and ends."""
        scaled = [(x * SMOOTH, y * SMOOTH) for x, y in points]
        thick = max(1, round(width * SMOOTH))
        if len(scaled) > 1:
            self._draw.line(scaled, colour, thick, joint="curve")
        for end in (scaled[0], scaled[-1]) if thick > 2 else ():
            self._dot(end, thick / 2, colour)

    def dot(self, at: Point, radius: float, colour: str, rim: str | None = None) -> None:
        """A filled circle, with a rim of another colour."""
        place = at[0] * SMOOTH, at[1] * SMOOTH
        if rim is not None:
            self._dot(place, (radius + 1.2) * SMOOTH, rim)
        self._dot(place, radius * SMOOTH, colour)

    def _dot(self, at: Point, radius: float, colour: str) -> None:
        x, y = at
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)

    def square(self, at: Point, radius: float, colour: str, rim: str) -> None:
        """A filled square with a rim."""
        for size, fill in ((radius + 1.2, rim), (radius, colour)):
            x, y = at
            self.box((x - size, y - size, x + size, y + size), fill)

    def triangle(self, at: Point, radius: float, colour: str, rim: str, *, up: bool) -> None:
        """A filled triangle with a rim."""
        sign = 1 if up else -1
        for size, fill in ((radius + 2.4, rim), (radius, colour)):
            x, y = at
            corners = [(x, y - sign * size), (x - size, y + sign * size * 0.75),
                       (x + size, y + sign * size * 0.75)]  # fmt: skip
            self._draw.polygon([(a * SMOOTH, b * SMOOTH) for a, b in corners], fill)

    def box(self, box: tuple[float, float, float, float], fill: str) -> None:
        """A filled rectangle: left, top, right, bottom."""
        self._draw.rectangle([round(side * SMOOTH) for side in box], fill)

    def copy(self) -> "Panel":
        """The same again, to draw on."""
        panel = Panel(1, 1)
        panel.width, panel.height = self.width, self.height
        panel.image = self.image.copy()
        panel._draw = ImageDraw.Draw(panel.image)
        return panel

    def finished(self) -> Image.Image:
        """The picture."""
        return self.image.reduce(SMOOTH)


def phase_bar(
    image: Image.Image,
    box: tuple[int, int, int, int],
    runs: Sequence[Run],
    interventions: NDArray[np.bool_],
    colours: dict[int, str],
) -> None:
    """The phases of an episode from left to right; above them, where a person intervened."""
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = box
    length = len(interventions)
    draw.rectangle((left, top, right - 1, bottom - 1), palette.FAINT)

    def x(step: int) -> int:
        return left + round((right - left) * step / length)

    for run in runs:
        if x(run.stop) > x(run.start):
            draw.rectangle((x(run.start), top, x(run.stop) - 1, bottom - 1), colours[run.phase])
    for start, stop in stretches(interventions):
        end = max(x(start) + 1, x(stop) - 1)
        draw.rectangle((x(start), top - 4, end, top - 2), palette.INTERVENTION)


def stretches(marked: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where it is true: start and end (exclusive) of each stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def legend(entries: Sequence[tuple[str, str]], width: int, size: int = 12) -> Image.Image:
    """Colours with their words, in as many rows as the width needs."""
    face, line, gap = font(size), size + 9, 22
    places: list[tuple[int, int, str, str]] = []
    x = y = 0
    for colour, words in entries:
        words = fit(words, face, min(width - 20, 340))
        needed = 18 + round(face.getlength(words))
        if x and x + needed > width:
            x, y = 0, y + line
        places.append((x, y, colour, words))
        x += needed + gap
    image = Image.new("RGB", (width, y + line), palette.PAPER)
    draw = ImageDraw.Draw(image)
    for x, y, colour, words in places:
        middle = y + line // 2
        draw.rectangle((x, middle - 5, x + 11, middle + 5), colour)
        draw.text((x + 18, middle), words, palette.INK, face, anchor="lm")
    return image
