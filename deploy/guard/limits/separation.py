"""People and other things that move: speed and separation."""

import numpy as np

from bridle.deploy.guard.limits.base import Limit, Obstacle, Rows, Situation, Vector
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.robot import RobotError


class SeparationLimit(Limit):
    """The robot is at rest before something that comes towards it can reach it.

    While the robot takes T to answer and v / a to stop, what comes at w moves w (T + v / a), and
    the robot moves v T + v^2 / 2a. With the distance d, of which C is uncertain, from

        w (T + v/a) + v T + v^2/2a <= d - C

    the largest approach v = -n J(p) u of a point p of the robot is

        v(d) = -(a T + w) + sqrt((a T + w)^2 + 2 a (d - C - w T)),   0 where d - C < w T.

    The form is that of speed and separation monitoring, S = S_h + S_r + S_s + C + Z
    (ISO/TS 15066:2016, now in ISO 10218-2:2025). This is no certified implementation of it.
    """

    name = "separation"

    def __init__(self, geoms: tuple[int, ...], radii: Vector, *, uncertainty: float = 0.05) -> None:
        """Keep parts of the robot away from what moves.

        Args:
            geoms: parts of the robot.
            radii: of a ball around the centre of each that holds it [m].
            uncertainty: C, of both positions together [m].

        Raises:
            RobotError: a radius or the uncertainty is negative, or their numbers differ.
        """
        self.radii = np.asarray(radii, np.float64)
        if self.radii.shape != (len(geoms),) or (self.radii < 0).any() or not uncertainty >= 0:
            raise RobotError(
                f"one radius per geom and an uncertainty, not negative, expected, got "
                f"{self.radii.tolist()} for {len(geoms)} geoms, {uncertainty}"
            )
        self.geoms, self.uncertainty = geoms, uncertainty

    @classmethod
    def of(cls, model: RobotModel, *, uncertainty: float = 0.05) -> "SeparationLimit":
        """For every geom that moves."""
        moving = model.moving_geoms
        return cls(moving, model.model.geom_rbound[list(moving)].copy(), uncertainty=uncertainty)

    def distances(self, model: RobotModel, obstacle: Obstacle) -> tuple[Vector, Vector]:
        """Between each part and the obstacle (G,) [m], and the directions from it (G, 3)."""
        apart = model.data.geom_xpos[list(self.geoms)] - np.asarray(obstacle.position)
        lengths = np.linalg.norm(apart, axis=1)
        directions = apart / np.maximum(lengths, 1e-9)[:, None]
        return lengths - self.radii - obstacle.radius, directions

    def speed(self, distances: Vector, coming: float, deceleration: Vector, delay: float) -> Vector:
        """v(d) (G,) [m/s]; see the class."""
        left = np.maximum(distances - self.uncertainty - coming * delay, 0.0)
        lead = deceleration * delay + coming
        speed: Vector = np.sqrt(lead * lead + 2 * deceleration * left) - lead
        return speed

    def rows(self, s: Situation) -> Rows | None:
        """See the class; one row for each obstacle and part."""
        if not s.obstacles or not self.geoms:
            return None
        jacobians = np.array([s.model.point_jacobian(geom) for geom in self.geoms])
        parts = tuple(f"{s.model.name(geom)} and what comes near" for geom in self.geoms)
        matrix, bound = [], []
        for obstacle in s.obstacles:
            distances, directions = self.distances(s.model, obstacle)
            gradients = np.einsum("gi,gin->gn", directions, jacobians)
            matrix.append(-gradients)
            a = s.deceleration(gradients)
            bound.append(self.speed(distances, obstacle.speed, a, s.delay))
        return Rows(np.concatenate(matrix), np.concatenate(bound), parts * len(s.obstacles))
