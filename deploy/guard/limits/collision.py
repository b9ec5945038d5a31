"""The robot against itself and what stands around it."""

from collections.abc import Sequence

import numpy as np

from bridle.deploy.guard.limits.base import Excess, Limit, Rows, Situation, Vector
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.robot import RobotError


class CollisionLimit(Limit):
    """Pairs of geoms keep a distance.

    With the signed distance d of a pair and its gradient g,

        -g u <= f(d - margin),   f(d) = -a T + sqrt((a T)^2 + 2 a d),

    a being what braking along g takes back (`Situation.deceleration`). The bound is on a velocity
    [m/s]; nothing in it depends on how long a period is but through T. Pairs further apart than
    `horizon` get no row.
    """

    name = "collision"

    def __init__(
        self, pairs: Sequence[tuple[int, int]], *, margin: float = 0.01, horizon: float = 0.15
    ) -> None:
        """Keep pairs of geoms apart.

        Args:
            pairs: see `RobotModel.pairs`.
            margin: smallest distance [m].
            horizon: distance from which on they are looked at [m]: more than it takes to stop.

        Raises:
            RobotError: not 0 <= margin < horizon.
        """
        if not 0 <= margin < horizon:
            raise RobotError(
                f"0 <= margin < horizon expected, got margin {margin:g} m, horizon {horizon:g} m"
            )
        self.pairs = tuple(pairs)
        self.margin, self.horizon = margin, horizon

    def rows(self, s: Situation) -> Rows | None:
        """See the class."""
        gradients: list[Vector] = []
        bounds, names = [], []
        for a, b in self.pairs:
            found = s.model.distance_gradient(a, b, self.horizon)
            if found is None:
                continue
            gradients.append(-found.gradient)
            bounds.append(s.approach(found.gradient, found.value - self.margin))
            names.append(self._name(s.model, a, b))
        if not gradients:
            return None
        return Rows(np.array(gradients), np.array(bounds), tuple(names))

    def excess(self, model: RobotModel) -> Excess | None:
        """See `Limit`; the value is the smallest distance of any pair."""
        if not self.pairs:
            return None
        distances = [model.distance(a, b, self.horizon) for a, b in self.pairs]
        i = int(np.argmin(distances))
        value = distances[i]
        name = self._name(model, *self.pairs[i])
        return Excess(name, value, self.margin, "m", self.margin - value)

    @staticmethod
    def _name(model: RobotModel, a: int, b: int) -> str:
        return f"{model.name(a)} and {model.name(b)}"
