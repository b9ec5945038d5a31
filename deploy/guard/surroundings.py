"""The second opinion on where a command and its stop carry the robot's body, by its positions.

Nothing here is linearised: postures along the way are placed, and what is measured is compared.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.check import SLACK, Violation
from bridle.deploy.guard.limits import Obstacle, SeparationLimit
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.guard.motion import Motion
from bridle.deploy.guard.pairs import Pairs, tool_levers
from bridle.deploy.robot import HalfSpace

Vector = NDArray[np.float64]

SPACING = 0.01
"""What is near a limit moves no further between two postures that are looked at [m], by a bound
that is two or three times what it does move."""
FAST = 0.7
"""From this share of the tool's speed limit on, its speed in the stop is looked at..."""
MOST_PERIODS = 5
"""...for so many control periods: later it falls."""
_WORSE = 1e-9
"""What rounding may add to what is outside already [m]."""


@dataclass(frozen=True, eq=False)
class Body:
    """What of the robot's body is limited."""

    model: RobotModel
    half_spaces: tuple[HalfSpace, ...] = ()
    """Where the tool has to stay."""
    tool_speed: float = math.inf
    """[m/s]."""
    pairs: Pairs | None = None
    """Geoms that have to stay apart."""
    margin: float = 0.0
    """By this much [m]."""
    separation: SeparationLimit | None = None
    """From what moves."""


class Surroundings:
    """Judges commands and their stops by the tool's place and speed and by distances.

    What is outside a limit already may come back, and may not go further out.

    Distances are the tool's to its half-spaces, then those of the pairs. Along a stop they are
    looked at by bisection: where one is d and e at the ends of a piece in which it can change by no
    more than m, it is never below (d + e - m) / 2 between them; where that is not enough, the piece
    is halved.
    """

    def __init__(self, body: Body, dt: float, latency: float) -> None:
        """Take what is limited, the control period and the latency of the robot [s]."""
        self.body, self._model, self._dt, self._latency = body, body.model, dt, latency
        self._normals = np.array([h.normal for h in body.half_spaces]).reshape(-1, 3)
        self._offsets = np.array([h.offset for h in body.half_spaces])
        self._n_walls = len(body.half_spaces)
        self._pairs = Pairs(body.model, ()) if body.pairs is None else body.pairs
        walls = np.tile(tool_levers(body.model), (self._n_walls, 1))
        self._levers = np.concatenate([walls, self._pairs.levers])
        self._least = np.concatenate(
            [np.zeros(self._n_walls), np.full(len(self._pairs), body.margin)]
        )

    def violation(
        self,
        earlier: Vector,
        before: Vector,
        after: Vector,
        stop: Motion,
        obstacles: Sequence[Obstacle] = (),
    ) -> Violation | None:
        """The first rule that going from `before` to `after`, and stopping then, would break.

        Args:
            earlier: the command before the last one (n,) [rad].
            before: the last command (n,) [rad].
            after: the command to be judged (n,) [rad], one period later.
            stop: the stop prepared for it.
            obstacles: what moves around the robot.
        """
        if not math.isinf(self.body.tool_speed):
            found = self._too_fast(earlier, before, after, stop)
            if found is not None:
                return found
        if obstacles and self.body.separation is not None:
            found = self._reached(after, before, stop, obstacles)
            if found is not None:
                return found
        return self._too_near(before, after, stop) if len(self._least) else None

    # -- distances ---------------------------------------------------------------------------------

    def _too_near(self, before: Vector, after: Vector, stop: Motion) -> Violation | None:
        lowest, highest = stop.range
        reach = self._levers @ (highest - lowest)
        self._model.place(after)
        walls = self._walls()
        near = self._pairs.near((self._least + reach)[self._n_walls :])
        # So written that nan is near.
        watched = np.array(
            [
                *np.flatnonzero(~(walls > reach[: self._n_walls])).tolist(),
                *(self._n_walls + i for i in near),
            ],
            int,
        )
        if not len(watched):
            return None
        start = self._distances(watched, walls)
        found = self._below("command", watched, start, before)
        if found is not None:
            return found
        left = ~(start > self._least[watched] + reach[watched])
        if not left.any():
            return None
        watched, start = watched[left], start[left]
        end = stop.position(stop.duration)
        self._model.place(end)
        distances = self._distances(watched, self._walls())
        found = self._below("stop", watched, distances, before)
        if found is not None:
            return found
        pieces = [(watched, 0.0, after, start, stop.duration, end, distances)]
        while pieces:
            watched, t0, q0, d0, t1, q1, d1 = pieces.pop()
            change = self._levers[watched] @ np.abs(q1 - q0)
            left = ~(d0 + d1 - change >= 2 * self._least[watched])
            if not left.any() or change[left].max() < SPACING:
                continue
            watched, d0, d1 = watched[left], d0[left], d1[left]
            middle = (t0 + t1) / 2
            q = stop.position(middle)
            self._model.place(q)
            distances = self._distances(watched, self._walls())
            found = self._below("stop", watched, distances, before)
            if found is not None:
                return found
            pieces.append((watched, t0, q0, d0, middle, q, distances))
            pieces.append((watched, middle, q, distances, t1, q1, d1))
        return None

    def _walls(self) -> Vector:
        """Of the tool to its half-spaces, in the posture that the model is in [m]."""
        distances: Vector = self._offsets - self._normals @ self._model.tool
        return distances

    def _distances(self, watched: NDArray[np.int_], walls: Vector) -> Vector:
        """Of some, in the posture that the model is in [m]."""
        n, pairs = self._n_walls, self._pairs
        return np.array([walls[i] if i < n else pairs.distance(i - n, 1.0) for i in watched])

    def _below(
        self, name: str, watched: NDArray[np.int_], distances: Vector, before: Vector
    ) -> Violation | None:
        """The first that is too short, unless it was as short before."""
        # So written that nan is a violation.
        short = ~(distances >= self._least[watched])
        if not short.any():
            return None
        self._model.place(before)
        was = self._distances(watched[short], self._walls())
        worse = ~(distances[short] >= was - _WORSE)
        if not worse.any():
            return None
        k = int(np.flatnonzero(short)[worse.argmax()])
        i, value = int(watched[k]), float(distances[k])
        if i < self._n_walls:
            what = f"tool {self.body.half_spaces[i].name}"
            return Violation("workspace", what, value, 0.0, "m", f"{name} on the wrong side of it")
        what, margin = self._pairs.name(i - self._n_walls), self.body.margin
        return Violation("collision", what, value, margin, "m", f"{name} too near")

    # -- speed -------------------------------------------------------------------------------------

    def _tool(self, q: Vector) -> Vector:
        self._model.place(q)
        return self._model.tool

    def _too_fast(
        self, earlier: Vector, before: Vector, after: Vector, stop: Motion
    ) -> Violation | None:
        """The tool, on the way to the command, and in the first periods of the stop."""
        bound, dt = self.body.tool_speed, self._dt
        last, tool = self._tool(before), self._tool(after)
        speed = math.dist(tool, last) / dt
        if speed <= FAST * bound:
            return None
        was = math.dist(last, self._tool(earlier)) / dt
        ways = [("command", speed)]
        for k in range(1, 1 + min(MOST_PERIODS, math.ceil(stop.duration / dt))):
            last, tool = tool, self._tool(stop.position(k * dt))
            ways.append(("stop", math.dist(tool, last) / dt))
        for name, value in ways:
            if not (value <= bound * (1 + SLACK) or value <= was):
                return Violation("tool_speed", "tool", value, bound, "m/s", f"{name} too fast")
        return None

    # -- what moves --------------------------------------------------------------------------------

    def _reached(
        self, after: Vector, before: Vector, stop: Motion, obstacles: Sequence[Obstacle]
    ) -> Violation | None:
        """Whether something that moves could be at a part of the robot before that is at rest."""
        limit, model = self.body.separation, self._model
        assert limit is not None
        seconds = self._latency + self._dt + stop.duration
        end = stop.position(stop.duration)
        for obstacle in obstacles:
            needed = limit.uncertainty + obstacle.speed * seconds
            for q in (after, end):
                model.place(q)
                distances, _ = limit.distances(model, obstacle)
                if (distances >= needed).all():
                    continue
                model.place(before)
                # Where it is too near already, the robot may go away from it.
                close = (distances < needed) & (distances < limit.distances(model, obstacle)[0])
                if close.any():
                    i = int(np.where(close, distances - needed, np.inf).argmin())
                    what = f"{model.name(limit.geoms[i])} and what comes near"
                    value = float(distances[i])
                    detail = "too near to stop"
                    return Violation("separation", what, value, needed, "m", detail)
        return None
