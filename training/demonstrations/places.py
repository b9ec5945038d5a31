"""Where a set is: a path on this machine, or a URL that fsspec knows (s3://, gs://, memory://)."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]+::)*[a-z][a-z0-9+.-]+://")
# pathlib makes one slash of two.
_FLATTENED = re.compile(r"([a-z][a-z0-9+.-]+):/(?!/)")
_LOCAL = ("file", "local")


def locate(path: Path | str) -> Path | str:
    """A local path as a `Path`, anything else as the text of its URL.

    `file://` URLs are local, and a URL that went through `Path` ("s3:/bucket/set") is mended.
    """
    text = os.fspath(path)
    flattened = _FLATTENED.match(text)
    if flattened and not Path(text).exists() and _is_protocol(flattened[1]):
        text = text.replace(":/", "://", 1)
    if not _URL.match(text):
        return Path(text)
    parts = urlsplit(text)
    if parts.scheme in _LOCAL and "::" not in text:
        return Path(url2pathname(parts.netloc + parts.path))
    return text.rstrip("/")


def is_zip(place: Path | str) -> bool:
    """Whether a set at this place is to be a zip, by its name."""
    return str(place).lower().endswith(".zip")


def suffixed(place: Path | str, suffix: str) -> Path | str:
    """The place beside it whose name has a suffix more."""
    if isinstance(place, Path):
        return place.with_name(place.name + suffix)
    return place + suffix


def cache_folder() -> Path:
    """Where Bridle may keep what it can make again: `$XDG_CACHE_HOME/bridle`, ~/.cache/bridle."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "bridle"


def _is_protocol(name: str) -> bool:
    import fsspec

    return name in fsspec.available_protocols()
