"""Watches chunk after chunk, and remembers what follows for the next ones."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.familiarity.alarm import Assessment, Level
from bridle.deploy.familiarity.guardian import Guardian, GuardianState
from bridle.deploy.familiarity.scores import Planned

Vector = NDArray[np.float64]
Listener = Callable[[Planned], None]


class Watcher:
    """What a guardian says of the chunks of one robot, and how fast the next one may go."""

    def __init__(self, guardian: Guardian | None = None, listener: Listener | None = None) -> None:
        """Begin without a past.

        Args:
            guardian: says how familiar a chunk is; None: all chunks are executed as they are.
            listener: is told of every chunk, whatever the guardian says of it.
        """
        self._guardian, self._listener = guardian, listener
        self.clear()

    def clear(self) -> None:
        """Forget the chunks so far: a new episode."""
        self._state = GuardianState()
        self.held = False
        """Whether the last chunk is not to be executed."""
        self.speed = 1.0
        """Share of the nominal speed at which the next chunk is planned."""

    def warm_up(self) -> None:
        """Run every graph once."""
        if self._guardian is not None:
            self._guardian.warm_up()

    def __call__(self, planned: Planned) -> Assessment | None:
        """Assess a chunk; None without a guardian.

        Raises:
            InferenceError: its observation does not fit the policy.
        """
        if self._listener is not None:
            self._listener(planned)
        if self._guardian is None:
            return None
        # While it was held the robot did not do what was planned.
        state = self._state.interrupted() if self.held else self._state
        self._state, assessment = self._guardian.assess(state, planned)
        self.held = assessment.level is Level.HOLD
        # Whether it may go on is judged by plans as they are at the nominal speed.
        self.speed = 1.0 if self.held else assessment.speed_scale
        return assessment


def retimed(times: Vector, seam: float, factor: float) -> Vector:
    """Times of a chunk that runs `factor` times as fast from `seam` on.

        t' = t                          t <= seam
        t' = seam + (t - seam) / f      t > seam

    Before the seam the robot has done it already; a chunk that was slower as a whole would send it
    back there.

    Args:
        times: (rows,) rising [s].
        seam: [s], on the clock of `times`.
        factor: f, positive.
    """
    return np.where(times <= seam, times, seam + (times - seam) / factor)
