"""The second opinion on where a command and its stop carry the robot's body, by its positions.

Nothing here is linearised: postures along the way are placed, and what is measured is compared.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.check import SLACK, Violation
from bridle.deploy.guard.limits import Obstacle, SeparationLimit
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.guard.motion import Motion
from bridle.deploy.guard.pairs import Indices, Pairs, tool_levers
from bridle.deploy.robot import HalfSpace

Vector = NDArray[np.float64]

SPACING = 0.005
"""What is near a limit moves no further between two postures that are looked at [m], by a bound
that is two or three times what it does move."""
FAST = 0.9
"""Where the joints could move the tool no faster than this share of its speed limit, in whatever
posture, it is not looked at."""
LATE = 0.98
"""A joint that turns round in a stop has done so after this share of it, or by next to nothing: its
velocity passes zero once at most, as its acceleration does."""
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


class _Ends(NamedTuple):
    """Where pieces of a stop begin, or where they end."""

    times: Vector
    """(K,) [s]."""
    postures: Vector
    """(K, n) [rad]."""
    velocities: Vector
    """(K, n) [rad/s]; of the end, where all are at rest, those shortly before."""
    distances: Vector
    """(K, W) [m]; infinite where it does not matter any more."""

    def of(self, some: NDArray[np.bool_]) -> "_Ends":
        """Those of some pieces (K,)."""
        return _Ends(*(each[some] for each in self))

    def and_then(self, more: "_Ends") -> "_Ends":
        """These, then more."""
        return _Ends(*(np.concatenate(each) for each in zip(self, more, strict=True)))


class Surroundings:
    """Judges commands and their stops by the tool's place and speed and by distances.

    What is outside a limit already may come back, and may not go further out.

    Distances are the tool's to its half-spaces, then those of the pairs. Along a stop they are
    looked at by bisection: where one is d and e at the ends of a piece on which it can go up and
    down by no more than m, it is never below (d + e - m) / 2 between them; where that is not
    enough, the piece is halved, all such pieces at a time.
    """

    def __init__(self, body: Body, dt: float, latency: float) -> None:
        """Take what is limited, the control period and the latency of the robot [s]."""
        self.body, self._model, self._dt, self._latency = body, body.model, dt, latency
        self._normals = np.array([h.normal for h in body.half_spaces]).reshape(-1, 3)
        self._offsets = np.array([h.offset for h in body.half_spaces])
        self._n_walls = len(body.half_spaces)
        self._pairs = Pairs(body.model, ()) if body.pairs is None else body.pairs
        self._tool_levers = tool_levers(body.model)
        walls = np.tile(self._tool_levers, (self._n_walls, 1))
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
        lower: Vector | None = None,
    ) -> Violation | None:
        """The first rule that going from `before` to `after`, and stopping then, would break.

        Args:
            earlier: the command before the last one (n,) [rad].
            before: the last command (n,) [rad].
            after: the command to be judged (n,) [rad], one period later.
            stop: the stop prepared for it.
            obstacles: what moves around the robot.
            lower: of `before`, lower bounds of the distances of the pairs (P,) [m], if known.
        """
        if not math.isinf(self.body.tool_speed):
            found = self._too_fast(earlier, before, after, stop)
            if found is not None:
                return found
        if obstacles and self.body.separation is not None:
            found = self._reached(before, stop, obstacles)
            if found is not None:
                return found
        if not len(self._least):
            return None
        if lower is None:
            self._model.place(before)
            lower = self._pairs.lower()
        return self._too_near(before, after, stop, lower)

    def standing(self, before: Vector, there: Vector) -> Violation | None:
        """The first rule that standing somewhere else breaks, and breaks more than `before`.

        Args:
            before: the last command (n,) [rad].
            there: where the robot stands (n,) [rad].
        """
        self._model.place(there)
        everything = np.arange(len(self._least))
        return self._below("robot", everything, self._distances(everything), before)

    # -- distances ---------------------------------------------------------------------------------

    def _too_near(
        self, before: Vector, after: Vector, stop: Motion, lower: Vector
    ) -> Violation | None:
        lowest, highest = stop.range
        reach = self._levers @ (highest - lowest)
        nearer = lower - self._levers[self._n_walls :] @ np.abs(after - before)
        self._model.place(after)
        # So written that nan is near.
        far = np.concatenate([self._walls(), nearer]) > self._least + reach
        watched = np.flatnonzero(~far)
        if not len(watched):
            return None
        start = self._distances(watched)
        found = self._below("command", watched, start, before)
        if found is not None:
            return found
        left = ~(start > self._least[watched] + reach[watched])
        if not left.any():
            return None
        watched, start = watched[left], start[left]
        rest = stop.position(stop.duration)
        self._model.place(rest)
        end = self._distances(watched)
        found = self._below("stop", watched, end, before)
        if found is not None:
            return found
        _, velocities = stop.instants([0.0, LATE * stop.duration])
        ends = (0.0, after, velocities[0], start), (stop.duration, rest, velocities[1], end)
        first, last = (_Ends(*(np.array([each]) for each in one)) for one in ends)
        return self._between(first, last, watched, stop, before)

    def _between(
        self, first: "_Ends", last: "_Ends", watched: Indices, stop: Motion, before: Vector
    ) -> Violation | None:
        """The first distance that is too short within some pieces of a stop, all of them at once.

        Args:
            first: where they begin.
            last: where they end.
            watched: what distances they have (W,).
            stop: what they are of.
            before: the last command (n,) [rad].
        """
        least, levers = self._least[watched], self._levers[watched].T
        while len(first.times):
            lasts = (last.times - first.times)[:, None]
            turns = stop.turns(first.velocities, last.velocities, lasts)
            change = (np.abs(last.postures - first.postures) + 2 * turns) @ levers
            unsure = ~(first.distances + last.distances - change >= 2 * least)
            some = np.where(unsure, change, 0.0).max(axis=1) >= SPACING
            first, last, unsure = first.of(some), last.of(some), unsure[some]
            times = (first.times + last.times) / 2
            postures, velocities = stop.instants(times.tolist())
            # What is far enough everywhere in a piece is not looked at in it again.
            distances = np.full(unsure.shape, np.inf)
            for k, posture in enumerate(postures):
                self._model.place(posture)
                distances[k, unsure[k]] = self._distances(watched[unsure[k]])
            for row in distances[~(distances >= least).all(axis=1)]:
                found = self._below("stop", watched, row, before)
                if found is not None:
                    return found
            shape = first.postures.shape
            middle = _Ends(times, postures.reshape(shape), velocities.reshape(shape), distances)
            first, last = first.and_then(middle), middle.and_then(last)
        return None

    def _walls(self) -> Vector:
        """Of the tool to its half-spaces, in the posture that the model is in [m]."""
        distances: Vector = self._offsets - self._normals @ self._model.tool
        return distances

    def _distances(self, watched: Indices) -> Vector:
        """Of some, in the posture that the model is in [m]."""
        n = int(watched.searchsorted(self._n_walls))
        pairs = self._pairs.distances((watched[n:] - self._n_walls).tolist(), 1.0)
        return np.append(self._walls()[watched[:n]], pairs)

    def _below(
        self, name: str, watched: Indices, distances: Vector, before: Vector
    ) -> Violation | None:
        """The first that is too short, unless it was as short before."""
        # So written that nan is a violation.
        short = ~(distances >= self._least[watched])
        if not short.any():
            return None
        self._model.place(before)
        was = self._distances(watched[short])
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
        """The tool, on the way to the command, and from one period to the next in the stop."""
        bound, dt = self.body.tool_speed, self._dt
        last, tool = self._tool(before), self._tool(after)
        speed = math.dist(tool, last) / dt
        # So written that nan is a violation.
        if not speed <= bound * (1 + SLACK):
            was = math.dist(last, self._tool(earlier)) / dt
            if not speed <= was:
                return Violation("tool_speed", "tool", speed, bound, "m/s", "command too fast")
        if self._tool_levers @ stop.fastest <= FAST * bound:
            return None
        periods = 1 + math.ceil(stop.duration / dt)
        postures, velocities = stop.instants(k * dt for k in range(periods))
        could = np.abs(velocities) @ self._tool_levers > FAST * bound
        for posture in postures[1 : 2 + int(np.flatnonzero(could)[-1])] if could.any() else ():
            last, tool, was = tool, self._tool(posture), speed
            speed = math.dist(tool, last) / dt
            if not (speed <= bound * (1 + SLACK) or speed <= was):
                return Violation("tool_speed", "tool", speed, bound, "m/s", "stop too fast")
        return None

    # -- what moves --------------------------------------------------------------------------------

    def _reached(
        self, before: Vector, stop: Motion, obstacles: Sequence[Obstacle]
    ) -> Violation | None:
        """Whether something that moves could be at a part of the robot before that is at rest."""
        limit, model = self.body.separation, self._model
        assert limit is not None
        seconds = self._latency + self._dt + stop.duration
        postures, _ = stop.instants(share * stop.duration for share in (0.0, 0.25, 0.5, 0.75, 1.0))
        for obstacle in obstacles:
            needed = limit.needed(obstacle, seconds)
            for q in postures:
                model.place(q)
                distances = limit.distances(obstacle)
                if (distances >= needed).all():
                    continue
                model.place(before)
                # Where it is too near already, the robot may go away from it.
                close = (distances < needed) & (distances < limit.distances(obstacle))
                if close.any():
                    i = int(np.where(close, distances - needed, np.inf).argmin())
                    value, detail = float(distances[i]), "too near to stop"
                    return Violation("separation", limit.name_of(i), value, needed, "m", detail)
        return None
