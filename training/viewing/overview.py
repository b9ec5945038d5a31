"""One page about the whole set: what stands out in words, then its distributions."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from bridle.training.viewing import figures, palette
from bridle.training.viewing.drawing import fit, font, plain, wrap
from bridle.training.viewing.oddities import Finding, quantiles
from bridle.training.viewing.reading import Reader, identifies
from bridle.training.viewing.survey import Numbers, Survey
from bridle.training.viewing.totals import Totals

MOST_FINDINGS = 14
MOST_WORDS = 16
MOST_KEYS = 12
MOST_CHANNELS = 24
_MARGIN, _ROW, _TITLE = 0.3, 0.2, 0.62
_HEAD, _LONGEST_LABEL = 0.95, 2.4


def draw_overview(
    reader: Reader,
    totals: Totals,
    surveys: Mapping[str, Survey],
    findings: Sequence[Finding],
    subtitle: str,
    path: Path,
) -> None:
    """Write the page: words, episodes, instructions, ranges, step sizes of the action."""
    keys = [s for s in surveys.values() if s.key.layout is None and not identifies(s.key)]
    columns = _columns(keys[:MOST_KEYS])
    changes = surveys.get("action")
    lines, bars = _words(findings), _instructions(reader)
    words_height, bars_height = 0.24 * len(lines), max(1.6, 0.21 * len(bars) + 0.1)
    ranges = max((sum(_height(s) + _TITLE for s in column) for column in columns), default=0.0)
    steps = _height(changes) + _TITLE if changes is not None else 0.0
    with figures.style():
        page = figures.Page(_HEAD + words_height + bars_height + ranges + steps + 2.3)
        page.text(_MARGIN, 0.2, fit(reader.name, font(13), 500), fontsize=17, fontweight="bold")
        page.text(_MARGIN, 0.56, fit(subtitle, font(13), 930), color=palette.MUTED)
        _write(page, lines, _HEAD)
        top = _HEAD + words_height + 0.5
        _top_row(page, reader, totals, bars, top, bars_height)
        top += bars_height + 0.85
        _heading(page, top - 0.12, _ranges_title(reader, len(keys)))
        _draw_columns(page, columns, top + 0.5)
        top += ranges + 0.5
        if changes is not None:
            _heading(page, top - 0.12, "How much the action changes from step to step")
            width = page.width - 2 * _MARGIN
            _ranges(page, changes, _MARGIN, top + 0.4, width, changes.sampled_changes(), "")
        page.save(path)


def _write(page: figures.Page, lines: Sequence[tuple[str | None, str]], top: float) -> None:
    for i, (colour, line) in enumerate(lines):
        y = top + 0.24 * i
        if colour is not None:
            page.text(_MARGIN, y, "●", color=colour, fontsize=8)
        page.text(_MARGIN + 0.2, y, line, fontsize=9.5)


def _ranges_title(reader: Reader, n_keys: int) -> str:
    n = len(reader.episodes)
    text = (
        f"Range of every channel in the {n} episodes shown" if n > 1 else "Range of every channel"
    )
    return f"{text}, {MOST_KEYS} of {n_keys} keys" if n_keys > MOST_KEYS else text


def _draw_columns(page: figures.Page, columns: Sequence[Sequence[Survey]], top: float) -> None:
    width = (page.width - 2 * _MARGIN) / 3
    for i, column in enumerate(columns):
        y = top
        for survey in column:
            left = _MARGIN + i * width
            _ranges(page, survey, left, y, width, survey.sampled(), survey.key.name)
            y += _height(survey) + _TITLE


def _heading(page: figures.Page, top: float, text: str) -> None:
    """A heading over ranges, and how they are drawn."""
    remark = "thin: lowest to highest, thick: middle 98 %, dot: median"
    page.text(_MARGIN, top, text, fontsize=11, fontweight="bold")
    left = _MARGIN + figures.text_width(text, 11, bold=True) + 0.15
    page.text(left, top + 0.025, remark, color=palette.MUTED, fontsize=8.5)


def _words(findings: Sequence[Finding]) -> list[tuple[str | None, str]]:
    """Colour of the bullet, None within a finding, and text of every line."""
    lines: list[tuple[str | None, str]] = []
    for finding in findings[:MOST_FINDINGS]:
        colour = palette.INTERVENTION if finding.kind == "look" else palette.MUTED
        for i, line in enumerate(wrap(finding.text, font(13), 1150, 3)):
            lines.append((None if i else colour, line))
    if len(findings) > MOST_FINDINGS:
        lines.append((None, f"and {len(findings) - MOST_FINDINGS} more, in index.html"))
    if not any(finding.kind == "look" for finding in findings):
        lines.insert(0, ("#009e73", "nothing stands out"))
    return lines


def _instructions(reader: Reader) -> list[tuple[str, float, str]]:
    """Words, share and colour of the instructions that take most steps."""
    n = sum(reader.phase_steps.values())
    order = sorted(reader.phase_steps, key=lambda phase: -reader.phase_steps[phase])
    shown = sorted(order[:MOST_WORDS])
    bars = [
        (reader.words(p), reader.phase_steps[p] / n, reader.colours.get(p, palette.MUTED))
        for p in shown
    ]
    rest = order[MOST_WORDS:]
    if rest:
        share = sum(reader.phase_steps[p] for p in rest) / n
        bars.append((f"{len(rest)} others", share, palette.MUTED))
    return bars


def _top_row(
    page: figures.Page,
    reader: Reader,
    totals: Totals,
    bars: Sequence[tuple[str, float, str]],
    top: float,
    height: float,
) -> None:
    """Histograms of all episodes, and the shares of the instructions."""
    unit = "steps" if reader.rate is None else "s"
    panels: list[Callable[[Any], None]] = [
        lambda axes: _histogram(
            axes,
            np.asarray(reader.time(1) * reader.lengths, np.float64),
            "length of the episodes",
            unit,
        )
    ]
    for values, title in ((totals.returns, "return"), (totals.costs, "cost")):
        if values is not None:
            panels.append(
                lambda axes, values=values, title=title: _histogram(  # type: ignore[misc]
                    axes, values, f"{title} of the episodes", ""
                )
            )
    room = page.width - 2 * _MARGIN
    label = max((figures.text_width(words, 9) for words, *_ in bars), default=0.0)
    label = min(label, _LONGEST_LABEL) + 0.2 if bars else 0.0
    width = (room - label) / (len(panels) + bool(bars))
    for i, draw in enumerate(panels):
        draw(page.axes(_MARGIN + i * width + 0.45, top, width - 0.7, min(height, 2.0)))
    if not bars:
        return
    left = _MARGIN + len(panels) * width + label
    axes = page.axes(left, top, width - 0.5, height)
    places = np.arange(len(bars))
    axes.barh(
        places, [100 * share for _, share, _ in bars], color=[c for *_, c in bars], height=0.7
    )
    axes.set_yticks(places, [_label(words, 9, _LONGEST_LABEL) for words, *_ in bars])
    axes.tick_params(axis="y", colors=palette.INK)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_title("instructions", loc="left", fontsize=9.5, pad=4)
    axes.set_xlabel("% of the steps")


def _label(text: str, points: float, width: float) -> str:
    """A text that fits into a width [in]."""
    return fit(text, font(round(points * figures.DPI / 72)), width * figures.DPI)


def _histogram(axes: Any, values: Numbers, title: str, unit: str) -> None:
    values = np.asarray(values, np.float64)
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(1.0, abs(high)):
        axes.bar([low], [len(values)], width=max(1.0, abs(low)) * 0.1, color=palette.LINE)
        axes.set_xlim(low - 0.5 * max(1.0, abs(low)), low + 0.5 * max(1.0, abs(low)))
    else:
        whole = high - low <= 30 and bool((values == values.round()).all())
        bins = np.arange(low - 0.5, high + 1) if whole else min(30, max(8, len(values) // 4))
        axes.hist(values, bins=bins, color=palette.LINE, rwidth=0.92)
    axes.axvline(float(np.median(values)), color=palette.INK, lw=1)
    axes.set_title(title, loc="left", fontsize=9.5, pad=4)
    median = f"line: median {np.median(values):.4g}"
    axes.set_xlabel(f"[{unit}], {median}" if unit else median)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.set_ylabel("episodes")


def _shown(survey: Survey) -> int:
    return min(MOST_CHANNELS, len(survey.key.channels))


def _height(survey: Survey) -> float:
    return _ROW * _shown(survey) + 0.12


def _columns(keys: Sequence[Survey]) -> list[list[Survey]]:
    """Keys in three columns of about the same height."""
    columns: list[list[Survey]] = [[], [], []]
    heights = [0.0, 0.0, 0.0]
    for survey in sorted(keys, key=_height, reverse=True):
        place = int(np.argmin(heights))
        columns[place].append(survey)
        heights[place] += _height(survey) + _TITLE
    return [column for column in columns if column]


def _ranges(
    page: figures.Page,
    survey: Survey,
    left: float,
    top: float,
    width: float,
    samples: Numbers,
    title: str,
) -> None:
    n, key = _shown(survey), survey.key
    label = 0.95
    axes = page.axes(left + label, top, width - label - 0.3, _height(survey))
    places = np.arange(n)
    if title:
        low, high = survey.low[:n], survey.high[:n]
        more = f", first {n} of {key.n_channels} channels" if n < len(key.channels) else ""
        unit = f" [{key.unit}]" if key.unit not in (None, "1") else ""
        axes.set_title(
            fit(f"{title}{unit}{more}", font(13), 100 * (width - label)), loc="left",
            fontsize=9.5, pad=4,
        )  # fmt: skip
    else:
        low, high = (
            np.zeros(n),
            np.where(np.isfinite(survey.steepest.value), survey.steepest.value, 0)[:n],
        )
        if key.unit not in (None, "1"):
            axes.set_xlabel(f"[{plain(key.unit or '')[:30]}] per step")
    least, middle, most = quantiles(samples[:, :n], (0.01, 0.5, 0.99))
    axes.hlines(places, low, high, color=palette.LINE, lw=1)
    axes.hlines(places, least, most, color=palette.LINE, lw=5, alpha=0.55)
    axes.plot(middle, places, "o", color=palette.INK, ms=3.5)
    names = [_label(key.channel_name(channel), 8.5, label - 0.1) for channel in key.channels[:n]]
    axes.set_yticks(places, names if n > 1 else [""])
    axes.tick_params(axis="y", colors=palette.INK, labelsize=8.5)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylim(n - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5))
