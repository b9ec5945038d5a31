"""Foreign keys become Bridle's: names, layouts of images, dtypes, units."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bridle.training.converters.source import UNKNOWN, Block, Column, ConversionError, Rule
from bridle.training.demonstrations.schema import (
    CAMERA_PREFIX,
    DEPTH_PREFIX,
    Array,
    DemonstrationError,
    KeySpec,
    known_key,
)

_SMALLEST_IMAGE = 8
"""Pixels; what is smaller is taken for a matrix unless the user maps it to a camera."""
_PEEK_TOLERANCE = 1e-2
"""Of one grey level: what float32 and float64 may differ by after a division by 255."""

Convert = Callable[[Array], Array]


def known_spec(key: str) -> KeySpec | None:
    """The specification of a key if Bridle knows it."""
    try:
        return known_key(key)
    except DemonstrationError:
        return None


def identifier(name: str) -> str:
    """A name as an identifier: everything else becomes an underscore."""
    clean = re.sub(r"\W", "_", name, flags=re.ASCII)
    return clean if clean.isidentifier() else f"_{clean}"


def camera_key(name: str) -> str:
    """`camera_<name>` for an image column, without what its name says twice."""
    clean = identifier(name)
    short = re.sub(r"^(camera|cam|image|img)_?(?=\w)", "", clean)
    short = re.sub(r"(?<=\w)_(rgb|image|img|color)$", "", short)
    return CAMERA_PREFIX + (short or clean)


def is_image(shape: Sequence[int], dtype: str) -> bool:
    """Whether a column looks like RGB images, rows or channels first."""
    if len(shape) != 3 or np.dtype(dtype).kind not in "uf":
        return False
    if np.dtype(dtype).kind == "u" and dtype != "uint8":
        return False
    height, width = shape[1:] if _channels_first(shape) else shape[:2]
    return 3 in (shape[0], shape[2]) and min(height, width) >= _SMALLEST_IMAGE


def _channels_first(shape: Sequence[int]) -> bool:
    return shape[0] == 3 and shape[2] != 3


@dataclass(frozen=True)
class _Field:
    """One key of the result: the columns it is made of, and how."""

    sources: tuple[str, ...]
    spec: KeySpec
    convert: Convert
    from_zero: bool = False
    """Time that begins anew with each episode."""


class KeyMap:
    """Which columns become which keys.

    Args:
        columns: what the source has.
        rules: what the user says; it goes before the columns' own keys.
        peek: first rows (t, ...) of a column, to see how images of floats are scaled.
        derived: what the source makes of its columns, besides carrying them.
        instruction: sentence of all episodes, for sources without their own.
        instructions: the source's own sentences.

    Raises:
        ConversionError: a rule names what is not there, two columns would share a key, or a column
            cannot become the key.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        rules: Sequence[Rule],
        peek: Callable[[str], Array],
        derived: Sequence[Rule] = (),
        instruction: str | None = None,
        instructions: Sequence[str] = (),
    ) -> None:
        self._fields: dict[str, _Field] = {}
        self.left_out: dict[str, str] = {}
        """Columns that are not converted, with the reason."""
        self.instructions = tuple(instructions)
        self._peek = peek
        ruled = {name for rule in rules for name in rule.sources}
        unknown = sorted(ruled - columns.keys())
        if unknown:
            raise ConversionError(
                f"--map: there is no {', '.join(unknown)}; there are {', '.join(sorted(columns))}"
            )
        for rule in rules:
            if rule.key:
                self._add(rule, [columns[name] for name in rule.sources])
            else:
                self.left_out.update(dict.fromkeys(rule.sources, "as asked"))
        for name, column in columns.items():
            if name in ruled:
                continue
            if column.key:
                self._add(Rule((name,), column.key), [column], explicit=False)
            else:
                self.left_out[name] = column.left_out or "not wanted"
        for rule in derived:
            if rule.key not in self._fields:
                self._add(rule, [columns[name] for name in rule.sources], explicit=False)
        if "action" not in self._fields:
            raise ConversionError(
                "nothing becomes `action`; name it with --map SOURCE=action. There are "
                f"{', '.join(sorted(columns))}"
            )
        self.constant: dict[str, Array] = {}
        if instruction:
            if "instruction_id" in self._fields:
                raise ConversionError("--instruction: the data set has instructions of its own")
            self.instructions = (instruction,)
            self.constant["instruction_id"] = np.zeros(1, np.int32)

    @property
    def specs(self) -> dict[str, KeySpec]:
        """The keys of the result, in alphabetical order."""
        specs = {key: field.spec for key, field in self._fields.items()}
        specs |= {key: known_key(key) for key in self.constant}
        return dict(sorted(specs.items()))

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns that are needed."""
        return tuple(dict.fromkeys(name for f in self._fields.values() for name in f.sources))

    def convert(self, blocks: Iterator[Block]) -> Iterator[dict[str, Array]]:
        """The blocks of one episode, converted.

        Raises:
            DemonstrationError: a value cannot be converted exactly, with its key and row.
        """
        row = 0
        start: Array | None = None
        for block in blocks:
            length = len(next(iter(block.values())))
            result: dict[str, Array] = {}
            for key, made in self._fields.items():
                try:
                    rows = made.convert(_side_by_side([block[name] for name in made.sources]))
                except _InexactError as error:
                    raise DemonstrationError(
                        f"{'+'.join(made.sources)}, row {row + error.row}: {error}"
                    ) from None
                if made.from_zero:
                    start = rows[:1].copy() if start is None else start
                    rows = rows - start
                result[key] = rows
            for key, value in self.constant.items():
                result[key] = np.repeat(value, length)
            yield result
            row += length

    def _add(self, rule: Rule, columns: Sequence[Column], explicit: bool = True) -> None:
        key, where = rule.key, "+".join(rule.sources)
        if key in self._fields:
            other = "+".join(self._fields[key].sources)
            raise ConversionError(
                f"{where} and {other} would both become {key}; say which with --map"
            )
        own = columns[0].spec if len(columns) == 1 else None
        if own is not None and (not explicit or key == columns[0].key):
            spec = replace(own, unit=rule.unit) if rule.unit else own
            self._fields[key] = _Field(rule.sources, spec, _same)
            return
        shape = _joined_shape(where, columns)
        dtype = np.result_type(*[np.dtype(c.dtype) for c in columns]).name
        unit = rule.unit or (columns[0].unit if len({c.unit for c in columns}) == 1 else UNKNOWN)
        meaning = "; ".join(
            dict.fromkeys(c.meaning or n for n, c in zip(rule.sources, columns, strict=True))
        )
        joined = KeySpec(shape, dtype, unit, meaning)
        if key.startswith(CAMERA_PREFIX):
            spec, convert = self._camera(where, rule.sources[0], joined)
        elif known := known_spec(key):
            spec, convert = _known(where, key, known, joined, explicit and rule.unit is None)
        else:
            spec, convert = joined, _same
        self._fields[key] = _Field(rule.sources, spec, convert, from_zero=key == "timestamp")

    def _camera(self, where: str, source: str, joined: KeySpec) -> tuple[KeySpec, Convert]:
        shape, dtype = joined.shape, np.dtype(joined.dtype)
        if len(shape) != 3 or 3 not in (shape[0], shape[2]):
            raise ConversionError(
                f"{where}: a camera needs RGB images (H, W, 3) or (3, H, W), got {shape}"
            )
        first = _channels_first(shape)
        spec = known_key(f"{CAMERA_PREFIX}x", (*shape[1:], 3) if first else shape)
        if dtype == np.uint8:
            return spec, _channels_last if first else _same
        scale = 255.0 if dtype.kind == "f" and self._is_unit_range(source) else 1.0

        def convert(rows: Array) -> Array:
            return _to_bytes(_channels_last(rows) if first else rows, scale)

        return spec, convert

    def _is_unit_range(self, source: str) -> bool:
        return float(np.max(self._peek(source), initial=0)) <= 1


class _InexactError(ValueError):
    """A value that the target cannot hold."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


def _known(
    where: str, key: str, known: KeySpec, joined: KeySpec, claimed: bool
) -> tuple[KeySpec, Convert]:
    """One of Bridle's keys: its dtype and number of dimensions; its unit if the user says so."""
    shape = joined.shape
    if key.startswith(DEPTH_PREFIX) and shape[-1:] == (1,):
        shape = shape[:-1]
    if len(known.shape) == 0 and shape == (1,):
        shape = ()
    elif len(known.shape) == 1 and shape == ():
        shape = (1,)
    # A 1 in the table stands for any number.
    fits = len(shape) == len(known.shape) and all(
        k in (1, n) for k, n in zip(known.shape, shape, strict=True)
    )
    if not fits:
        raise ConversionError(
            f"{where}: {key} is {_shape(known.shape)} per step, got {shape}; "
            f"give it another name with --map {where}=NAME"
        )
    target = shape
    if np.dtype(known.dtype).kind in "ib" and np.dtype(joined.dtype).kind == "f":
        raise ConversionError(f"{where}: {key} holds {known.dtype}, got {joined.dtype}")
    # Rewards, ids and times mean the same everywhere; what an action is only the user knows.
    universal = target == ()
    spec = replace(
        known,
        shape=target,
        unit=known.unit if claimed or (universal and joined.unit == UNKNOWN) else joined.unit,
        meaning=known.meaning if claimed or universal else joined.meaning,
    )

    def convert(rows: Array) -> Array:
        return _exactly(rows.reshape(len(rows), *target), np.dtype(known.dtype))

    return spec, convert


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join('n' if size == 1 else str(size) for size in shape)})"


def _exactly(rows: Array, dtype: np.dtype[np.generic]) -> Array:
    if rows.dtype == dtype:
        return rows
    # Floats lose digits beyond float32, as the schema wants it; everything else must survive.
    with np.errstate(over="ignore", invalid="ignore"):
        result = rows.astype(dtype)
    if rows.dtype.kind != "f" or dtype.kind != "f":
        wrong = (result.astype(rows.dtype) != rows).reshape(len(rows), -1).any(axis=1)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise _InexactError(row, f"{rows[row].tolist()} does not fit into {dtype}")
    return result


def _to_bytes(rows: Array, scale: float) -> Array:
    levels = rows.astype(np.float64) * scale
    whole = np.rint(levels)
    with np.errstate(invalid="ignore"):
        exact = (np.abs(levels - whole) < _PEEK_TOLERANCE) & (whole >= 0) & (whole <= 255)
    wrong = ~exact.reshape(len(rows), -1).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        value = float(rows[row].ravel()[np.argmin(exact[row].ravel())])
        steps = "multiples of 1/255" if scale > 1 else "whole numbers from 0 to 255"
        raise _InexactError(
            row,
            f"the image holds {value:g}, which is none of the {steps}; "
            "--map SOURCE=NAME with a NAME that is no camera carries it as it is",
        )
    return whole.astype(np.uint8)


def _channels_last(rows: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(rows, 1, -1))


def _same(rows: Array) -> Array:
    return rows


def _side_by_side(parts: Sequence[Array]) -> Array:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def _joined_shape(where: str, columns: Sequence[Column]) -> tuple[int, ...]:
    if len(columns) == 1:
        return columns[0].shape
    if any(len(c.shape) > 1 for c in columns):
        raise ConversionError(f"{where}: only numbers and vectors can be joined with +")
    return (sum(int(np.prod(c.shape)) for c in columns),)
