"""What an episode must be to be stored: checked block by block while it is written."""

import zlib
from collections.abc import Mapping

import numpy as np

from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.schema import (
    INSTRUCTION_KEYS,
    Array,
    DemonstrationError,
    first_not_increasing,
    first_out_of_range,
)


class EpisodeCheck:
    """Checks the blocks of one episode. Rows in messages count from its beginning."""

    def __init__(self, attributes: Attributes, where: str) -> None:
        self.n_rows = 0
        """Rows that were found good."""
        self._attributes = attributes
        self._where = where
        self._last_time: Array | None = None

    def block(self, rows: Mapping[str, Array]) -> None:
        """Check a block: every key of the set, rows (t, *shape) of its dtype, all of one t >= 1.

        Raises:
            DemonstrationError: naming key, episode, row, what was expected and got.
        """
        keys, where = self._attributes.keys, self._where
        missing, extra = sorted(keys.keys() - rows.keys()), sorted(rows.keys() - keys.keys())
        if missing or extra:
            raise DemonstrationError(
                f"{where}: expected the keys {', '.join(sorted(keys))}; "
                f"missing {', '.join(missing) or 'none'}, unknown {', '.join(extra) or 'none'}"
            )
        for key, spec in keys.items():
            spec.check(f"data/{key}, {where}", rows[key], self.n_rows)
        lengths = {key: len(values) for key, values in rows.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise DemonstrationError(
                f"{where}: expected one length of at least 1 for all keys, got {lengths}"
            )
        if "timestamp" in rows and rows["timestamp"].ndim == 1:
            self._check_time(rows["timestamp"])
        for key in INSTRUCTION_KEYS:
            if key in rows:
                self._check_instructions(key, rows[key])
        self.n_rows += lengths["action"]

    def end(self) -> None:
        """Refuse an episode without any row.

        Raises:
            DemonstrationError: there was no block.
        """
        if not self.n_rows:
            raise DemonstrationError(f"{self._where}: expected at least 1 row, got no block")

    def _check_time(self, times: Array) -> None:
        before = times[:0] if self._last_time is None else self._last_time
        joined = np.concatenate([before, times])
        first = self.n_rows - len(before)
        row = first_not_increasing(joined)
        if row is not None:
            earlier, now = joined[row - 1 : row + 1].tolist()
            raise DemonstrationError(
                f"data/timestamp, {self._where}, row {first + row}: "
                f"expected more than {earlier} s, got {now} s"
            )
        self._last_time = times[-1:]

    def _check_instructions(self, key: str, ids: Array) -> None:
        count = len(self._attributes.instructions)
        row = first_out_of_range(ids, count)
        if row is not None:
            raise DemonstrationError(
                f"data/{key}, {self._where}, row {self.n_rows + row}: expected one of "
                f"the {count} instructions (0 to {count - 1}), got {ids[row]}"
            )


def checksum(rows: Array, start: int = 0) -> int:
    """CRC-32 of rows (t, ...) in C order, little-endian; `start` is that of the rows before."""
    little = rows.astype(rows.dtype.newbyteorder("<"), order="C", copy=False)
    return zlib.crc32(little.data, start) if little.size else start


def episode_row(
    attributes: Attributes, values: Mapping[str, float] | None, where: str
) -> dict[str, Array]:
    """The per-episode values of one episode as rows (1,) of their columns.

    Raises:
        DemonstrationError: a value is missing, unknown, or does not fit its dtype.
    """
    given = values or {}
    columns = attributes.episode_keys
    missing, extra = sorted(columns.keys() - given.keys()), sorted(given.keys() - columns.keys())
    if missing or extra:
        raise DemonstrationError(
            f"{where}: expected the episode values {', '.join(sorted(columns)) or 'none'}; "
            f"missing {', '.join(missing) or 'none'}, unknown {', '.join(extra) or 'none'}"
        )
    return {name: _cell(f"meta/{name}, {where}", given[name], columns[name]) for name in columns}


def _cell(where: str, value: object, name: str) -> Array:
    dtype = np.dtype(name)
    wrong = DemonstrationError(f"{where}: expected one finite {name}, got {value!r}")
    if isinstance(value, bool | np.bool_) or np.ndim(value) != 0:  # type: ignore[arg-type]
        raise wrong
    try:
        with np.errstate(over="ignore"):
            cell = np.array([value]).astype(dtype)
        exact = dtype.kind == "f" or cell[0] == value
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if not (exact and np.isfinite(cell).all()):
        raise wrong
    return cell
