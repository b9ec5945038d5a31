"""Numbers, lengths and percentages as people say and write them.

Every reader takes the words of a sentence and a position, and returns the value with the position
after it, or None where there is none.
"""

from __future__ import annotations

import re

UNITS: dict[str, float] = {
    name: metres
    for names, metres in (
        ("mm millimetre millimetres millimeter millimeters", 0.001),
        ("cm cms centimetre centimetres centimeter centimeters", 0.01),
        ("dm decimetre decimetres decimeter decimeters", 0.1),
        ("m metre metres meter meters", 1.0),
        ("in inch inches", 0.0254),
        ("ft foot feet", 0.3048),
    )
    for name in names.split()
}
"""Metres in one of each unit."""

_ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = [
    *("ten", "eleven", "twelve", "thirteen", "fourteen"),
    *("fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_CARDINALS = {
    **{word: value for value, word in enumerate(_ONES + _TEENS)},
    **{word: 10 * value for value, word in enumerate(_TENS, start=2)},
}
_FRACTIONS = {"half": 1 / 2, "third": 1 / 3, "quarter": 1 / 4, "quarters": 1 / 4, "thirds": 1 / 3}
_ARTICLES = ("a", "an")


def is_numeral(word: str) -> bool:
    """Return whether `word` is written in digits, readable or not."""
    return word[-1].isdecimal()


def numeral(word: str) -> float | None:
    """Return the value of "3", "0.5", "0,5" or "1/2"; None for "1,000" (1 or 1000?) and ".5"."""
    if re.fullmatch(r"\d+(\.\d+)?", word):
        return float(word)
    if re.fullmatch(r"0+,\d+|\d+,(\d{1,2}|\d{4,})", word):
        return float(word.replace(",", "."))
    if fraction := re.fullmatch(r"(\d+)/(\d+)", word):
        above, below = map(float, fraction.groups())
        # Beyond the range of floats a quotient of numerals is not a number anyone says.
        return above / below if 0 < below < 1e6 and above < 1e6 else None
    return None


def read_number(tokens: list[str], at: int) -> tuple[float, int] | None:
    """Read "3", "1 1/2", "twenty five", "one point five", "two and a half", "three quarters"."""
    if tokens[at : at + 3] in (["a", "couple", "of"], ["couple", "of"]):
        return 2.0, at + 3
    if tokens[at : at + 2] == ["a", "couple"]:
        return 2.0, at + 2
    whole = _read_whole(tokens, at)
    if whole is None:
        start = at + 1 if _at(tokens, at) in _ARTICLES else at
        fraction = _FRACTIONS.get(_at(tokens, start))
        return None if fraction is None else (fraction, start + 1)
    value, end = whole
    part = _at(tokens, end)
    if part in _FRACTIONS and (value == 1 or part.endswith("s")):
        return value * _FRACTIONS[part], end + 1
    return _read_and_fraction(tokens, value, 1.0, end)


def read_length(tokens: list[str], at: int) -> tuple[float, int] | None:
    """Read a length in metres: "2 cm", "half an inch", "a centimetre and a half", "-1 cm"."""
    sign, start = (-1.0, at + 1) if _at(tokens, at) in ("-", "minus") else (1.0, at)
    value, end = read_number(tokens, start) or (1.0, start)
    if end > start and _at(tokens, end) == "of":
        end += 1
    if _at(tokens, end) in _ARTICLES:
        end += 1
    unit = UNITS.get(_at(tokens, end))
    if unit is None or end == start:
        return None
    length, end = _read_and_fraction(tokens, value * unit, unit, end + 1)
    return sign * length, end


def read_percent(tokens: list[str], at: int) -> tuple[float, int] | None:
    """Read a percentage as a fraction of one: "50 %", "fifty percent", "a hundred per cent"."""
    number = read_number(tokens, at)
    if number is None:
        return None
    value, end = number
    if _at(tokens, end) in ("%", "percent"):
        return value / 100, end + 1
    if tokens[end : end + 2] == ["per", "cent"]:
        return value / 100, end + 2
    return None


def _at(tokens: list[str], at: int) -> str:
    return tokens[at] if at < len(tokens) else ""


def _read_whole(tokens: list[str], at: int) -> tuple[float, int] | None:
    first = _at(tokens, at)
    if first and is_numeral(first):
        value = numeral(first)
        if value is None:
            return None
        second = _at(tokens, at + 1)
        if "/" in second and "/" not in first and (part := numeral(second)) is not None:
            return value + part, at + 2
        return value, at + 1
    if first in ("a", "one") and _at(tokens, at + 1) == "hundred":
        rest = at + 3 if _at(tokens, at + 2) == "and" else at + 2
        below = _read_below_hundred(tokens, rest)
        return (100 + below[0], below[1]) if below else (100.0, at + 2)
    small = _read_below_hundred(tokens, at)
    if small is None or _at(tokens, small[1]) != "point":
        return small
    value, end = small
    digits = ""
    while _at(tokens, end + 1 + len(digits)) in _ONES:
        digits += str(_ONES.index(tokens[end + 1 + len(digits)]))
    return (float(f"{value:.0f}.{digits}"), end + 1 + len(digits)) if digits else small


def _read_below_hundred(tokens: list[str], at: int) -> tuple[float, int] | None:
    value = _CARDINALS.get(_at(tokens, at))
    if value is None:
        return None
    ones = _CARDINALS.get(_at(tokens, at + 1), 0)
    if value >= 20 and 0 < ones < 10:
        return float(value + ones), at + 2
    return float(value), at + 1


def _read_and_fraction(tokens: list[str], value: float, of: float, at: int) -> tuple[float, int]:
    """Add a following "and a half" of `of` to `value`."""
    if _at(tokens, at) == "and":
        start = at + 2 if _at(tokens, at + 1) in _ARTICLES else at + 1
        count = _CARDINALS.get(_at(tokens, start), 1)
        start += _at(tokens, start) in _CARDINALS
        if (fraction := _FRACTIONS.get(_at(tokens, start))) is not None:
            return value + count * fraction * of, start + 1
    return value, at
