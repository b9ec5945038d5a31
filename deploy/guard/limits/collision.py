"""The robot against itself and what stands around it."""

import numpy as np

from bridle.deploy.guard.limits.base import Excess, Limit, Rows, Situation
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.guard.pairs import Pairs
from bridle.deploy.robot import RobotError

STILL = 1e-6
"""A distance that changes less than this [m/rad] does not change."""


class CollisionLimit(Limit):
    """Pairs of geoms keep a distance.

    With the signed distance d of a pair and its gradient g,

        -g u <= f(d - margin),   f(d) = -a T + sqrt((a T)^2 + 2 a d),

    a being what braking along g takes back (`Situation.deceleration`). The bound is on a velocity
    [m/s]; nothing in it depends on how long a period is but through T. Pairs further apart than
    `horizon` get no row.
    """

    name = "collision"

    def __init__(self, pairs: Pairs, *, margin: float = 0.01, horizon: float = 0.15) -> None:
        """Keep pairs of geoms apart.

        Args:
            pairs: see `RobotModel.pairs`.
            margin: smallest distance [m].
            horizon: distance from which on they are looked at [m], at the most: slow ones are
                looked at later.

        Raises:
            RobotError: not 0 <= margin < horizon.
        """
        if not 0 <= margin < horizon:
            raise RobotError(
                f"0 <= margin < horizon expected, got margin {margin:g} m, horizon {horizon:g} m"
            )
        self.pairs, self.margin, self.horizon = pairs, margin, horizon

    def rows(self, s: Situation) -> Rows | None:
        """See the class."""
        pairs = self.pairs
        reaches = np.minimum(self.margin + s.reach(pairs.levers), self.horizon)
        lower = pairs.lower() if s.lower is None else s.lower
        near = np.flatnonzero(lower < reaches).tolist()
        found = s.model.distances([pairs.pairs[i] for i in near], reaches[near].tolist())
        # Where nothing the joints do changes it, there is nothing to ask of them.
        asked = np.flatnonzero(np.abs(found.gradients).max(axis=1, initial=0.0) >= STILL)
        if not len(asked):
            return None
        matrix = -found.gradients[asked]
        bound = s.approach(matrix, found.values[asked] - self.margin)
        return Rows(matrix, bound, tuple(pairs.name(near[found.which[i]]) for i in asked))

    def excess(self, model: RobotModel) -> Excess | None:
        """See `Limit`; the value is the smallest distance of any pair."""
        if not len(self.pairs):
            return None
        distances = [self.pairs.distance(i, self.horizon) for i in range(len(self.pairs))]
        i = int(np.argmin(distances))
        value = distances[i]
        return Excess(self.pairs.name(i), value, self.margin, "m", self.margin - value)
