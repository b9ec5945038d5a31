"""A reference that was met is followed as it is, while what is left of an error to it fades out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from bridle.deploy.guard.motion import Posture
from bridle.deploy.guard.reference import Reference
from bridle.deploy.robot import JointLimits

Vector = NDArray[np.float64]

_WITHIN = 0.999
"""Share of the limits that a step may take: the rest is for what is between its instants."""


class Along(NamedTuple):
    """One period with a reference, in which errors begin to fade out, faster or slower."""

    postures: Vector
    """(K, 3, n): position, velocity and acceleration after it, the fastest first."""
    within: NDArray[np.bool_]
    """(K, n): whether the joint keeps its limits, now and in the corners to come."""

    def of(self, joints: slice) -> Posture | None:
        """The first that all of some joints can do."""
        within = self.within[:, joints].all(axis=1)
        return Posture(*self.postures[within.argmax(), :, joints]) if within.any() else None


class Companion:
    """Goes along with a reference."""

    def __init__(self, limits: JointLimits, dt: float, times: Sequence[float]) -> None:
        """Take the limits, the control period [s], and in which times (K) errors fade out [s]."""
        self._limits, self._dt = limits, dt
        fading = np.array([[_fading(time, x * dt) for time in times] for x in (0.0, 0.5, 1.0)])
        self._fading, self._jerk = fading[1:, :, :3], fading[:, :, 3]

    def __call__(
        self,
        before: Posture,
        reference: Reference,
        way: Vector,
        now: float,
        speed: float,
        acceleration: Vector,
    ) -> Along:
        """One period.

        Args:
            before: the last command.
            reference: what is asked for.
            way: that now, in half a period and in a period (3, 3, n).
            now: when the period begins [s].
            speed: share of the velocity limits to be used.
            acceleration: no more than the limits (n,) [rad/s^2].
        """
        limits, error = self._limits, np.array(before) - way[0]
        found = way[1:, None] + self._fading @ error
        v, a = found[:, :, 1], found[:, :, 2]
        # The speed that is reached until the acceleration is taken back.
        fastest = np.abs(v) + a * a / (2 * limits.jerk)
        # That of the error is a parabola in time, which may have its crest between the instants.
        first, middle, last = fading = self._jerk @ error
        jerk = np.abs(fading).max(axis=0) + np.abs(first - 2 * middle + last) / 8
        jerk += reference.jerk(now, now + self._dt)
        fast, sharp = _WITHIN * speed * limits.velocity, _WITHIN * acceleration
        within = ((fastest <= fast) & (np.abs(a) <= sharp)).all(axis=0)
        within &= (jerk <= _WITHIN * limits.jerk) & reference.smooth & (now >= reference.begins)
        return Along(found[1], within)


def _fading(time: float, after: float) -> Vector:
    """What is left of an error (q, v, a) that is gone after some time, as a matrix (4, 3).

    Its rows are position, velocity, acceleration and jerk.

    The error takes the polynomial of fifth degree that ends at rest,

        e(x) = (1 - x)^3 (q (1 + 3 x + 6 x^2) + v T (x + 3 x^2) + a T^2 x^2 / 2),   x = t / T.

    Args:
        time: T [s].
        after: t [s].
    """
    end = Polynomial([1.0, -1.0]) ** 3
    of = [end * Polynomial(c) for c in ([1.0, 3.0, 6.0], [0.0, 1.0, 3.0], [0.0, 0.0, 0.5])]
    x = after / time
    return np.array([[p.deriv(i)(x) * time ** (k - i) for k, p in enumerate(of)] for i in range(4)])
