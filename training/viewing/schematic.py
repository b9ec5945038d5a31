"""The way of the tool from above and from the side, drawn from numbers alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bridle.training.viewing import palette
from bridle.training.viewing.drawing import Panel, Point, font, stretches
from bridle.training.viewing.keys import Key
from bridle.training.viewing.reading import Reader, Run

Box = tuple[int, int, int, int]
_STEPS = (1.0, 2.0, 5.0)
_LEAST = 0.05
"""Least extent of a view [m], so that a tool at rest has one."""
_LEFT, _RIGHT, _TOP, _GAP, _BOTTOM = 44, 10, 20, 24, 30
_WIDTHS = 270, 900
MOST_POINTS = 4000


@dataclass(frozen=True)
class Path3:
    """The way of the tool in one episode."""

    points: NDArray[np.float64]
    """Positions (T, 3) [m]."""
    runs: tuple[Run, ...]
    interventions: NDArray[np.bool_]
    closes: list[int]
    """Steps at which the gripper has closed."""
    opens: list[int]

    @property
    def marks(self) -> list[tuple[int, bool]]:
        """Steps of the gripper, in order, and whether it closes."""
        return sorted([(s, True) for s in self.closes] + [(s, False) for s in self.opens])


def path_of(reader: Reader, key: Key, episode: int) -> Path3:
    """Read it; what is not finite is taken from the step before.

    Raises:
        DemonstrationError: a chunk cannot be decoded.
    """
    blocks = [rows[:, :3].astype(np.float64) for _, rows in reader.blocks(key.name, episode)]
    points = np.concatenate(blocks)
    good = np.isfinite(points).all(axis=1)
    if good.any():
        last = np.maximum.accumulate(np.where(good, np.arange(len(points)), good.argmax()))
        points = points[last]
    else:
        points = np.zeros_like(points)
    closes, opens = reader.gripper_changes(episode)
    return Path3(points, reader.phases(episode), reader.interventions(episode), closes, opens)


@dataclass(frozen=True)
class Views:
    """Top view (x to the right, y up) above the side view (x to the right, z up), to one scale."""

    width: int
    height: int
    scale: float
    """Pixels per metre."""
    top: Box
    side: Box
    low: tuple[float, float, float]
    """What lies in the lower left corners [m]."""

    @classmethod
    def of(
        cls, low: NDArray[np.float64], high: NDArray[np.float64], width: int, height: int
    ) -> "Views":
        """Views into which everything between two corners (3,) [m] fits."""
        middle, extent = (low + high) / 2, np.maximum(high - low, _LEAST) * 1.12
        inner = width - _LEFT - _RIGHT, height - _TOP - _GAP - _BOTTOM
        scale = float(min(inner[0] / extent[0], inner[1] / (extent[1] + extent[2])))
        # What is left of the width shows more of the surroundings.
        extent[0] = inner[0] / scale
        spare = inner[1] / scale - extent[1] - extent[2]
        extent[1:] += spare / 2
        rows = round(extent[1] * scale)
        top = (_LEFT, _TOP, width - _RIGHT, _TOP + rows)
        side = (_LEFT, top[3] + _GAP, width - _RIGHT, height - _BOTTOM)
        x, y, z = (middle - extent / 2).tolist()
        return cls(width, height, scale, top, side, (x, y, z))

    @staticmethod
    def width_for(low: NDArray[np.float64], high: NDArray[np.float64], height: int) -> int:
        """Width [px] that shows everything between two corners as large as the height allows."""
        extent = np.maximum(high - low, _LEAST) * 1.12
        inner = (height - _TOP - _GAP - _BOTTOM) * extent[0] / (extent[1] + extent[2])
        return int(np.clip(inner + _LEFT + _RIGHT, *_WIDTHS))

    def above(self, point: NDArray[np.float64]) -> Point:
        """Where a position (3,) [m] is in the top view."""
        return self._place(point, self.top, 1)

    def beside(self, point: NDArray[np.float64]) -> Point:
        """Where a position (3,) [m] is in the side view."""
        return self._place(point, self.side, 2)

    def _place(self, point: NDArray[np.float64], box: Box, axis: int) -> Point:
        x = box[0] + (float(point[0]) - self.low[0]) * self.scale
        return x, box[3] - (float(point[axis]) - self.low[axis]) * self.scale

    def empty(self) -> Panel:
        """Frames and grid, nothing in them."""
        panel = Panel(self.width, self.height)
        for box, axis in ((self.top, 1), (self.side, 2)):
            panel.box(box, palette.PANEL)
            for x, _ in self._ticks(box, 0):
                panel.box((x - 0.4, box[1], x + 0.4, box[3]), palette.FAINT)
            for y, value in self._ticks(box, axis):
                ground = axis == 2 and value == 0
                half = 0.7 if ground else 0.4
                panel.box(
                    (box[0], y - half, box[2], y + half),
                    palette.MUTED if ground else palette.FAINT,
                )
        return panel

    def label(self, image: Image.Image) -> None:
        """Write the numbers of the grid and the names of the views."""
        draw, small = ImageDraw.Draw(image), font(10)
        for box, axis, name in ((self.top, 1, "from above"), (self.side, 2, "from the side")):
            for y, value in self._ticks(box, axis):
                if box[1] + 5 < y < box[3] - 3:
                    draw.text((box[0] - 5, y), f"{value:g}", palette.MUTED, small, anchor="rm")
            draw.text((box[0], box[1] - 4), name, palette.MUTED, small, anchor="ls")
            letter = "yz"[axis - 1]
            middle = (box[1] + box[3]) / 2
            draw.text((4, middle), letter, palette.INK, font(11), anchor="lm")
        for x, value in self._ticks(self.side, 0):
            if x < self.width - 66:
                draw.text((x, self.side[3] + 5), f"{value:g}", palette.MUTED, small, anchor="ma")
        corner = self.width - _RIGHT, self.side[3] + 4
        draw.text(corner, "x [m]", palette.INK, font(11), anchor="ra")

    def _ticks(self, box: Box, axis: int) -> Iterator[tuple[float, float]]:
        """Pixel and value [m] of round numbers along an axis."""
        step = _round_up(42 / self.scale)
        pixels = box[2] - box[0] if axis == 0 else box[3] - box[1]
        first = math.ceil(self.low[axis] / step)
        last = math.floor((self.low[axis] + pixels / self.scale) / step)
        for i in range(first, last + 1):
            at = (i * step - self.low[axis]) * self.scale
            yield (box[0] + at if axis == 0 else box[3] - at), round(i * step, 9) + 0.0

    def draw_path(self, panel: Panel, path: Path3, colours: dict[int, str]) -> None:
        """The whole way with its marks."""
        for start, stop in stretches(path.interventions):
            self.segment(panel, path, start, stop, palette.pale(palette.INTERVENTION, 0.45), 8)
        runs = path.runs or (Run(0, len(path.points), -1),)
        for run in runs:
            self.segment(
                panel, path, run.start, run.stop, colours.get(run.phase, palette.LINE), 2.8
            )
        self.draw_marks(panel, path)

    def draw_marks(self, panel: Panel, path: Path3, until: int | None = None) -> None:
        """Start, end and what the gripper does, as far as it has come by then."""
        last = len(path.points) - 1
        now = last if until is None else until
        for place in (self.above, self.beside):
            panel.dot(place(path.points[0]), 4.2, palette.PAPER, palette.INK)
            if now >= last:
                panel.square(place(path.points[last]), 3.6, palette.INK, palette.PAPER)
            for step, closes in path.marks:
                if step <= now:
                    colour, rim = (palette.INK, palette.PAPER) if closes else (
                        palette.PAPER, palette.INK)  # fmt: skip
                    panel.triangle(place(path.points[step]), 5.5, colour, rim, up=not closes)

    def segment(
        self, panel: Panel, path: Path3, start: int, stop: int, colour: str, width: float
    ) -> None:
        """Steps start..stop-1, joined to the next one, in both views."""
        stop = min(stop + 1, len(path.points))
        points = path.points[start : stop : max(1, (stop - start) // MOST_POINTS)]
        for place in (self.above, self.beside):
            panel.line([place(point) for point in points], colour, width)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10 ... that is not below."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (*_STEPS, 10.0) if step * power >= value * 0.999)


def bounds(paths: list[Path3]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest position (3,) [m] of all."""
    return (
        np.min([path.points.min(axis=0) for path in paths], axis=0),
        np.max([path.points.max(axis=0) for path in paths], axis=0),
    )


def mark_legend(width: int, *, corrected: bool) -> Image.Image:
    """What the marks on a path mean, with that of a person who corrects where there is one."""
    panel = Panel(width, 22)
    x = 8.0
    texts: list[tuple[float, str]] = []
    face = font(12)
    marks = ["start", "end", "gripper closes", "gripper opens"]
    for name in [*marks, "a person corrects"] if corrected else marks:
        at = (x, 11.0)
        if name == "start":
            panel.dot(at, 4.2, palette.PAPER, palette.INK)
        elif name == "end":
            panel.square(at, 3.6, palette.INK, palette.PAPER)
        elif name == "a person corrects":
            colour = palette.pale(palette.INTERVENTION, 0.45)
            panel.line([(x - 6, 11), (x + 8, 11)], colour, 8)
            x += 6
        else:
            closes = name == "gripper closes"
            fill, rim = (palette.INK, palette.PAPER) if closes else (palette.PAPER, palette.INK)
            panel.triangle(at, 5.5, fill, rim, up=not closes)
        texts.append((x + 13, name))
        x += 13 + face.getlength(name) + 26
    image = panel.finished()
    draw = ImageDraw.Draw(image)
    for left, name in texts:
        draw.text((left, 11), name, palette.INK, face, anchor="lm")
    return image
