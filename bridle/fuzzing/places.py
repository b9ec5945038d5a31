"""Where cases begin: at rest, inside every limit, and often close to one."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.robot import RobotError
from bridle.fuzzing.geometry import Geometry

Vector = NDArray[np.float64]
Place = Literal["anywhere", "wall", "surroundings", "itself", "joint", "singular"]
"""`wall`: of the workspace; `surroundings`: a part of the robot near the table; `itself`: two of
its parts near each other; `joint`: near the end of a joint; `singular`: a wrist or elbow stretched.
"""
PLACES: tuple[Place, ...] = get_args(Place)
ROOM = 2e-3
"""What is left to every limit at least, beyond the robot's allowance [m] or [rad].

A robot that is put closer to a limit than it may be beside its commands can be told not to go
further out, and still be outside for a moment.
"""
STRIDE = 0.05
"""Between postures that are tried on the way to a limit [rad]."""
_TRIES = 8
_DRAWS = 5000


class Places:
    """Draws postures of the arm."""

    def __init__(self, geometry: Geometry) -> None:
        """For a robot."""
        self._geometry = geometry
        limits = geometry.robot.limits
        n = geometry.n_arm
        allowance = geometry.robot.allowance
        self._body = allowance.body
        self._low = limits.position_min[:n] + allowance.joint
        self._high = limits.position_max[:n] - allowance.joint

    def draw(self, random: np.random.Generator, place: Place) -> Vector:
        """Joint positions of the arm (n_arm,) [rad]."""
        match place:
            case "joint":
                return self._at_the_end_of_a_joint(random)
            case "singular":
                return self._singular(random)
            case "anywhere":
                return self._anywhere(random)
        q = self._anywhere(random)
        for _ in range(_TRIES):
            q, found = self._towards_a_limit(q, random.uniform(self._low, self._high))
            if found == place:
                break
            q = self._anywhere(random)
        return q

    def trouble(self, q: Vector, room: float = ROOM) -> Place | None:
        """The limit to which less than `room` and the allowance is left, if there is one."""
        body = self._body + room
        if (np.minimum(q - self._low, self._high - q) < room).any():
            return "joint"
        geometry = self._geometry
        geometry.place(q)
        if (geometry.wall_slacks() < body).any():
            return "wall"
        if geometry.is_pierced():
            return "surroundings"
        distance, pair = geometry.nearest(geometry.margin + body)
        if distance < geometry.margin + body:
            return "surroundings" if geometry.to_surroundings[pair] else "itself"
        return None

    def _anywhere(self, random: np.random.Generator) -> Vector:
        for _ in range(_DRAWS):
            q = random.uniform(self._low, self._high)
            if self.trouble(q) is None:
                return q
        raise RobotError("hardly a posture of the robot is inside all of its limits")

    def _towards_a_limit(self, start: Vector, end: Vector) -> tuple[Vector, Place | None]:
        """From a good posture straight towards another, as far as it goes."""
        n = int(np.ceil(np.abs(end - start).max() / STRIDE))
        good, found = 0.0, None
        for k in range(1, n + 1):
            found = self.trouble(start + k / n * (end - start))
            if found is not None:
                break
            good = k / n
        if found is None:
            return end, None
        bad = good + 1 / n
        for _ in range(6):
            middle = (good + bad) / 2
            worse = self.trouble(start + middle * (end - start))
            if worse is None:
                good = middle
            else:
                bad, found = middle, worse
        return start + good * (end - start), found

    def _at_the_end_of_a_joint(self, random: np.random.Generator) -> Vector:
        for _ in range(_DRAWS):
            q = self._anywhere(random)
            i, above = int(random.integers(len(q))), bool(random.integers(2))
            gap = random.uniform(ROOM, 0.3)
            q[i] = self._high[i] - gap if above else self._low[i] + gap
            if self.trouble(q) is None:
                return q
        return self._anywhere(random)

    def _singular(self, random: np.random.Generator) -> Vector:
        """The third joint, an elbow, or the fifth, a wrist, near nothing or half a turn."""
        for _ in range(_DRAWS):
            q = random.uniform(self._low, self._high)
            if random.integers(2):
                q[2] = random.uniform(-0.2, 0.2)
            else:
                q[4] = random.choice([-np.pi, 0, np.pi]) + random.uniform(-0.1, 0.1)
            if self.trouble(q) is None:
                return q
        return self._anywhere(random)
