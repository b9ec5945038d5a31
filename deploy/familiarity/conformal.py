"""A threshold that holds for finitely many episodes."""

import math

import numpy as np
from numpy.typing import ArrayLike


def least_episodes(alpha: float) -> int:
    """Fewest values of which a quantile can be taken at level alpha: ceil(1 / alpha) - 1."""
    # The largest of n values is passed by the next with probability 1 / (n + 1).
    return math.ceil(1 / alpha - 1e-9) - 1


def conformal_quantile(values: ArrayLike, alpha: float) -> float:
    """The value that the next one passes with a probability of at most alpha.

        q = the ceil((n + 1) (1 - alpha))-th smallest of n values

    If the n values and the next one are exchangeable, P(next > q) <= alpha, whatever they are
    distributed like: split conformal prediction, Vovk et al. 2005; Angelopoulos and Bates 2021
    (arXiv 2107.07511), section 1. The probability is over both the n values and the next one.

    Args:
        values: (n,) finite.
        alpha: in (0, 1).

    Raises:
        ValueError: alpha is out of range, a value is not finite, or there are too few for alpha.
    """
    found = np.sort(np.asarray(values, np.float64))
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError("values must be a list of finite numbers")
    # Rounding must not cost a rank: (9 + 1) * (1 - 0.1) is 9.
    rank = math.ceil((found.size + 1) * (1 - alpha) - 1e-9)
    if rank > found.size:
        raise ValueError(
            f"alpha {alpha:g} needs at least {least_episodes(alpha)} episodes, got {found.size}"
        )
    return float(found[rank - 1])
