"""All scores of a chunk, from the runtime that made it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.exceptions import InferenceError
from bridle.deploy.familiarity.calibration import UNITS, Scores
from bridle.deploy.familiarity.continuity import continuity
from bridle.deploy.familiarity.residual import Residual
from bridle.deploy.familiarity.support import Support
from bridle.deploy.runtime import Runtime

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Planned:
    """A chunk as it was sampled, and what it was sampled from."""

    observation: Mapping[str, NDArray[Any]]
    """Every input of the manifest, (1, To, *shape), physical units."""
    positions: Vector
    """(rows, A) from the newest observation on [rad]."""
    score: float
    """The generator's own."""
    time: float
    """Of the newest observation [s], on any one clock."""
    spacing: float
    """Between rows [s]."""

    @property
    def times(self) -> Vector:
        """(rows,) of the rows [s]."""
        return self.time + self.spacing * np.arange(len(self.positions), dtype=np.float64)


class Scorer:
    """Computes scores. All together cost one more run of the encoder and one step of a batch."""

    def __init__(self, runtime: Runtime, support: Support, names: Sequence[str]) -> None:
        """Prepare.

        Args:
            runtime: of the policy.
            support: its training conditions.
            names: the scores to compute, of `UNITS`.

        Raises:
            InferenceError: a score cannot be computed for this policy, or the support is of
                conditions of another size.
        """
        unknown = [name for name in names if name not in UNITS]
        if unknown:
            raise InferenceError(f"there is no score {unknown[0]!r}; there are {', '.join(UNITS)}")
        self.names = tuple(names)
        self._runtime, self._support = runtime, support
        self._residual = Residual(runtime) if "residual" in self.names else None
        empty = {
            spec.name: np.zeros((1, *spec.shape[1:]), spec.dtype)
            for spec in runtime.manifest.inputs
        }
        support.distance(runtime.encode(empty).cond[0])

    def __call__(self, planned: Planned, before: Planned | None) -> Scores:
        """Scores of a chunk.

        Args:
            planned: the chunk.
            before: the one before it; None for the first of an episode.

        Raises:
            InferenceError: an observation does not fit the policy.
        """
        encoding = self._runtime.encode(planned.observation)
        found: dict[str, float] = {}
        for name in self.names:
            if name == "support":
                value = self._support.distance(encoding.cond[0])
            elif name == "residual" and self._residual is not None:
                value = self._residual(encoding, planned.positions)
            elif name == "score":
                value = planned.score
            elif before is None or before.spacing != planned.spacing:
                # At another pace the same path passes other places at the same instants.
                value = np.nan
            else:
                value = continuity(
                    planned.positions, planned.times, before.positions, before.times, encoding.scale
                )
            found[name] = float(value)
        return found


def available(runtime: Runtime) -> tuple[str, ...]:
    """The scores to use for a policy unless a person says which.

    The denoising residual, or the generator's own score where the generator has no such thing.
    """
    try:
        Residual(runtime)
    except InferenceError:
        return ("support", "continuity", "score")
    return ("support", "continuity", "residual")
