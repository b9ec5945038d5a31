"""How fast the tool may be."""

import math

import numpy as np

from bridle.deploy.guard.limits.base import Limit, Rows, Situation, Vector
from bridle.deploy.robot import RobotError


class ToolSpeedLimit(Limit):
    """|J u| <= s: what is asked for is slowed down along its path.

    What other limits then make of it is held by tangent planes of the ball, e J u <= s, for unit
    vectors e along the tool's velocity that is asked for, along its present one, and between.
    """

    name = "tool_speed"

    def __init__(self, speed: float) -> None:
        """Limit to `speed` [m/s].

        Raises:
            RobotError: not positive.
        """
        if not speed > 0:
            raise RobotError(f"the tool's speed must be positive, got {speed}")
        self.speed = speed

    def share(self, s: Situation) -> float:
        """At most 1: s / |J w|."""
        velocity = s.model.tool_jacobian()[:3] @ s.wanted
        speed = math.sqrt(velocity @ velocity)
        return min(1.0, self.speed / max(speed, 1e-9))

    def rows(self, s: Situation) -> Rows | None:
        """See the class."""
        jacobian = s.model.tool_jacobian()[:3]
        directions: list[Vector] = []
        units = []
        for u in (s.wanted, s.v):
            velocity = jacobian @ u
            length = math.sqrt(velocity @ velocity)
            # Slower than this it will not be too fast in one period.
            if length > 0.25 * self.speed:
                units.append(velocity / length)
        directions += units
        if len(units) == 2:
            between = units[0] + units[1]
            length = math.sqrt(between @ between)
            if length > 1e-3:
                directions.append(between / length)
        if not directions:
            return None
        matrix = np.array(directions) @ jacobian
        return Rows(matrix, np.full(len(matrix), self.speed), (self.name,) * len(matrix))
