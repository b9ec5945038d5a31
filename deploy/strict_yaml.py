"""YAML that people write, read strictly: known keys, numbers in a range, nothing given twice."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 2**20


class FileError(ValueError):
    """What is wrong with a file, in one line."""


def read_text(path: Path, most: int = MAX_BYTES) -> str:
    """The UTF-8 text of a file of at most `most` bytes.

    Raises:
        FileError: it cannot be read, is larger, or is no text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise FileError(f"cannot be read: it is larger than {most} bytes")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot be read: {error}") from error


def read(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        FileError: it cannot be read, is not YAML, or has a key twice.
    """
    try:
        return yaml.load(read_text(path), _StrictLoader)
    except yaml.YAMLError as error:
        raise FileError(f"not YAML: {' '.join(str(error).split())}") from error


class _StrictLoader(yaml.SafeLoader):
    """YAML lets a repeated key win silently; in a file of limits that is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key}' is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


# -- values, with the place where they stand -------------------------------------------------------


def mapping(
    content: Any, where: str, required: Sequence[str], optional: Sequence[str] = ()
) -> Mapping[str, Any]:
    """A mapping with all of the required keys, and no other but the optional ones."""
    if not isinstance(content, Mapping):
        known = ", ".join(required or optional)
        raise FileError(f"{where}: expected the keys {known}, got {content!r}")
    unknown = [str(key) for key in content if key not in (*required, *optional)]
    if unknown:
        known = ", ".join((*required, *optional))
        raise FileError(f"{where}: unknown key '{unknown[0]}'; known: {known}")
    missing = [key for key in required if key not in content]
    if missing:
        raise FileError(f"{where}: key '{missing[0]}' is missing")
    return content


def sequence(content: Any, where: str) -> Sequence[Any]:
    """A list."""
    if not isinstance(content, list):
        raise FileError(f"{where}: expected a list, got {content!r}")
    return content


def name(value: Any, where: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise FileError(f"{where}: expected a name, got {value!r}")
    return value


def number(value: Any, where: str, low: float, high: float) -> float:
    """A number in [low, high]."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise FileError(f"{where}: expected a number in [{low:g}, {high:g}], got {value!r}")
    return float(value)


def interval(value: Any, where: str, largest: float) -> tuple[float, float]:
    """[min, max] with min below max, both in [-largest, largest]."""
    if not isinstance(value, list) or len(value) != 2:
        raise FileError(f"{where}: expected [min, max], got {value!r}")
    low, high = (number(v, where, -largest, largest) for v in value)
    if low >= high:
        raise FileError(f"{where}: min must be below max, got [{low:g}, {high:g}]")
    return low, high


def unique(names: Sequence[str], where: str) -> None:
    """Refuse a name that is given twice."""
    for each in names:
        if names.count(each) > 1:
            raise FileError(f"{where}: '{each}' is given twice")
