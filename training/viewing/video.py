"""Episodes as a video: pictures or the schematic, the channels that tell most, and the words."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import imageio.v2 as imageio
import numpy as np
from PIL import Image, ImageDraw

from bridle.training.demonstrations.progress import Progress, silent
from bridle.training.demonstrations.schema import Array
from bridle.training.viewing import palette
from bridle.training.viewing.drawing import fit, font, phase_bar
from bridle.training.viewing.keys import Key
from bridle.training.viewing.pictures import Scale, fitted, to_rgb
from bridle.training.viewing.reading import Reader, Run
from bridle.training.viewing.schematic import Path3, Views, bounds, path_of
from bridle.training.viewing.sheets import MOST_CAMERAS, caption, outcome
from bridle.training.viewing.strips import INSET, Strip, StripSheet
from bridle.training.viewing.totals import Totals

FASTEST, UNKNOWN_RATE = 30.0, 20.0
"""Most frames per second; those of a set that does not say its rate."""
MOST_FRAMES = 1500
"""Of one episode; longer ones are shown faster than they were."""
HOLD = 0.5
"""Seconds that the last frame of an episode stays."""
_WIDTH, _PICTURES, _HEAD, _FOOT, _MARGIN = 960, 380, 46, 62, 16
_EACH_STRIP, _LEAST_STRIPS = 62, 360


class Scene(Protocol):
    """The part of a video that is drawn anew for every frame."""

    width: int
    height: int

    def frames(self, episode: int, stride: int) -> Iterator[Image.Image]:
        """A picture of every `stride`-th step of an episode."""
        ...


class Cameras:
    """Camera pictures side by side."""

    height = _PICTURES

    def __init__(self, reader: Reader, scales: Mapping[str, Scale]) -> None:
        """Show the cameras of a set."""
        self._reader, self._scales = reader, scales
        self._keys = reader.pictures[:MOST_CAMERAS]
        shapes = [k.shape[1:] if k.layout == "CHW" else k.shape[:2] for k in self._keys]
        widest = (1600 - 2 * _MARGIN) // len(shapes)
        self._widths = [min(widest, round(_PICTURES * w / h)) for h, w in shapes]
        self.width = sum(self._widths) + 8 * (len(shapes) - 1)

    def frames(self, episode: int, stride: int) -> Iterator[Image.Image]:
        """See `Scene`."""
        streams = [self._stream(key, episode, stride) for key in self._keys]
        for rows in zip(*streams, strict=True):
            scene = Image.new("RGB", (self.width, self.height), palette.PAPER)
            left = 0
            for key, row, width in zip(self._keys, rows, self._widths, strict=True):
                picture = fitted(to_rgb(key, row, self._scales[key.name]), width, self.height)
                at = left + (width - picture.width) // 2, (self.height - picture.height) // 2
                scene.paste(picture, at)
                edge = at[0] + picture.width - 1, at[1] + picture.height - 1
                ImageDraw.Draw(scene).rectangle((*at, *edge), outline=palette.FAINT)
                left += width + 8
            yield scene

    def _stream(self, key: Key, episode: int, stride: int) -> Iterator[Array]:
        for first, rows in self._reader.blocks(key.name, episode):
            for i in range(-first % stride, len(rows), stride):
                yield rows[i]


class Schematic:
    """The tool's way from above and from the side, growing as it goes."""

    height = _PICTURES + 60

    def __init__(self, reader: Reader, key: Key, episodes: Iterable[int]) -> None:
        """Show the way that `key` says.

        Raises:
            DemonstrationError: a chunk cannot be decoded.
        """
        self._reader = reader
        self._paths = {episode: path_of(reader, key, episode) for episode in episodes}
        corners = bounds(list(self._paths.values()))
        self.width = Views.width_for(*corners, self.height)
        self._views = Views.of(*corners, self.width, self.height)

    def frames(self, episode: int, stride: int) -> Iterator[Image.Image]:
        """See `Scene`."""
        path, views = self._paths[episode], self._views
        trail, drawn = views.empty(), 0
        for run in path.runs or (Run(0, len(path.points), -1),):
            colour = palette.pale(self._reader.colours.get(run.phase, palette.MUTED), 0.7)
            views.segment(trail, path, run.start, run.stop, colour, 1.2)
        for step in range(0, len(path.points), stride):
            for at in range(drawn, step):
                views.segment(trail, path, at, at + 1, self._colour(path, episode, at), 2.8)
            drawn = step
            now = trail.copy()
            views.draw_marks(now, path, step)
            for place in (views.above, views.beside):
                now.dot(
                    place(path.points[step]), 6.0, self._colour(path, episode, step), palette.INK
                )
            picture = now.finished()
            views.label(picture)
            yield picture

    def _colour(self, path: Path3, episode: int, step: int) -> str:
        if path.interventions[step]:
            return palette.INTERVENTION
        phase = self._reader.phase_at(episode, step)
        return palette.LINE if phase is None else self._reader.colours[phase]


class Nothing:
    """For sets with neither cameras nor the tool's way: the strips say it all."""

    width, height = 0, 300

    def __init__(self, reader: Reader) -> None:
        """Show nothing of a set."""
        self._reader = reader

    def frames(self, episode: int, stride: int) -> Iterator[Image.Image]:
        """See `Scene`."""
        for _ in range(0, int(self._reader.lengths[episode]), stride):
            yield Image.new("RGB", (0, 0))


def pace(reader: Reader, episode: int) -> tuple[float, int]:
    """Frames per second of the video, and steps from one frame of an episode to the next."""
    rate = reader.rate or UNKNOWN_RATE
    stride = max(1, math.ceil(rate / FASTEST - 1e-9))
    return rate / stride, max(stride, -(-int(reader.lengths[episode]) // MOST_FRAMES))


def write_video(
    reader: Reader,
    totals: Totals,
    scales: Mapping[str, Scale],
    strips: Sequence[Strip],
    episodes: Sequence[int],
    path: Path,
    progress: Progress = silent,
) -> int:
    """Write the episodes one after the other, at their own speed; returns the number of frames.

    Raises:
        DemonstrationError: a chunk cannot be decoded.
    """
    scene = _scene(reader, scales, episodes)
    stage = _Stage(reader, totals, scene, strips)
    rate, _ = pace(reader, episodes[0])
    writer: Any = imageio.get_writer(
        path,
        fps=rate,
        macro_block_size=1,
        output_params=["-preset", "veryfast", "-movflags", "+faststart"],
    )
    count = 0
    with writer as video:
        for i, episode in enumerate(episodes):
            progress(f"recording episode {episode}", i, len(episodes))
            frame = np.empty(0)
            for frame in stage.frames(episode, pace(reader, episode)[1]):
                video.append_data(frame)
                count += 1
            for _ in range(round(HOLD * rate)):
                video.append_data(frame)
                count += 1
    return count


def _scene(reader: Reader, scales: Mapping[str, Scale], episodes: Sequence[int]) -> Scene:
    if reader.pictures:
        return Cameras(reader, scales)
    key = reader.position
    return Schematic(reader, key, episodes) if key is not None else Nothing(reader)


class _Stage:
    """Puts a scene, the strips and the words into one frame."""

    def __init__(
        self, reader: Reader, totals: Totals, scene: Scene, strips: Sequence[Strip]
    ) -> None:
        self._reader, self._totals, self._scene, self._strips = reader, totals, scene, list(strips)
        beside = scene.width <= _WIDTH - _LEAST_STRIPS - 3 * _MARGIN
        inner = max(_WIDTH - 2 * _MARGIN, scene.width)
        self._scene_at = _MARGIN, _HEAD
        if beside:
            left = _MARGIN + scene.width + (_MARGIN if scene.width else 0)
            self._strips_at = left, _HEAD
            self._strips_size = inner + _MARGIN - left + INSET, scene.height
            height = scene.height
        else:
            self._scene_at = _MARGIN + (inner - scene.width) // 2, _HEAD
            self._strips_at = _MARGIN - INSET, _HEAD + scene.height + 8
            self._strips_size = inner + 2 * INSET, _EACH_STRIP * len(strips)
            height = scene.height + 8 + self._strips_size[1]
        self._bottom = _HEAD + height
        # Half the colour resolution of video needs even sides.
        self._size = _even(inner + 2 * _MARGIN), _even(self._bottom + _FOOT)

    def frames(self, episode: int, stride: int) -> Iterator[Array]:
        """Every `stride`-th step of an episode."""
        reader = self._reader
        strips = self._strips
        sheet = StripSheet(reader, strips, episode, *self._strips_size) if strips else None
        background = self._background(episode)
        bar = self._bar
        length = int(reader.lengths[episode])
        for i, picture in enumerate(self._scene.frames(episode, stride)):
            step = i * stride
            frame = background.copy()
            frame.paste(picture, self._scene_at)
            if sheet is not None:
                sheet.paste(frame, *self._strips_at, step)
            draw = ImageDraw.Draw(frame)
            x = bar[0] + round((bar[2] - bar[0]) * (step + 0.5) / length)
            draw.rectangle((x - 1, bar[1] - 3, x + 1, bar[3] + 2), palette.INK)
            self._write_words(draw, episode, step)
            yield np.asarray(frame)

    @property
    def _bar(self) -> tuple[int, int, int, int]:
        width, _ = self._size
        return _MARGIN, self._bottom + 10, width - _MARGIN, self._bottom + 20

    def _background(self, episode: int) -> Image.Image:
        reader = self._reader
        image = Image.new("RGB", self._size, palette.PAPER)
        draw = ImageDraw.Draw(image)
        said = caption(reader, self._totals, episode)
        right = self._size[0] - _MARGIN
        if said.succeeds is not None:
            word, colour = outcome(said.succeeds)
            draw.text((right, 23), word, colour, font(15, True), anchor="rm")
            right -= 110
        draw.text((_MARGIN, 23), said.title, palette.INK, font(18, True), anchor="lm")
        left = _MARGIN + font(18, True).getlength(said.title) + 16
        about = " · ".join([reader.name, *said.lines])
        draw.text(
            (left, 24), fit(about, font(13), right - left), palette.MUTED, font(13), anchor="lm"
        )
        phase_bar(
            image, self._bar, reader.phases(episode), reader.interventions(episode), reader.colours
        )
        return image

    def _write_words(self, draw: ImageDraw.ImageDraw, episode: int, step: int) -> None:
        reader, (width, height) = self._reader, self._size
        middle = height - 20
        time = f"step {step}" if reader.rate is None else f"{step / reader.rate:.2f} s"
        draw.text((width - _MARGIN, middle), time, palette.MUTED, font(13), anchor="rm")
        phase, left = reader.phase_at(episode, step), _MARGIN
        if phase is not None:
            box = (left, middle - 7, left + 13, middle + 7)
            draw.rectangle(box, reader.colours[phase])
            words = fit(reader.words(phase), font(16), width - 340)
            draw.text((left + 22, middle), words, palette.INK, font(16), anchor="lm")
            left += 22 + round(font(16).getlength(words)) + 18
        if reader.interventions(episode)[step]:
            said = "a person corrects"
            draw.text((left, middle), said, palette.INTERVENTION, font(14, True), anchor="lm")


def _even(size: int) -> int:
    return size + size % 2
