"""A strict and bounded reader of the protobuf wire format.

It never copies, never recurses further than its caller, and refuses what a writer of ONNX does not
write: groups, fields it does not know, and a second value where there can be one (which protobuf
would merge, so that two readers could see two models in one file).
Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from bridle.deploy.exceptions import BundleError

MAX_TEXT = 1024
"""Longest name [bytes]."""
MAX_INTEGERS = 4096
"""Longest list of integers that is decoded."""


class Kind(Enum):
    """What a field holds."""

    INTEGER = auto()
    """A signed 64-bit integer."""
    FLOAT = auto()
    """Four bytes, not looked at."""
    FLOATS = auto()
    """Floats one by one or packed, not looked at."""
    TEXT = auto()
    """UTF-8, up to `MAX_TEXT` bytes."""
    DATA = auto()
    """Bytes, as a view."""
    INTEGERS = auto()
    """Integers one by one or packed, up to `MAX_INTEGERS`."""
    TEXTS = auto()
    MESSAGE = auto()
    """One message, as a view."""
    MESSAGES = auto()
    IGNORED = auto()
    """Documentation: its length is checked and nothing else."""


@dataclass(frozen=True)
class Entry:
    """A field of a message: its name in the result, and what it holds."""

    name: str
    kind: Kind


@dataclass
class Budget:
    """Fields that may still be read of one file: small ones could be as many as its bytes."""

    fields: int = field(default=500_000)

    def spend(self) -> None:
        """Count one field.

        Raises:
            BundleError: there are too many.
        """
        self.fields -= 1
        if self.fields < 0:
            raise BundleError("it has too many parts")


_REPEATED = {Kind.FLOATS, Kind.INTEGERS, Kind.TEXTS, Kind.MESSAGES}
_WIRE_TYPES = {
    Kind.INTEGER: (0,),
    Kind.FLOAT: (5,),
    Kind.FLOATS: (2, 5),
    Kind.TEXT: (2,),
    Kind.DATA: (2,),
    Kind.INTEGERS: (0, 2),
    Kind.TEXTS: (2,),
    Kind.MESSAGE: (2,),
    Kind.MESSAGES: (2,),
    Kind.IGNORED: (2,),
}


def read(data: memoryview, schema: Mapping[int, Entry], budget: Budget) -> dict[str, Any]:
    """Read one message; fields that are absent are absent in the result, lists are never.

    Args:
        data: the message's bytes.
        schema: field number -> what it is; any other number is refused.
        budget: spent on every field.

    Raises:
        BundleError: the bytes are no such message, or break a limit.
    """
    found: dict[str, Any] = {e.name: [] for e in schema.values() if e.kind in _REPEATED}
    for number, wire_type, value in _fields(data, budget):
        entry = schema.get(number)
        if entry is None or wire_type not in _WIRE_TYPES[entry.kind]:
            raise BundleError(f"it has a part {number} of type {wire_type} that does not belong")
        match entry.kind:
            case Kind.IGNORED:
                continue
            case Kind.INTEGERS:
                numbers = [value] if wire_type == 0 else list(_packed(value))
                found[entry.name] += numbers
                if len(found[entry.name]) > MAX_INTEGERS:
                    raise BundleError(f"{entry.name} has more than {MAX_INTEGERS} numbers")
                continue
            case Kind.TEXT | Kind.TEXTS:
                value = _text(value, entry.name)
            case _:
                pass
        if entry.kind in _REPEATED:
            found[entry.name].append(value)
        elif entry.name in found:
            raise BundleError(f"{entry.name} is given twice")
        else:
            found[entry.name] = value
    return found


def integers(packed: memoryview) -> list[int]:
    """Packed varints as signed 64-bit integers.

    Raises:
        BundleError: they are cut off, or more than `MAX_INTEGERS`.
    """
    return list(_packed(packed))


def _fields(data: memoryview, budget: Budget) -> Iterator[tuple[int, int, Any]]:
    at, end = 0, len(data)
    while at < end:
        budget.spend()
        key, at = _varint(data, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _varint(data, at)
            yield number, wire_type, value - (1 << 64) if value >> 63 else value
            continue
        if wire_type == 2:
            length, at = _varint(data, at)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise BundleError(f"it has a part of the unknown type {wire_type}")
        if length > end - at:
            raise BundleError("it is cut off")
        yield number, wire_type, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise BundleError("it is cut off")
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            if value >> 64:
                raise BundleError("it has a number of more than 64 bits")
            return value, at
        shift += 7
        if shift > 63:
            raise BundleError("it has a number of more than 64 bits")


def _packed(data: memoryview) -> Iterator[int]:
    at = count = 0
    while at < len(data):
        value, at = _varint(data, at)
        count += 1
        if count > MAX_INTEGERS:
            raise BundleError(f"a list has more than {MAX_INTEGERS} numbers")
        yield value - (1 << 64) if value >> 63 else value


def _text(data: memoryview, name: str) -> str:
    if len(data) > MAX_TEXT:
        raise BundleError(f"{name} is longer than {MAX_TEXT} bytes")
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{name} is not UTF-8") from error
