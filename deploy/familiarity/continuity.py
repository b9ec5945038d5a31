"""Whether a plan goes on with the plan before it."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]


def continuity(
    positions: Vector, times: Vector, before: Vector, before_times: Vector, scale: ArrayLike
) -> float:
    """How far a chunk is from the one before, where both say something.

        u = sqrt(mean over shared rows and joints of ((p - p') / scale)^2)

    in standard deviations of the actions. A policy that knows what it is doing says the same again
    a moment later. STAC in Sentinel (Agia et al. 2024, arXiv 2410.04640) compares distributions of
    sampled chunks; this is what is left of it with one sample, which costs nothing.

    Args:
        positions: (rows, A) of the new chunk [rad].
        times: (rows,) its times, rising [s].
        before: (rows, A) of the chunk before [rad]; it is linear between its rows.
        before_times: (rows,) [s].
        scale: (A,) standard deviations of the actions [rad].

    Returns:
        NaN where the chunk before was over.
    """
    tolerance = 1e-6 * (before_times[-1] - before_times[0])
    shared = (times >= before_times[0] - tolerance) & (times <= before_times[-1] + tolerance)
    if not shared.any():
        return float("nan")
    then = [np.interp(times[shared], before_times, column) for column in before.T]
    distance = (positions[shared] - np.stack(then, axis=1)) / np.asarray(scale, np.float64)
    return float(np.sqrt(np.square(distance).mean()))
