"""Choosing among chunks by a learned critic: the one that would be executed anyway, if it is safe.

The critic comes with the bundle (FISOR, Zheng et al. 2024, arXiv 2401.10700). It only chooses among
chunks that the policy gives, each of which the guard judges by its own limits whatever was chosen.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.runtime import Runtime

Array = NDArray[Any]
DETERMINISTIC = ("regression",)
"""Generators that give the same chunk for every noise: there is nothing to choose among."""


class Feasibility:
    """The critic of a bundle."""

    def __init__(self, runtime: Runtime, candidates: int) -> None:
        """Prepare.

        Args:
            runtime: of a bundle that has a critic.
            candidates: chunks to choose among, where the policy has several for one observation.
        """
        self._runtime = runtime
        varies = runtime.manifest.generator not in DETERMINISTIC
        self.candidates = candidates if varies else 1
        """Chunks to sample."""

    def __call__(self, observation: Mapping[str, Array], chunks: Array) -> NDArray[np.float32]:
        """Q_h of chunks (N,): above 0 where something will be touched.

        Args:
            observation: every input of the manifest, (1, To, *shape), physical units.
            chunks: (N, rows, A) absolute positions from the newest observation on [rad].

        Raises:
            InferenceError: an observation is missing or bad.
        """
        return self._runtime.feasibility(self._runtime.encode(observation), chunks)


def safest(q_h: NDArray[np.floating[Any]], costs: NDArray[np.floating[Any]]) -> int:
    """Which chunk to execute.

    Args:
        q_h: feasibility of each (N,).
        costs: what is least where safety does not matter (N,).

    Returns:
        Of those with Q_h <= 0 the one that costs least, the first of equals; where there is none
        the one of least Q_h.
    """
    safe = q_h <= 0
    return int(np.where(safe, costs, np.inf).argmin() if safe.any() else q_h.argmin())
