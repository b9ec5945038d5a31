"""Numbers between parquet and numpy, with every length checked."""

import math
from typing import Any

import numpy as np

from bridle.training.converters.source import require
from bridle.training.demonstrations.schema import Array, DemonstrationError


def to_numpy(where: str, first_row: int, column: Any, shape: tuple[int, ...], dtype: str) -> Array:
    """Rows (t, *shape) of a column of numbers or (nested) lists of numbers.

    Args:
        where: name of the column, for errors.
        first_row: number of its first row, for errors.
        column: pyarrow Array.
        shape: of one row; () and (1,) are both plain numbers or lists of one.
        dtype: numpy name.

    Raises:
        DemonstrationError: a value is missing, a list has another length, or the type is another.
    """
    pa = require("pyarrow")
    length = len(column)
    for size in _list_sizes(column.type, shape, pa):
        _refuse_nulls(where, first_row, length, column)
        if pa.types.is_fixed_size_list(column.type):
            if column.type.list_size != size:
                raise DemonstrationError(
                    f"{where}, row {first_row}: expected lists of {size}, "
                    f"got {column.type.list_size}"
                )
        else:
            sizes = np.diff(np.asarray(column.offsets))
            wrong = np.flatnonzero(sizes != size)
            if wrong.size:
                row = first_row + int(wrong[0]) * length // max(len(column), 1)
                raise DemonstrationError(
                    f"{where}, row {row}: expected {size} values, got {sizes[wrong[0]]}"
                )
        column = column.flatten()
    _refuse_nulls(where, first_row, length, column)
    if len(column) != length * math.prod(shape):
        raise DemonstrationError(
            f"{where}, row {first_row}: expected {math.prod(shape)} values a row, "
            f"got {len(column)} in {length} rows"
        )
    flat = column.to_numpy(zero_copy_only=False)
    target = np.dtype(dtype)
    if flat.dtype != target and not np.can_cast(flat.dtype, target, "same_kind"):
        raise DemonstrationError(f"{where}: expected {target}, got {flat.dtype}")
    result: Array = flat.astype(target)
    if target.kind in "iu" and (result != flat).any():
        raise DemonstrationError(f"{where}, row {first_row}: a value does not fit into {target}")
    return result.reshape(length, *shape)


def from_numpy(rows: Array) -> Any:
    """A pyarrow Array of rows (t, ...): plain numbers, or lists of fixed size, nested."""
    pa = require("pyarrow")
    native = np.ascontiguousarray(rows.astype(rows.dtype.newbyteorder("="), copy=False))
    column = pa.array(native.ravel())
    for size in reversed(native.shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column


def _list_sizes(kind: Any, shape: tuple[int, ...], pa: Any) -> list[int]:
    """Expected length of the lists of each level."""
    depth = 0
    types = pa.types
    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind, depth = kind.value_type, depth + 1
    if depth <= 1 < len(shape) or (depth == 1 and shape == ()):
        # Stored flat, or a list of one for a plain number.
        return [math.prod(shape)] * depth
    # A depth that is neither shows as a wrong count of values.
    return [*shape, *[1] * depth][:depth]


def _refuse_nulls(where: str, first_row: int, length: int, column: Any) -> None:
    if column.null_count:
        empty = int(np.argmax(np.asarray(column.is_null())))
        row = first_row + empty * length // max(len(column), 1)
        raise DemonstrationError(f"{where}, row {row}: a value is missing")
