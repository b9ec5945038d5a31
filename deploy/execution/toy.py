"""A policy of two modes whose flow is known in closed form: drive in the left lane or in the right.

Both lanes are always equally good, so a policy that samples each chunk anew changes lanes half of
the time: what a pick-place with a post in the way does to a learned one.
"""

from dataclasses import dataclass

import numpy as np

from bridle.deploy.execution.guidance import Array, Observation, Vector

SPEED, LANE, WOBBLE, PERIOD = 0.02, 0.3, 0.05, 25.0
"""Along the lanes [rad/step]; where they are [rad]; how far and how often [steps] they wind."""
SPREAD, SCALE = 0.004, 0.2
"""How far demonstrations lie from their lane [rad]; one unit of x [rad]."""


def lanes(steps: Vector) -> Vector:
    """Positions (2, K, 2) [rad], along and across, of the right and the left lane at steps (K,)."""
    across = LANE + WOBBLE * np.sin(2 * np.pi * steps / PERIOD)
    along = SPEED * steps
    return np.array([np.stack([along, side * across], axis=1) for side in (-1, 1)])


@dataclass(frozen=True, eq=False)
class Lanes:
    """Both lanes ahead, in units of x: what `TwoLanes` is conditioned on."""

    cond: Array
    """(2, H, 2)."""
    offset: Array
    """(1, 1, 2) [rad]."""
    scale: Array
    """() [rad]."""


@dataclass(frozen=True)
class TwoLanes:
    """The exact flow to a mixture of two Gaussians (`OneStep`).

    With N(m_j, s^2) the lanes, x at time t is a mixture of N(t m_j, t^2 s^2 + (1 - t)^2); the chunk
    it stands for is the mean of its lanes' estimates, weighted with how probable they are.
    """

    horizon: int = 24
    n_steps: int = 10
    columns: tuple[str, ...] = ("t", "dt")

    def encode(self, observation: Observation) -> Lanes:
        """Of `step` (1,), the step of the observation, and `position` (1, 2) [rad]."""
        offset = observation["position"][:, None]
        steps = observation["step"][0] + np.arange(self.horizon)
        return Lanes((lanes(steps) - offset) / SCALE, offset, np.array(SCALE))

    def step(self, x: Array, row: Array, cond: Array) -> tuple[Array, Array]:
        """One Euler step; the score is the mean squared velocity."""
        t, dt = row
        spread = SPREAD / SCALE
        variance = (t * spread) ** 2 + (1 - t) ** 2
        far = x - t * cond  # (2, H, A): from each lane
        logits = -0.5 * np.square(far).sum(axis=(1, 2)) / variance
        share = np.exp(logits - logits.max())
        share /= share.sum()
        estimates = cond + (t * spread**2 / variance) * far
        velocity = (np.tensordot(share, estimates, 1)[None] - x) / (1 - t)
        return x + dt * velocity, np.square(velocity).mean(axis=(1, 2))

    def table(self, n_steps: int | None = None) -> Array:
        """Rows (t, dt)."""
        steps = self.n_steps if n_steps is None else n_steps
        return np.stack([np.arange(steps) / steps, np.full(steps, 1 / steps)], axis=1)
