"""Contact sheets: every chosen episode at a glance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bridle.training.viewing import palette
from bridle.training.viewing.drawing import fit, font, legend, phase_bar, wrap
from bridle.training.viewing.keys import Key
from bridle.training.viewing.pictures import Scale, fitted, to_rgb
from bridle.training.viewing.reading import Reader
from bridle.training.viewing.schematic import Views, bounds, mark_legend, path_of
from bridle.training.viewing.strips import Strip, StripSheet
from bridle.training.viewing.totals import Totals

COLUMNS = 8
"""Frames of an episode."""
EPISODES_PER_SHEET = 12
MOST_CAMERAS = 4
_MARGIN, _LABEL, _CELL, _GAP = 24, 132, 150, 8
_WIDTH, _WIDEST, _STRIPS, _SPACE = 1450, 713, (440, 330), 24
"""Pixels of all cards beside each other, of one, of the strips in it, and between cards."""
_VIEWS, _LARGE_VIEWS = 400, 620
"""Pixels of the height of a card's views; of one or two cards."""


@dataclass(frozen=True)
class Caption:
    """What is written about an episode."""

    title: str
    lines: tuple[str, ...]
    succeeds: bool | None


def caption(reader: Reader, totals: Totals, episode: int) -> Caption:
    """Number, length and outcome of an episode, as far as the set tells."""
    length = int(reader.lengths[episode])
    lines = [f"{length} step" if length == 1 else f"{length} steps"]
    if reader.rate is not None:
        lines[0] += f", {seconds(length / reader.rate)}"
    if totals.returns is not None:
        lines.append(f"return {totals.returns[episode]:.4g}")
    if totals.costs is not None and totals.costs[episode]:
        lines.append(f"cost {totals.costs[episode]:.4g}")
    succeeds = None if totals.success is None else bool(totals.success[episode])
    return Caption(f"episode {episode}", tuple(lines), succeeds)


def seconds(time: float) -> str:
    """A duration [s] in a few digits."""
    return f"{time:.1f} s" if time >= 1 else f"{time:.2g} s"


def outcome(succeeds: bool) -> tuple[str, str]:
    """Word and colour of an outcome."""
    return ("success", "#006b4e") if succeeds else ("no success", palette.INTERVENTION)


def write_sheets(
    reader: Reader,
    totals: Totals,
    scales: Mapping[str, Scale],
    strips: Sequence[Strip],
    subtitle: str,
    folder: Path,
) -> list[Path]:
    """Write the contact sheets of the chosen episodes, each of at most twelve.

    With cameras, frames in rows; without, cards of where the tool goes; without that either, cards
    of the most telling channels.

    Raises:
        DemonstrationError: a chunk cannot be decoded.
    """
    made = []
    episodes = reader.episodes
    for i in range(0, len(episodes), EPISODES_PER_SHEET):
        part = episodes[i : i + EPISODES_PER_SHEET]
        if reader.pictures:
            body = _frames(reader, totals, scales, part)
        else:
            body = _cards(reader, totals, list(strips), part)
        name = "sheet.png" if i == 0 else f"sheet-{i // EPISODES_PER_SHEET + 1}.png"
        _framed(reader, subtitle, body).save(folder / name)
        made.append(folder / name)
    return made


def _framed(reader: Reader, subtitle: str, body: Image.Image) -> Image.Image:
    """A sheet with its title and the words of its colours."""
    width = body.width
    phases = [(colour, reader.words(phase)) for phase, colour in reader.shown_colours.items()]
    if len(phases) > palette.MOST_IN_LEGEND:
        more = f"and {len(phases) - palette.MOST_IN_LEGEND} more"
        phases = [*phases[: palette.MOST_IN_LEGEND], (palette.PAPER, more)]
    keys = [legend(phases, width)] if phases else []
    if reader.position and not reader.pictures:
        corrected = any(reader.interventions(episode).any() for episode in reader.episodes)
        keys.append(mark_legend(width, corrected=corrected))
    top = 74 + sum(key.height for key in keys) + 12
    sheet = Image.new("RGB", (width + 2 * _MARGIN, top + body.height + _MARGIN), palette.PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 16), fit(reader.name, font(24, True), width), palette.INK, font(24, True))
    if len(reader.pictures) > MOST_CAMERAS:
        subtitle += f" · {MOST_CAMERAS} of {len(reader.pictures)} cameras"
    draw.text((_MARGIN, 48), fit(subtitle, font(13), width), palette.MUTED, font(13))
    y = 74
    for key in keys:
        sheet.paste(key, (_MARGIN, y))
        y += key.height
    sheet.paste(body, (_MARGIN, top))
    return sheet


def _frames(
    reader: Reader, totals: Totals, scales: Mapping[str, Scale], episodes: Sequence[int]
) -> Image.Image:
    cameras = reader.pictures[:MOST_CAMERAS]
    heights = {key.name: _cell_height(key) for key in cameras}
    words = 34 if reader.scalar("instruction_id") else 4
    each = sum(heights.values()) + _GAP * len(cameras) + words + 18 + 22
    width = _LABEL + COLUMNS * (_CELL + _GAP) - _GAP
    body = Image.new("RGB", (width, each * len(episodes)), palette.PAPER)
    draw = ImageDraw.Draw(body)
    for row, episode in enumerate(episodes):
        top = row * each
        if row:
            draw.line((0, top - 12, width, top - 12), palette.FAINT)
        _write_caption(draw, caption(reader, totals, episode), top)
        length = int(reader.lengths[episode])
        steps = np.linspace(0, length - 1, min(COLUMNS, length)).round().astype(int).tolist()
        y = top
        for key in cameras:
            if len(cameras) > 1:
                name = fit(key.name, font(11), _LABEL - 12)
                draw.text(
                    (0, y + heights[key.name] - 4), name, palette.MUTED, font(11), anchor="ls"
                )
            for column, step in enumerate(steps):
                frame = to_rgb(key, reader.row(key.name, episode, step), scales[key.name])
                picture = fitted(frame, _CELL, heights[key.name])
                x = _LABEL + column * (_CELL + _GAP) + (_CELL - picture.width) // 2
                body.paste(picture, (x, y))
                corner = x + picture.width, y + picture.height
                draw.rectangle((x - 1, y - 1, *corner), outline=palette.FAINT)
            y += heights[key.name] + _GAP
        _words_under(draw, reader, episode, steps, y - 4)
        bar = (_LABEL, y + words + 2, width, y + words + 12)
        phase_bar(body, bar, reader.phases(episode), reader.interventions(episode), reader.colours)
        for step in steps:
            x = _LABEL + round((width - _LABEL) * (step + 0.5) / length)
            draw.polygon([(x - 4, bar[3] + 7), (x + 4, bar[3] + 7), (x, bar[3] + 1)], palette.INK)
    return body


def _cell_height(key: Key) -> int:
    rows, columns = key.shape[1:] if key.layout == "CHW" else key.shape[:2]
    return int(np.clip(round(_CELL * rows / columns), 40, 2 * _CELL))


def _write_caption(draw: ImageDraw.ImageDraw, said: Caption, top: int) -> None:
    draw.text((0, top), said.title, palette.INK, font(15, True))
    y = top + 23
    for line in said.lines:
        draw.text((0, y), fit(line, font(12), _LABEL - 8), palette.MUTED, font(12))
        y += 17
    if said.succeeds is not None:
        word, colour = outcome(said.succeeds)
        draw.text((0, y), word, colour, font(12, True))


def _words_under(
    draw: ImageDraw.ImageDraw, reader: Reader, episode: int, steps: Sequence[int], top: int
) -> None:
    person = reader.interventions(episode)
    for column, step in enumerate(steps):
        phase = reader.phase_at(episode, step)
        if phase is None:
            continue
        x = _LABEL + column * (_CELL + _GAP)
        draw.rectangle((x, top + 3, x + 4, top + 32), reader.colours[phase])
        colour = palette.INTERVENTION if person[step] else palette.INK
        for i, line in enumerate(wrap(reader.words(phase), font(12), _CELL - 12, 2)):
            draw.text((x + 10, top + 2 + 15 * i), line, colour, font(12))


def _cards(
    reader: Reader, totals: Totals, strips: list[Strip], episodes: Sequence[int]
) -> Image.Image:
    key = reader.position
    paths = [path_of(reader, key, episode) for episode in episodes] if key else []
    width, height = _STRIPS
    if paths:
        corners = bounds(paths)
        height = _VIEWS if len(episodes) > 2 else _LARGE_VIEWS
        width = Views.width_for(*corners, height)
    most = max(1, (_WIDTH + _SPACE) // (width + _SPACE))
    rows = -(-len(episodes) // most)
    columns = -(-len(episodes) // rows)
    width = min(_WIDEST, (_WIDTH + _SPACE) // columns - _SPACE)
    if paths:
        views = Views.of(*corners, width, height)
    across, down = width + _SPACE, 44 + height + 34 + _SPACE
    body = Image.new("RGB", (columns * across - _SPACE, rows * down), palette.PAPER)
    for i, episode in enumerate(episodes):
        x, y = (i % columns) * across, (i // columns) * down
        _title_card(body, caption(reader, totals, episode), (x, y), width)
        if paths:
            panel = views.empty()
            views.draw_path(panel, paths[i], reader.colours)
            picture = panel.finished()
            views.label(picture)
        else:
            picture = StripSheet(reader, strips, episode, width, height).image
        body.paste(picture, (x, y + 44))
        if not reader.colours:
            continue
        bar = (x + 8, y + 44 + height + 6, x + width - 8, y + 44 + height + 18)
        phase_bar(body, bar, reader.phases(episode), reader.interventions(episode), reader.colours)
    return body


def _title_card(body: Image.Image, said: Caption, at: tuple[int, int], width: int) -> None:
    draw, (x, y) = ImageDraw.Draw(body), at
    draw.text((x + 8, y), said.title, palette.INK, font(15, True))
    if said.succeeds is not None:
        word, colour = outcome(said.succeeds)
        draw.text((x + width - 8, y + 3), word, colour, font(12, True), anchor="ra")
    text = fit(" · ".join(said.lines), font(12), width - 16)
    draw.text((x + 8, y + 22), text, palette.MUTED, font(12))
