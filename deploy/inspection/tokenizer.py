"""The tokenizer, checked before its library compiles what it says.

The library knows many kinds, among them regular expressions that never end. A bundle has one kind:
lower case, words split at whatever is no letter or digit, a number for each word.
"""

from typing import Any

from bridle.deploy import strict_json
from bridle.deploy.exceptions import BundleError

_SPLIT = {
    "type": "Split",
    "pattern": {"Regex": r"[\W_]+"},
    "behavior": "Removed",
    "invert": False,
}
_EXPECTED: dict[str, Any] = {
    "truncation": None,
    "added_tokens": [],
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": _SPLIT,
    "post_processor": None,
    "decoder": None,
}
MAX_LENGTH = 1024
"""Longest sentence [words]."""


def inspect_tokenizer(data: bytes) -> None:
    """Refuse a tokenizer of any other kind.

    Raises:
        BundleError: saying what it may not have, without the file's name.
    """
    try:
        content = strict_json.parse(data)
    except ValueError as error:
        raise BundleError(f"it cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise BundleError("it is no tokenizer")
    for name, expected in _EXPECTED.items():
        if content.get(name, expected) != expected:
            raise BundleError(f"its {name} is not the one of a bundle")
    model, padding = content.get("model"), content.get("padding")
    if not isinstance(padding, dict) or padding.get("pad_to_multiple_of") is not None:
        raise BundleError("it does not fill sentences up to one length")
    if not isinstance(model, dict) or model.get("type") != "WordLevel":
        raise BundleError("its model is not a list of words")
    strategy = padding.get("strategy")
    length = strategy.get("Fixed") if isinstance(strategy, dict) else None
    if type(length) is not int or not 1 <= length <= MAX_LENGTH:
        raise BundleError(f"its sentences do not have a fixed length of up to {MAX_LENGTH} words")
