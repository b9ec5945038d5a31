"""What the guard is timed with: robots, and ways for them to go."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.chunks import ActionChunk
from bridle.deploy.guard.guard import Guard
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.robot import HalfSpace, RobotDescription

Vector = NDArray[np.float64]

HOME = np.array([-0.5, -0.5, 0.5, -0.5, -0.5, 0.0]) * np.pi
"""Of the arm, the tool in front of the base and pointing down [rad]."""
POSTS, WALLS = 8, 27
POST, RING = 0.01, 0.10
"""Radius of a post, and of the ring that they stand on around the palm [m]."""
APART = 0.10
"""Of the tool to each of the walls where it starts [m]."""
CHUNK_EVERY = 20
"""Ticks between chunks."""


def caged(robot: RobotDescription) -> RobotDescription:
    """The arm of a robot, between `POSTS` posts and `WALLS` walls."""
    assert robot.model is not None
    n = len(HOME)
    model = RobotModel(robot.model, n)
    model.place(HOME)
    palm = model.data.geom("palm")
    turn, posts, pairs = palm.xmat.reshape(3, 3), [], []
    for k in range(POSTS):
        angle = math.tau * k / POSTS
        x, y, z = palm.xpos + turn @ (RING * np.array([math.cos(angle), math.sin(angle), 0.0]))
        posts.append(
            f'<geom name="post{k}" type="sphere" size="{POST}" pos="{x:.6f} {y:.6f} {z:.6f}" '
            'contype="0" conaffinity="0"/>'
        )
        pairs.append(f'<pair geom1="post{k}" geom2="palm"/>')
    text = robot.model.replace("<worldbody>", f"<worldbody>{''.join(posts)}", 1)
    text = text.replace("<contact>", f"<contact>{''.join(pairs)}", 1)
    walls = []
    for k in range(WALLS):
        # Evenly over the directions: points of a spiral on a ball.
        up = 1 - (2 * k + 1) / WALLS
        angle = k * math.pi * (3 - math.sqrt(5))
        flat = math.sqrt(1 - up * up)
        normal = np.array([flat * math.cos(angle), flat * math.sin(angle), up])
        x, y, z = (float(v) for v in normal)
        walls.append(HalfSpace(f"wall {k}", (x, y, z), float(normal @ model.tool) + APART))
    return replace(
        robot, joints=robot.joints[:n], model=text, workspace=None, half_spaces=tuple(walls)
    )


Way = Callable[[float | Vector], Vector]
"""Joint positions (..., n) [rad] at times (...) [s]."""


def swing(start: Vector) -> Way:
    """Far beyond the cage, in every direction, at speeds that the robot could keep."""
    turns = math.tau * np.array([0.31, 0.37, 0.43, 0.53, 0.61, 0.71])
    return lambda t: start + 0.4 * np.sin(np.multiply.outer(t, turns))


def stroll(start: Vector) -> Way:
    """Smoothly, and well inside every limit."""
    turns = math.tau * np.array([0.11, 0.13, 0.17, 0.19, 0.23, 0.29, 0.31])
    size = np.array([0.3, 0.1, 0.1, 0.1, 0.1, 0.3, 0.2])
    return lambda t: start + size * np.sin(np.multiply.outer(t, turns)) ** 2


def press(robot: RobotDescription, start: Vector) -> Way:
    """To and fro along the wall on the left, and 5 cm behind it."""
    assert robot.model is not None
    assert robot.workspace is not None
    model, wall = RobotModel(robot.model, len(start)), robot.workspace.y[1] + 0.05
    q, postures = start, []
    for x in np.linspace(0.33, 0.57, 25):
        for _ in range(200):
            model.place(q)
            jacobian = model.tool_jacobian()[:3]
            damped = jacobian @ jacobian.T + 1e-3 * np.eye(3)
            q = q + 0.5 * jacobian.T @ np.linalg.solve(damped, [x, wall, 0.4] - model.tool)
        postures.append(q)
    along = np.array(postures)

    def way(t: float | Vector) -> Vector:
        place = 12 + 12 * np.sin(math.tau * 0.2 * np.asarray(t))
        k = np.minimum(place.astype(int), 23)
        share = (place - k)[..., None]
        there: Vector = (1 - share) * along[k] + share * along[k + 1]
        return there

    return way


class Scene:
    """A guard in closed loop with a robot that is where it was commanded."""

    def __init__(self, robot: RobotDescription, start: Vector, way: Way) -> None:
        self.robot, self.guard, self._way = robot, Guard(robot), way
        self._tick = 0
        self.state = self.guard.start(start, 0.0)

    @property
    def wanted(self) -> Vector:
        """Where it is to be now (n,) [rad]."""
        return self._way(self._tick * self.guard.dt)

    def run(self, ticks: int) -> Iterator[float]:
        """Yields what each tick took [s]."""
        times = np.linspace(0, 0.75, 16)
        for _ in range(ticks):
            now = self._tick * self.guard.dt
            if self._tick % CHUNK_EVERY == 0:
                chunk = ActionChunk(now, times, self._way(now + times))
                self.state = self.guard.accept(self.state, chunk, now)
            began = time.perf_counter()
            self.state, _ = self.guard.tick(self.state, self.state.q, now, now)
            took = time.perf_counter() - began
            self._tick += 1
            yield took
