"""How far a condition is from those of the demonstrations: the distance to the nearest ones."""

import io
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridle.deploy.exceptions import BundleError, InferenceError
from bridle.deploy.inspection.archive import read_arrays

Floats = NDArray[np.float32]
Vector = NDArray[np.float64]

MAX_CONDITION = 2048
"""Largest condition C: its whitening then has 16 MiB."""
MAX_NUMBERS = 2**20
"""Of all prototypes."""
MAX_PROTOTYPES = 4096
NEIGHBOURS = 5
LEAST_VARIANCE = 1e-3
"""Directions that vary less than this share of the one that varies most count as if they varied so
much: what demonstrations hardly ever do must not be divided by nothing."""
_NAMES = ("mean", "whitening", "prototypes")


@dataclass(frozen=True, eq=False)
class Support:
    """Conditions that a policy was trained on, whitened.

        d(c) = sqrt(mean of |z - z_i|^2 over the k nearest z_i),    z = (c - mean) whitening

    in standard deviations of the training conditions; k is `NEIGHBOURS`. The support of the data is
    the set d(c) <= q, as OGSRL's guardian (arXiv 2505.16242) has one of states and actions; nearest
    neighbours as in Sun et al. 2022 (arXiv 2204.06507).

    Raises:
        BundleError: shapes do not fit together, or a number is not finite.
    """

    mean: Floats
    """(C,)."""
    whitening: Floats
    """(C, C)."""
    prototypes: Floats
    """(P, C)."""

    def __post_init__(self) -> None:
        size = self.mean.size
        if self.mean.ndim != 1 or not 1 <= size <= MAX_CONDITION:
            raise BundleError(f"mean must have 1 to {MAX_CONDITION} numbers, got {self.mean.shape}")
        if self.whitening.shape != (size, size):
            raise BundleError(f"whitening must be {(size, size)}, got {self.whitening.shape}")
        fits = self.prototypes.ndim == 2 and self.prototypes.shape[1] == size
        if not (fits and NEIGHBOURS <= len(self.prototypes) <= MAX_PROTOTYPES):
            raise BundleError(
                f"prototypes must be ({NEIGHBOURS} to {MAX_PROTOTYPES}, {size}), "
                f"got {self.prototypes.shape}"
            )
        for name in _NAMES:
            if not np.isfinite(getattr(self, name)).all():
                raise BundleError(f"{name} has numbers that are not finite")

    @classmethod
    def of(cls, conditions: ArrayLike, n_prototypes: int = 1000, seed: int = 0) -> Self:
        """The support of training conditions.

        Args:
            conditions: (N, C) of the encoder.
            n_prototypes: how many to keep, drawn at random; fewer where they are large.
            seed: of the draw.

        Raises:
            ValueError: there are too few, they are too large, or all the same.
        """
        found = np.asarray(conditions, np.float64)
        n, size = found.shape
        if size > MAX_CONDITION:
            raise ValueError(f"a condition may have {MAX_CONDITION} numbers, these have {size}")
        if n < 2 * NEIGHBOURS:
            raise ValueError(f"at least {2 * NEIGHBOURS} conditions are needed, got {n}")
        mean = found.mean(axis=0)
        variances, directions = np.linalg.eigh(np.cov((found - mean).T).reshape(size, size))
        if not variances.max() > 0:
            raise ValueError("the conditions are all the same")
        whitening = directions / np.sqrt(np.maximum(variances, LEAST_VARIANCE * variances.max()))
        kept = min(n, n_prototypes, MAX_PROTOTYPES, max(NEIGHBOURS, MAX_NUMBERS // size))
        chosen = np.random.default_rng(seed).choice(n, kept, replace=False)
        prototypes = (found[chosen] - mean) @ whitening
        return cls(*(x.astype(np.float32) for x in (mean, whitening, prototypes)))

    def distance(self, condition: ArrayLike) -> float:
        """Of one condition (C,) from the nearest ones.

        Raises:
            InferenceError: the condition is of another size.
        """
        found = np.asarray(condition, np.float64)
        if found.shape != self.mean.shape:
            raise InferenceError(
                f"a condition of {self.mean.size} numbers expected, got {found.shape}"
            )
        z = (found - self.mean) @ self.whitening
        squares = np.square(self.prototypes - z).sum(axis=1)
        nearest = np.partition(squares, NEIGHBOURS - 1)[:NEIGHBOURS]
        return float(np.sqrt(nearest.mean()))

    def to_bytes(self) -> bytes:
        """As `support.npz`."""
        buffer = io.BytesIO()
        np.savez(buffer, mean=self.mean, whitening=self.whitening, prototypes=self.prototypes)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read `support.npz`.

        Raises:
            BundleError: it is anything but three finite float32 arrays that fit together.
        """
        arrays = read_arrays(data, largest=4 * MAX_CONDITION**2, most=len(_NAMES))
        if arrays.keys() != set(_NAMES):
            raise BundleError(f"it must hold {', '.join(_NAMES)}, and nothing else")
        return cls(*(arrays[name] for name in _NAMES))
