"""Chunks that a guard has no reason to touch: smooth ways that stay well inside every limit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridle.fuzzing.geometry import Geometry

Vector = NDArray[np.float64]

ROOM = 0.03
"""To walls, and to what stands around the robot, on the whole way [m]."""
ROOM_OF_JOINTS = 0.1
"""To the ends of joints [rad]."""
ROOM_TO_ITSELF = 2e-3
"""To the robot itself, beyond its allowance [m]: some of its parts are never much further from each
other."""
SHARES = {"velocity": 0.7, "acceleration": 0.3, "jerk": 0.3}
"""Of the limits that the fastest joint uses at most; torques may not allow all of them."""
TOOL_SHARE = 0.7
_SAMPLES = 60
_TRIES = 6


@dataclass(frozen=True, eq=False)
class CleanWay:
    """From rest to rest, q(s) = q0 + s d + b sin(pi s), with s(t) of least jerk.

    Raises nothing: made by `find`.
    """

    start: Vector
    """(n,) [rad]."""
    change: Vector
    """d (n,) [rad]."""
    bend: Vector
    """b (n,) [rad]."""
    seconds: float

    def at(self, t: float | Vector) -> Vector:
        """Positions `t` seconds after it begins (..., n) [rad]: at rest before and after."""
        x = np.clip(np.asarray(t) / self.seconds, 0.0, 1.0)[..., None]
        s = x**3 * (10 + x * (6 * x - 15))
        way: Vector = self.start + s * self.change + np.sin(np.pi * s) * self.bend
        return way

    @property
    def end(self) -> Vector:
        """(n,) [rad]."""
        return self.start + self.change


def find(geometry: Geometry, start: Vector, random: np.random.Generator) -> CleanWay | None:
    """A way from a posture (n,) [rad] that is well inside; None if none was found.

    Half of them are curved in joint space, half are straight lines of the tool, more or less.
    """
    limits = geometry.robot.limits
    n, arm = start.size, geometry.n_arm
    size = 0.8
    for _ in range(_TRIES):
        change, bend = np.zeros(n), np.zeros(n)
        if random.integers(2):
            change[:arm] = random.normal(size=arm) * size / 2
            bend[:arm] = random.normal(size=arm) * size / 12
        else:
            jacobian = geometry.jacobian(start)
            line = random.normal(size=3)
            line *= random.uniform(0.05, 0.3) * size / np.linalg.norm(line)
            near_singular = 0.05**2 * np.eye(3)
            change[:arm] = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + near_singular, line)
        for i in range(arm, n):
            change[i] = random.uniform(limits.position_min[i], limits.position_max[i]) - start[i]
        way = CleanWay(start, change, bend, 1.0)
        seconds = _seconds(geometry, way) * random.uniform(1.0, 2.0)
        size *= 0.7
        if seconds < 1.2 and _well_inside(geometry, way):
            return CleanWay(start, change, bend, max(seconds, 0.1))
    return None


def _seconds(geometry: Geometry, way: CleanWay) -> float:
    """The shortest time within the shares of the limits."""
    limits, x = geometry.robot.limits, np.linspace(0, 1, _SAMPLES)
    values, seconds = way.at(x), 0.0
    bounds = (limits.velocity, limits.acceleration, limits.jerk)
    for order, (share, bound) in enumerate(zip(SHARES.values(), bounds, strict=True), start=1):
        values = np.diff(values, axis=0) * (_SAMPLES - 1)
        most = float((np.abs(values) / (share * bound)).max())
        seconds = max(seconds, most ** (1 / order))
    speed = geometry.robot.tool_speed
    if speed is not None:
        way_of_tool = np.diff(geometry.tools(way.at(x)), axis=0) * (_SAMPLES - 1)
        fastest = float(np.linalg.norm(way_of_tool, axis=1).max())
        seconds = max(seconds, fastest / (TOOL_SHARE * speed))
    return seconds


def _well_inside(geometry: Geometry, way: CleanWay) -> bool:
    limits, arm = geometry.robot.limits, slice(0, geometry.n_arm)
    for q in way.at(np.linspace(0, 1, _SAMPLES // 3)):
        gap = np.minimum(q - limits.position_min, limits.position_max - q)[arm]
        geometry.place(q)
        if gap.min() < ROOM_OF_JOINTS or (geometry.wall_slacks() < ROOM).any():
            return False
        to_itself = ROOM_TO_ITSELF + geometry.robot.allowance.body
        if not (geometry.is_free(ROOM, itself=False) and geometry.is_free(to_itself)):
            return False
    return True
