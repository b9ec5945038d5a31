"""Folding of any Unicode text to plain lower-case words, in time linear in its length."""

from __future__ import annotations

import re
import string
import unicodedata

CONTROL = "\0"
"""Stands in folded text for every control character, lone surrogate and unassigned code point."""

_APOSTROPHES = frozenset("'`´‘’‛ʼ′＇")
_STOP_SIGNS = frozenset("🛑⛔")
_LATIN_MARKS = re.compile("[\u0300-\u036f\u20d0-\u20ff\ufe00-\ufe0f]")


class _FoldTable(dict[int, str]):
    """A table for `str.translate`, filled as characters are met.

    Characters are normalised one by one because `unicodedata.normalize` takes quadratic time on a
    long run of combining marks.
    """

    def __missing__(self, code: int) -> str:
        folded = _fold_character(chr(code))
        if len(self) < 4096:
            self[code] = folded
        return folded


def _fold_character(character: str) -> str:
    category = unicodedata.category(character)
    if character in _APOSTROPHES:
        return ""
    if character in _STOP_SIGNS:
        return " stop "
    if character.isspace() or character == "_":
        return " "
    if category == "Cf":
        return ""
    if category[0] == "C":
        return CONTROL
    if category == "Pd" or character == "−":
        return "-"
    plain = unicodedata.normalize("NFKC", character).casefold()
    plain = _LATIN_MARKS.sub("", unicodedata.normalize("NFKD", plain)).replace("⁄", "/")
    if len(plain) > 4:  # keeps folding linear: one ligature stands for eighteen letters
        return character
    if category == "No":
        return f" {plain} "
    if category[0] == "P" and not plain.isascii():
        return ","
    return plain


_TABLE = _FoldTable()
for _character in string.printable:
    _TABLE[ord(_character)] = _fold_character(_character)

_TOKEN = re.compile(
    r"""
      [.,]?\d+(?:[.,/]\d+)*   # a numeral, readable or not
    | [^\W\d_]+               # a word
    | -(?=\s*[.,]?\d)         # a minus
    | [?%]
    | [^\w\s,.!;:()\[\]{}"&#*@/\\\-\x00]   # any other symbol; what is left out is punctuation
    """,
    re.VERBOSE,
)


def fold(text: str) -> str:
    """Return `text` in lower case and compatibility form, without accents and apostrophes.

    Invisible characters vanish ("st\u200bop" is "stop"), dashes become "-", other punctuation
    outside ASCII becomes ",", and control characters become `CONTROL`.
    """
    return text.translate(_TABLE)


def words(text: str) -> list[str]:
    """Return the words, numerals and meaningful symbols (`-` before a numeral, `%`, `?`) of `text`.

    Punctuation is dropped. Unknown symbols are kept, so that a grammar has to account for them.
    """
    return _TOKEN.findall(fold(text))
