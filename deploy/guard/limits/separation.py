"""People and other things that move: speed and separation."""

import numpy as np

from bridle.deploy.guard.limits.base import Limit, Obstacle, Rows, Situation, Vector
from bridle.deploy.guard.surfaces import Surfaces
from bridle.deploy.robot import RobotError


class SeparationLimit(Limit):
    """The robot is at rest before something that comes towards it can reach it.

    While the robot takes T to answer, v / a to stop and s to settle, what comes at w moves
    w (T + v / a + s), and the robot moves v T + v^2 / 2a. With the distance d, of which C is
    uncertain, from

        w (T + v/a + s) + v T + v^2/2a <= d - C

    the largest approach v = -n J(p) u of the nearest point p of a part of the robot is

        v(d) = -(a T + w) + sqrt((a T + w)^2 + 2 a (d - C - w (T + s))),

    0 where d - C < w (T + s).

    The form is that of speed and separation monitoring, S = S_h + S_r + S_s + C + Z
    (ISO/TS 15066:2016, now in ISO 10218-2:2025). This is no certified implementation of it.
    """

    name = "separation"

    def __init__(
        self, surfaces: Surfaces, *, uncertainty: float = 0.05, settling: float = 0.0
    ) -> None:
        """Keep parts of the robot away from what moves.

        Args:
            surfaces: of these parts.
            uncertainty: C, of both positions together [m].
            settling: s, in which the robot comes to rest after its command [s].

        Raises:
            RobotError: one of them is negative, or there is no such part.
        """
        if not surfaces.names:
            raise RobotError("separation needs a model in which a geom moves, to keep it away")
        if not (uncertainty >= 0 and settling >= 0):
            raise RobotError(
                f"uncertainty and settling must not be negative, got {uncertainty}, {settling}"
            )
        self.surfaces, self.uncertainty, self.settling = surfaces, uncertainty, settling
        self._names = tuple(f"{name} and what comes near" for name in surfaces.names)

    def distances(self, obstacle: Obstacle) -> Vector:
        """Between each part and the obstacle (G,) [m], in the posture that the model is in."""
        return self.surfaces.distances(np.array(obstacle.position)) - obstacle.radius

    def name_of(self, part: int) -> str:
        """Of a part and an obstacle."""
        return self._names[part]

    def needed(self, obstacle: Obstacle, seconds: float) -> float:
        """What may be used up of a distance until the robot rests [m].

        Args:
            obstacle: what comes.
            seconds: until its commands rest [s].
        """
        return self.uncertainty + obstacle.speed * (seconds + self.settling)

    def speed(self, distances: Vector, coming: float, deceleration: Vector, delay: float) -> Vector:
        """v(d) (G,) [m/s]; see the class."""
        comes = coming * (delay + self.settling)
        left = np.maximum(distances - self.uncertainty - comes, 0.0)
        lead = deceleration * delay + coming
        speed: Vector = np.sqrt(lead * lead + 2 * deceleration * left) - lead
        return speed

    def rows(self, s: Situation) -> Rows | None:
        """See the class; one row for each obstacle and part."""
        if not s.obstacles or not self._names:
            return None
        matrix, bound = [], []
        for obstacle in s.obstacles:
            distances, gradients = self.surfaces.nearest(np.array(obstacle.position))
            matrix.append(-gradients)
            a = s.deceleration(gradients)
            bound.append(self.speed(distances - obstacle.radius, obstacle.speed, a, s.delay))
        names = self._names * len(s.obstacles)
        return Rows(np.concatenate(matrix), np.concatenate(bound), names)
