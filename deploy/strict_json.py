"""JSON from somebody else: bounded, without the freedoms that let two readers see two things."""

import json
import math
from typing import Any, TypeVar

import dacite

T = TypeVar("T")

MAX_BYTES = 2**20
MAX_DEPTH = 8
MAX_ITEMS = 4096
"""Entries of one list or object."""
MAX_TEXT = 1000
"""Characters of one text."""


def parse(data: bytes) -> Any:
    """Parse UTF-8 JSON.

    Raises:
        ValueError: in one line: it is not JSON, is larger, deeper or longer than the limits, has a
            key twice, a number that is not finite, or a text with control characters.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    try:
        content = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from None
    _check(content, MAX_DEPTH)
    return content


def build(kind: type[T], content: dict[str, Any]) -> T:
    """A dataclass of what was parsed: every field there, of its type, and no other.

    Raises:
        ValueError: it does not fit, or the dataclass itself does not take it.
    """
    try:
        return dacite.from_dict(kind, content, dacite.Config(strict=True))
    except (dacite.DaciteError, TypeError, AttributeError, ValueError) as error:
        # Not all that dacite trips over is an error of its own.
        raise ValueError(str(error)) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("it has a key twice")
    return content


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _check(content: Any, depth: int) -> None:
    if depth < 0:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(content, str):
        if len(content) > MAX_TEXT:
            raise ValueError(f"it has a text of more than {MAX_TEXT} characters")
        if not content.isprintable():
            raise ValueError(
                f"it has a text with characters that cannot be shown: {content[:40]!r}"
            )
    elif isinstance(content, float):
        if not math.isfinite(content):
            raise ValueError("it has a number that is not finite")
    elif isinstance(content, list | dict):
        if len(content) > MAX_ITEMS:
            raise ValueError(f"it has a list of more than {MAX_ITEMS} entries")
        for part in content:
            _check(part, depth - 1)
        if isinstance(content, dict):
            for part in content.values():
                _check(part, depth - 1)
