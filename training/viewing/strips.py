"""Channels over the time of one episode, as narrow strips beside pictures."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bridle.training.viewing import palette
from bridle.training.viewing.drawing import Panel, fit, font, stretches
from bridle.training.viewing.keys import Key
from bridle.training.viewing.oddities import quantiles
from bridle.training.viewing.reading import Reader, identifies
from bridle.training.viewing.survey import Survey, thinned

MOST = 4
INSET = 8
"""Pixels left free at both sides."""
_DULL = ("timestamp", "intervention", "cost")
HEAD = 17
"""Pixels above a strip's lines, for its name."""


@dataclass(frozen=True)
class Strip:
    """A channel and the range that all chosen episodes need."""

    key: Key
    channel: int
    low: float
    high: float


def telling(surveys: Mapping[str, Survey]) -> list[Strip]:
    """The channels that tell most about what happens, at most four that change.

    The tool's height and the gripper first, then those of the action that move most, then those of
    the other keys.
    """
    found: list[Strip] = []

    def take(survey: Survey | None, places: list[int], most: int) -> None:
        before = len(found)
        for i in places if survey else ():
            assert survey is not None
            strip = Strip(
                survey.key, survey.key.channels[i], float(survey.low[i]), float(survey.high[i])
            )
            if (
                not survey.constant[i]
                and strip not in found
                and len(found) < min(MOST, before + most)
            ):
                found.append(strip)

    numbers = {n: s for n, s in surveys.items() if s.key.layout is None}
    position = next((s for s in numbers.values() if s.key.is_position), None)
    take(position, [2], 1)
    take(numbers.get("gripper"), [0], 1)
    rest = [
        n
        for n in numbers
        if not identifies(numbers[n].key) and n not in (*_DULL, "action", "gripper")
    ]
    for name in ("action", *rest):
        survey = numbers.get(name)
        if survey is None:
            continue
        low, high = quantiles(survey.sampled(), (0.05, 0.95))
        order = np.argsort(np.nan_to_num(low - high), kind="stable").tolist()
        if name == "action" and "gripper" in numbers:
            order = [
                i for i in order if survey.key.channel_name(survey.key.channels[i]) != "gripper"
            ]
        take(survey, order, MOST if name == "action" and not found else 2)
    return found


class StripSheet:
    """The strips of one episode as a picture, with a cursor that can be put anywhere."""

    def __init__(
        self, reader: Reader, strips: list[Strip], episode: int, width: int, height: int
    ) -> None:
        """Draw them.

        Raises:
            DemonstrationError: a chunk cannot be decoded.
        """
        self.width, self.height = width, height
        self._left, self._right = INSET, width - INSET
        self._length = int(reader.lengths[episode])
        panel = Panel(width, height)
        each = height / max(1, len(strips))
        boxes = [(round(i * each) + HEAD, round((i + 1) * each) - 6) for i in range(len(strips))]
        for strip, (top, bottom) in zip(strips, boxes, strict=True):
            self._draw(panel, reader, strip, episode, top, bottom)
        self._image = panel.finished()
        draw, small = ImageDraw.Draw(self._image), font(11)
        for strip, (top, _) in zip(strips, boxes, strict=True):
            numbers = f"{strip.low:.3g} to {strip.high:.3g}"
            unit = strip.key.channel_unit(strip.channel)
            numbers += f" {unit}" if unit else ""
            room = self._right - self._left - small.getlength(numbers) - 12
            name = fit(strip.key.title(strip.channel), small, room)
            draw.text((self._left, top - 3), name, palette.INK, small, anchor="ls")
            draw.text((self._right, top - 3), numbers, palette.MUTED, small, anchor="rs")
        self._tops = boxes[0][0] if boxes else 0
        self._bottom = boxes[-1][1] if boxes else 0

    def _draw(
        self, panel: Panel, reader: Reader, strip: Strip, episode: int, top: int, bottom: int
    ) -> None:
        panel.box((self._left, top, self._right, bottom), palette.PANEL)
        for run in reader.phases(episode):
            colour = palette.pale(reader.colours[run.phase], 0.72)
            panel.box((self._x(run.start), top, self._x(run.stop), bottom), colour)
        values = _column(reader, strip, episode)
        steps, kept = thinned(np.arange(len(values)), values[:, None], 2 * self.width)
        span = strip.high - strip.low or 1.0
        share = (np.where(np.isfinite(kept[:, 0]), kept[:, 0], strip.low) - strip.low) / span
        y = bottom - 4 - (bottom - top - 8) * share.clip(0, 1)
        x = np.array([self._x(step + 0.5) for step in steps])
        points = np.stack([x, y], axis=1)
        if len(points) == 1:
            panel.dot((x[0], y[0]), 2.4, palette.INK)
            return
        panel.line(points, palette.INK, 1.7)
        for start, stop in stretches(reader.interventions(episode)):
            inside = points[(steps >= start) & (steps <= stop)]
            if len(inside) > 1:
                panel.line(inside, palette.INTERVENTION, 2.6)

    def _x(self, step: float) -> float:
        return self._left + (self._right - self._left) * step / self._length

    @property
    def image(self) -> Image.Image:
        """The strips without a cursor."""
        return self._image

    def paste(self, image: Image.Image, left: int, top: int, step: int) -> None:
        """Put them into a picture, with a cursor at a step."""
        image.paste(self._image, (left, top))
        x = left + round(self._x(step + 0.5))
        draw = ImageDraw.Draw(image)
        draw.line((x, top + self._tops, x, top + self._bottom), palette.INK, 1)


def _column(reader: Reader, strip: Strip, episode: int) -> NDArray[np.float64]:
    blocks = [
        rows.reshape(len(rows), -1)[:, strip.channel].astype(np.float64)
        for _, rows in reader.blocks(strip.key.name, episode)
    ]
    return np.concatenate(blocks)
