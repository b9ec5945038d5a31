"""Colours, the same in every picture, and told apart by people who see colours differently.

From Okabe and Ito (2008) and the "muted" scheme of Paul Tol; every phase is also named in words.
"""

from collections.abc import Iterable

INK, MUTED, FAINT, PANEL, PAPER = "#1b1f24", "#667079", "#d5dade", "#f5f7f9", "#ffffff"
LINE = "#0072b2"
INTERVENTION = "#d55e00"
"""Vermillion is kept for what a person did and for what deserves a look."""
_PHASES = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#882255",
    "#999933", "#332288", "#44aa99", "#aa4499", "#ddcc77", "#117733",
)  # fmt: skip
MOST_IN_LEGEND = 36

Rgb = tuple[int, int, int]


def rgb(colour: str) -> Rgb:
    """Red, green and blue (0..255) of a colour written as #rrggbb."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def pale(colour: str, share: float) -> str:
    """A colour mixed with white; `share` 0 leaves it, 1 is white."""
    return "#" + "".join(f"{round(c + (255 - c) * share):02x}" for c in rgb(colour))


def phase_colours(ids: Iterable[int]) -> dict[int, str]:
    """A colour for each phase, in the order in which they come; paler ones after the twelfth."""
    colours: dict[int, str] = {}
    for phase in ids:
        if phase not in colours:
            again, place = divmod(len(colours), len(_PHASES))
            colours[phase] = pale(_PHASES[place], min(0.35 * again, 0.7))
    return colours
