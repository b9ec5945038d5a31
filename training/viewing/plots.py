"""Every channel of a key over time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bridle.training.viewing import figures, palette
from bridle.training.viewing.drawing import fit, font, plain, stretches
from bridle.training.viewing.keys import Key
from bridle.training.viewing.palette import MOST_IN_LEGEND, phase_colours
from bridle.training.viewing.reading import Reader, identifies
from bridle.training.viewing.selection import evenly
from bridle.training.viewing.survey import Numbers, Survey

PER_PAGE = 24
_LEFT, _RIGHT, _HEAD, _FOOT = 0.75, 0.3, 1.1, 0.55
_ROW, _BETWEEN = 1.15, 0.48
_LEGEND_COLUMNS = 6
_BAR, _MOST_BARS = 0.3, 60


def draw_key(reader: Reader, survey: Survey, folder: Path, stem: str) -> list[Path]:
    """Write a page for every 24 channels of a key: `<stem>.png`, `<stem>-2.png` and so on.

    Several episodes lie thin over each other below their mean; a single one has its phases behind
    it. What a person chose is drawn in vermillion. Keys that name sentences have a bar for each
    episode instead.
    """
    n = len(survey.key.channels)
    made = []
    if identifies(survey.key):
        with figures.style():
            _sentences(reader, survey).save(folder / f"{stem}.png")
        return [folder / f"{stem}.png"]
    for page, first in enumerate(range(0, n, PER_PAGE)):
        path = folder / (f"{stem}.png" if page == 0 else f"{stem}-{page + 1}.png")
        with figures.style():
            _page(reader, survey, list(range(first, min(n, first + PER_PAGE)))).save(path)
        made.append(path)
    return made


def _sentences(reader: Reader, survey: Survey) -> figures.Page:
    """Which sentence holds when, one bar for each episode."""
    key = survey.key
    episodes = evenly(survey.episodes, _MOST_BARS)
    runs = {episode: reader.runs(key.name, episode) for episode in episodes}
    colours = phase_colours(
        [*reader.colours, *(run.phase for found in runs.values() for run in found)]
    )
    spoken = {run.phase for found in runs.values() for run in found}
    legend = _sentence_legend(reader, {p: c for p, c in colours.items() if p in spoken}, 0.0)
    head = _HEAD + 0.22 * -(-len(legend) // _LEGEND_COLUMNS)
    height = _BAR * len(episodes)
    page = figures.Page(head + height + _FOOT)
    shown = f"{len(episodes)} of the {len(survey.episodes)} episodes, evenly chosen"
    _write_head(page, key, shown if len(episodes) < len(survey.episodes) else "", legend)
    axes = page.axes(1.1, head, page.width - 1.1 - _RIGHT, height)
    for place, episode in enumerate(episodes):
        spans = [(reader.time(r.start), reader.time(r.stop - r.start)) for r in runs[episode]]
        shades = [colours[run.phase] for run in runs[episode]]
        axes.broken_barh(spans, (place - 0.31, 0.62), facecolors=shades, lw=0)
        for start, stop in stretches(reader.interventions(episode)):
            axes.plot(
                [reader.time(start), reader.time(stop)], [place - 0.42] * 2,
                color=palette.INTERVENTION, lw=2, solid_capstyle="butt",
            )  # fmt: skip
    axes.set_yticks(range(len(episodes)), [f"episode {episode}" for episode in episodes])
    axes.set_ylim(len(episodes) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, reader.time(max(int(reader.lengths[e]) for e in episodes)))
    axes.set_xlabel(reader.time_label)
    return page


def columns_for(n: int) -> int:
    """Plots beside each other, for so many channels."""
    return 1 if n == 1 else 2 if n <= 8 else 3


def _page(reader: Reader, survey: Survey, places: list[int]) -> figures.Page:
    key = survey.key
    columns = columns_for(len(places))
    rows = -(-len(places) // columns)
    tall = 2.2 if len(places) == 1 else _ROW
    legend = _legend(reader, survey)
    lines = -(-len(legend) // _LEGEND_COLUMNS)
    head = _HEAD + 0.22 * lines
    page = figures.Page(head + rows * (tall + _BETWEEN) + _FOOT - 0.2)
    _write_head(page, key, _shown(survey, places), legend)
    width = (page.width - _RIGHT) / columns - _LEFT
    for at, place in enumerate(places):
        left = _LEFT + (at % columns) * (width + _LEFT)
        top = head + (at // columns) * (tall + _BETWEEN)
        axes = page.axes(left, top, width, tall)
        _channel(axes, reader, survey, place)
        if at + columns >= len(places):
            axes.set_xlabel(reader.time_label)
    return page


def _write_head(page: figures.Page, key: Key, shown: str, legend: list[Any]) -> None:
    room = figures.DPI * (page.width - 0.8)
    page.text(0.3, 0.18, plain(key.name)[:80], fontsize=16, fontweight="bold")
    page.text(0.3, 0.5, fit(_about(key), font(14), room), fontsize=9, color=palette.MUTED)
    page.text(0.3, 0.7, fit(shown, font(14), room), fontsize=9, color=palette.MUTED)
    if legend:
        page.figure.legend(
            # Matplotlib fills columns first; people read rows.
            handles=[h for i in range(_LEGEND_COLUMNS) for h in legend[i::_LEGEND_COLUMNS]],
            ncols=_LEGEND_COLUMNS, loc="upper left", frameon=False, borderpad=0,
            bbox_to_anchor=(0.28 / page.width, 1 - 0.93 / page.height),
            handlelength=1.2, columnspacing=1.6, borderaxespad=0,
        )  # fmt: skip


def _about(key: Key) -> str:
    shape = " x ".join(map(str, key.shape)) or "one number"
    unit = f"[{key.unit}]" if key.unit not in (None, "1") else ""
    parts = [part for part in (key.meaning, unit, f"{key.dtype}, {shape} per step") if part]
    return " · ".join(parts)


def _shown(survey: Survey, places: list[int]) -> str:
    key, episodes = survey.key, survey.episodes
    if len(episodes) == 1:
        text = f"episode {episodes[0]}"
    else:
        listed = ", ".join(map(str, episodes[:16])) + (" ..." if len(episodes) > 16 else "")
        text = f"episodes {listed}: each thin, their mean bold as long as half of them run"
    if len(survey.key.channels) < key.n_channels:
        return f"{text} · {len(key.channels)} of {key.n_channels} channels, evenly chosen"
    if len(places) < key.n_channels:
        return f"{text} · channels {places[0]} to {places[-1]} of {key.n_channels}"
    return text


def _legend(reader: Reader, survey: Survey) -> list[Any]:
    entries: list[Any] = []
    if len(survey.episodes) == 1:
        entries += _sentence_legend(reader, reader.shown_colours, 0.68)
    if any(reader.interventions(episode).any() for episode in survey.episodes):
        entries.append(Line2D([], [], color=palette.INTERVENTION, lw=2, label="a person corrects"))
    return entries


def _sentence_legend(reader: Reader, colours: Mapping[int, str], share: float) -> list[Any]:
    """Patches, as pale as `share` says, with their words."""
    entries: list[Any] = [
        Patch(color=palette.pale(colour, share), label=fit(reader.words(phase), font(12), 190))
        for phase, colour in list(colours.items())[:MOST_IN_LEGEND]
    ]
    if len(colours) > MOST_IN_LEGEND:
        more = f"and {len(colours) - MOST_IN_LEGEND} more"
        entries.append(Patch(color=palette.PAPER, label=more))
    return entries


def _channel(axes: Any, reader: Reader, survey: Survey, place: int) -> None:
    key, single = survey.key, len(survey.episodes) == 1
    channel = key.channels[place]
    if single:
        _shade(axes, reader, survey.episodes[0])
    times, values = _joined(reader, survey, place)
    one_step = max(len(survey.lines[e][0]) for e in survey.episodes) == 1
    marker = {"marker": "o", "ms": 4} if one_step else {}
    if single:
        axes.plot(times, values, color=palette.INK, lw=1.3, **marker)
    else:
        faint = float(np.clip(4 / len(survey.episodes), 0.12, 0.5))
        axes.plot(times, values, color=palette.LINE, lw=0.7, alpha=faint, **marker)
        means_at = reader.time(1) * survey.mean_stride * np.arange(len(survey.mean))
        axes.plot(means_at, survey.mean[:, place], color=palette.INK, lw=1.8)
    for start, stop, episode in _corrected(reader, survey):
        steps, lines = survey.lines[episode]
        inside = (steps >= start) & (steps <= stop)
        axes.plot(
            reader.time(1) * steps[inside], lines[inside, place],
            color=palette.INTERVENTION, lw=1.4 if single else 1.0, 
            marker="." if stop == start else "",
        )  # fmt: skip
    longest = max(int(reader.lengths[e]) for e in survey.episodes)
    end = reader.time(max(1, longest - 1))
    axes.set_xlim(-0.01 * end, 1.01 * end)
    axes.set_ylim(*_limits(survey, place))
    axes.set_title(plain(key.channel_name(channel))[:60], loc="left", fontsize=9.5, pad=4)
    unit = plain(key.channel_unit(channel))[:20]
    if unit:
        axes.set_ylabel(f"[{unit}]")
    if survey.constant[place]:
        axes.set_title("constant", loc="right", fontsize=8.5, color=palette.INTERVENTION, pad=4)


def _corrected(reader: Reader, survey: Survey) -> list[tuple[int, int, int]]:
    """First and last step that a person chose, of each stretch, with its episode."""
    return [
        (start, stop - 1, episode)
        for episode in survey.episodes
        for start, stop in stretches(reader.interventions(episode))
    ]


def _shade(axes: Any, reader: Reader, episode: int) -> None:
    runs = reader.phases(episode)
    spans = [(reader.time(run.start), reader.time(run.stop - run.start)) for run in runs]
    shades = [palette.pale(reader.colours[run.phase], 0.68) for run in runs]
    axes.broken_barh(spans, (0, 1), facecolors=shades, lw=0, transform=axes.get_xaxis_transform())


def _joined(reader: Reader, survey: Survey, place: int) -> tuple[Numbers, Numbers]:
    """The lines of all episodes as one, with gaps: a thousand lines are slow to draw."""
    times: list[Numbers] = []
    values: list[Numbers] = []
    gap = np.array([np.nan])
    for episode in survey.episodes:
        steps, lines = survey.lines[episode]
        times += [reader.time(1) * steps, gap]
        values += [lines[:, place], gap]
    return np.concatenate(times), np.concatenate(values)


def _limits(survey: Survey, place: int) -> tuple[float, float]:
    low, high = float(survey.low[place]), float(survey.high[place])
    if not np.isfinite([low, high]).all():
        return -1.0, 1.0
    if survey.constant[place]:
        margin = 0.1 * max(abs(low), abs(high)) or 1.0
    else:
        margin = 0.07 * (high - low)
    return low - margin, high + margin
