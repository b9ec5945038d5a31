"""How much signal and noise a chunk holds before and after each row of a generator's table."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridle.deploy.exceptions import InferenceError

Vector = NDArray[np.float64]


def levels(columns: Sequence[str], table: ArrayLike) -> Vector:
    """Signal a and noise s of x = a chunk + s noise, before each row and after the last.

    With them every deterministic sampler is the same step: from the chunk c that the network
    predicts, x' = (s' / s) x + (a' - a s' / s) c. For a flow a = t, s = 1 - t; an energy that is
    told t descends on the same grid; for DDIM a^2 + s^2 = 1 and the row says a'.

    Args:
        columns: names of the table's columns, as the generator has them.
        table: (K, columns).

    Returns:
        (K + 1, 2), the last row (1, 0).

    Raises:
        InferenceError: fewer than two steps, or a sampler that is no such step.
    """
    rows = np.asarray(table, np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(columns):
        raise InferenceError(f"a table of {len(columns)} columns expected, got {rows.shape}")
    if len(rows) < 2:
        raise InferenceError(
            f"sampling from a known beginning needs at least 2 steps, got {len(rows)}: within one "
            "step nothing else can respond to it"
        )
    named = dict(zip(columns, rows.T, strict=True))
    if {"t", "dt"} <= named.keys():
        found = _straight(np.append(named["t"], named["t"][-1] + named["dt"][-1]))
    elif {"t", "share"} <= named.keys():
        if (np.diff(named["t"]) <= 0).any() or np.any(named.get("momentum", 0)):
            raise InferenceError(
                "sampling from a known beginning needs an energy that is told t, without momentum"
            )
        t, share = named["t"], named["share"]
        found = _straight(np.append(t, t[-1] + share[-1] * (1 - t[-1])))
    elif {"p", "q", "a", "b", "c", "f", "std"} <= named.keys():
        found = _ddim(named)
    else:
        raise InferenceError(
            "sampling from a known beginning is known for flows, shortcuts, energies and DDIM, "
            f"not for a table of ({', '.join(columns)})"
        )
    if np.any(np.diff(found[:, 0]) <= 0) or np.abs(found[-1] - [1, 0]).max() > 1e-3:
        raise InferenceError("the table does not lead from noise to a chunk")
    # What is left of the noise there is rounding.
    found[-1] = 1, 0
    return found


def _straight(t: Vector) -> Vector:
    return np.stack([t, 1 - t], axis=1)


def _ddim(named: dict[str, Vector]) -> Vector:
    """Of x' = a x + b c + f n with n = (c - p x) / q, where b = a' for DDIM alone."""
    if named["std"].any() or named["c"].any() or not named["f"][:-1].all():
        raise InferenceError(
            "sampling from a known beginning needs the sampler ddim; training does not depend on "
            "it, so export the policy with that"
        )
    signal = named["b"]
    noise = np.sqrt(np.maximum(0.0, 1 - signal**2))
    kept = (named["a"] - named["f"] * named["p"] / named["q"])[0]
    first = noise[0] / kept
    before = np.sqrt(max(0.0, 1 - first**2))
    return np.stack([np.append(before, signal), np.append(first, noise)], axis=1)
