"""A reference that was met is followed as it is, while what is left of an error to it fades out."""

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from bridle.deploy.guard.motion import Posture
from bridle.deploy.robot import JointLimits

Vector = NDArray[np.float64]

_WITHIN = 0.999
"""Share of the limits that a step may take: the rest is for what is between its instants."""


class Along:
    """One period with the reference."""

    def __init__(self, limits: JointLimits, dt: float, time: float) -> None:
        """Take the limits, the control period [s], and the time in which an error fades out [s]."""
        self._limits, self._half = limits, dt / 2
        self._fading = np.stack([_fading(time, after) for after in (dt / 2, dt)])

    def __call__(
        self, before: Posture, way: Vector, speed: float, acceleration: Vector
    ) -> tuple[Posture, NDArray[np.bool_]]:
        """The posture after the period, and of which joints (n,) it is within the limits.

        Args:
            before: the last command.
            way: position, velocity and acceleration of the reference now, in half a period, and in
                a period (3, 3, n).
            speed: share of the velocity limits to be used.
            acceleration: no more than the limits (n,) [rad/s^2].
        """
        limits = self._limits
        found = way[1:] + self._fading @ (np.array(before) - way[0])
        v, a = found[:, 1], found[:, 2]
        jerk = (a - np.array([before.a, a[0]])) / self._half
        # The speed that is reached until the acceleration is taken back.
        fastest = np.abs(v) + a * a / (2 * limits.jerk)
        within = (
            (fastest <= _WITHIN * speed * limits.velocity)
            & (np.abs(a) <= _WITHIN * acceleration)
            & (np.abs(jerk) <= _WITHIN * limits.jerk)
        )
        return Posture(*found[1]), within[0] & within[1]


def _fading(time: float, after: float) -> Vector:
    """What is left of an error (q, v, a) that is gone after some time, as a matrix (3, 3).

    The error takes the polynomial of fifth degree that ends at rest,

        e(x) = (1 - x)^3 (q (1 + 3 x + 6 x^2) + v T (x + 3 x^2) + a T^2 x^2 / 2),   x = t / T.

    Args:
        time: T [s].
        after: t [s].
    """
    end = Polynomial([1.0, -1.0]) ** 3
    of = [end * Polynomial(c) for c in ([1.0, 3.0, 6.0], [0.0, 1.0, 3.0], [0.0, 0.0, 0.5])]
    x = after / time
    return np.array([[p.deriv(i)(x) * time ** (k - i) for k, p in enumerate(of)] for i in range(3)])
