"""Where chunks come from: a policy that is well, and everything that a policy may do wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.chunks import MAX_POINTS
from bridle.fuzzing.clean import CleanWay
from bridle.fuzzing.geometry import Geometry

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Plan:
    """A chunk as it is sent: nothing says that it fits a robot."""

    names: tuple[str, ...]
    times: Any
    positions: Any


Source = Callable[[float, Vector], Plan]
"""Takes the time of an observation [s] and the joint positions seen (n,) [rad]."""


class Sources:
    """Makes sources of one kind for one case."""

    def __init__(self, geometry: Geometry, start: Vector, random: np.random.Generator) -> None:
        """For an arm that starts somewhere (n,) [rad]."""
        self._geometry, self._start, self._random = geometry, start, random
        robot = geometry.robot
        self._names, self._limits, self._arm = robot.joint_names, robot.limits, geometry.n_arm
        self._n = len(self._names)
        self._every = float(random.choice([0.02, 0.05, 0.1]))
        self._times = np.arange(int(random.integers(6, 25))) * self._every

    def of(self, kind: str) -> Source:
        """A source of a kind, a key of `KINDS`."""
        return KINDS[kind](self)

    def clean(self, way: CleanWay, begin: float) -> Source:
        """A policy that follows a way from `begin` [s] on."""
        times = np.linspace(0, 0.75, 16)
        return lambda t, q: Plan(self._names, times, way.at(t + times - begin))

    # -- what is well formed -----------------------------------------------------------------------

    def _plan(self, positions: Vector) -> Plan:
        return Plan(self._names, self._times, positions)

    def _share(self, low: float, high: float) -> float:
        """Between two shares of a limit, all sizes alike."""
        return float(np.exp(self._random.uniform(np.log(low), np.log(high))))

    def _at_speed(self, direction: Vector, share: float) -> Vector:
        """A velocity (n,) of which the fastest joint has a share of its limit [rad/s]."""
        most = float((np.abs(direction) / self._limits.velocity).max())
        return direction * (share / max(most, 1e-9))

    def _wander(self) -> Source:
        """Slowly to and fro around the start."""
        size = self._random.uniform(0, 0.5, self._n)
        turns = 2 * np.pi * self._random.uniform(0.1, 1.0, self._n)

        def plan(t: float, q: Vector) -> Plan:
            return self._plan(self._start + size * np.sin(turns * (t + self._times)[:, None]))

        return plan

    def _drift(self) -> Source:
        """Towards the nearest limits, on and on."""
        share, which = self._share(0.1, 3.0), int(self._random.integers(4))

        def plan(t: float, q: Vector) -> Plan:
            velocity = self._at_speed(self._outwards(q, which), share)
            return self._plan(q + self._times[:, None] * velocity)

        return plan

    def _outwards(self, q: Vector, which: int) -> Vector:
        """A direction (n,) in which something becomes less."""
        geometry, direction = self._geometry, np.zeros(self._n)
        if which == 0:
            direction[self._random.integers(self._n)] = self._random.choice([-1.0, 1.0])
            return direction
        geometry.place(q)
        if which == 1:
            i = int(geometry.wall_slacks().argmin())
            direction[: self._arm] = geometry.normals[i] @ geometry.jacobian(q)
            return direction
        _, pair = geometry.nearest(1.0)
        if pair < 0:
            return direction
        here = geometry.distance(pair, 1.0)
        for i in range(self._arm):
            moved = q.copy()
            moved[i] += 1e-4
            geometry.place(moved)
            direction[i] = here - geometry.distance(pair, 1.0)
        return direction

    def _through(self) -> Source:
        """Straight to any posture, whatever is on the way."""
        limits, share = self._limits, self._share(0.3, 3.0)
        end = self._random.uniform(limits.position_min, limits.position_max)
        end[0] = self._start[0] + self._random.uniform(-1, 1)
        return self._straight_to(end, share)

    def _straight_to(self, end: Vector, share: float) -> Source:
        def plan(t: float, q: Vector) -> Plan:
            way = end - q
            seconds = float((np.abs(way) / (share * self._limits.velocity)).max())
            done = np.minimum(self._times / max(seconds, 1e-9), 1.0)
            return self._plan(q + done[:, None] * way)

        return plan

    def _along_the_wall(self) -> Source:
        """Sideways, pushing against the nearest wall of the workspace."""
        speed, push = self._random.uniform(0.1, 1.5), self._random.uniform(0.0, 0.5)
        side = self._random.normal(size=3)

        def plan(t: float, q: Vector) -> Plan:
            geometry = self._geometry
            jacobian = geometry.jacobian(q)
            normal = geometry.normals[int(geometry.wall_slacks().argmin())]
            along = side - (side @ normal) * normal
            velocity = speed * along / np.linalg.norm(along) + push * normal
            joints = np.zeros(self._n)
            damped = jacobian @ jacobian.T + 0.03**2 * np.eye(3)
            joints[: self._arm] = jacobian.T @ np.linalg.solve(damped, velocity)
            return self._plan(q + self._times[:, None] * joints)

        return plan

    def _noise(self) -> Source:
        size = self._share(0.003, 1.0)
        return lambda t, q: self._plan(
            q + size * self._random.normal(size=(len(self._times), self._n))
        )

    def _oscillation(self) -> Source:
        """As fast as chunks can say, or faster."""
        size = self._share(0.003, 0.5) * self._random.uniform(0, 1, self._n)
        turns = 2 * np.pi * self._random.uniform(1, 40)
        every = float(self._random.choice([0.005, 0.01, 0.025]))
        times = np.arange(40) * every

        def plan(t: float, q: Vector) -> Plan:
            way = self._start + size * np.sin(turns * (t + times)[:, None])
            return Plan(self._names, times, way)

        return plan

    def _stretched(self) -> Source:
        """Elbow and wrist through straight to the other side, and back."""
        share, end = self._share(0.2, 1.5), self._start.copy()
        for i in (2, 4):
            if self._random.integers(2) or i == 2:
                end[i] = -end[i]
        return self._straight_to(end, share)

    def _too_fast(self) -> Source:
        """In any direction, at up to 30 times the speed limits."""
        share, direction = self._share(1.0, 30.0), self._random.normal(size=self._n)
        velocity = self._at_speed(direction, share)
        return lambda t, q: self._plan(q + self._times[:, None] * velocity)

    def _ends_while_moving(self) -> Source:
        """A few points at speed, and then nothing, until there is another."""
        direction, share = self._random.normal(size=self._n), self._share(0.3, 1.2)
        velocity = self._at_speed(direction, share)
        times = np.arange(int(self._random.integers(1, 5))) * self._every
        return lambda t, q: Plan(self._names, times, q + times[:, None] * velocity)

    def _teleport(self) -> Source:
        limits = self._limits

        def plan(t: float, q: Vector) -> Plan:
            there = q + self._random.normal(size=self._n) * self._share(0.05, 3.0)
            if self._random.integers(2):
                there = self._random.uniform(limits.position_min, limits.position_max)
            return self._plan(np.tile(there, (len(self._times), 1)))

        return plan

    # -- what is ill -------------------------------------------------------------------------------

    def _spoiled(self, spoil: Callable[[Plan], Plan]) -> Source:
        """Something else is done to every second chunk of one that wanders."""
        good = self._wander()

        def plan(t: float, q: Vector) -> Plan:
            found = good(t, q)
            return spoil(found) if self._random.integers(2) else found

        return plan

    def _not_finite(self) -> Source:
        def spoil(plan: Plan) -> Plan:
            times, positions = plan.times.copy(), plan.positions.copy()
            worst = self._random.choice([np.nan, np.inf, -np.inf, 1e300])
            if self._random.integers(4) == 0:
                times[self._random.integers(len(times))] = worst
            else:
                positions[tuple(self._random.integers(positions.shape))] = worst
            return Plan(plan.names, times, positions)

        return self._spoiled(spoil)

    def _permuted(self) -> Source:
        """The values of one joint under the name of another."""
        order = self._random.permutation(self._n)
        return self._spoiled(lambda plan: Plan(plan.names, plan.times, plan.positions[:, order]))

    def _renamed(self) -> Source:
        """Another order with its names, which is right, or names that are wrong."""

        def spoil(plan: Plan) -> Plan:
            order = self._random.permutation(self._n)
            names = [plan.names[i] for i in order]
            match self._random.integers(4):
                case 0:
                    names[0] = names[1]
                case 1:
                    names[0] = "elbow"
                case 2:
                    names = names[1:]
            return Plan(tuple(names), plan.times, plan.positions[:, order])

        return self._spoiled(spoil)

    def _degrees(self) -> Source:
        return self._spoiled(lambda p: Plan(p.names, p.times, np.degrees(p.positions)))

    def _backwards(self) -> Source:
        def spoil(plan: Plan) -> Plan:
            if self._random.integers(2):
                return Plan(plan.names, plan.times, plan.positions[::-1])
            return Plan(plan.names, plan.times[::-1], plan.positions)

        return self._spoiled(spoil)

    def _twice(self) -> Source:
        """Several points at one time."""

        def spoil(plan: Plan) -> Plan:
            times = plan.times // (self._every * self._random.integers(2, 9)) * self._every
            return Plan(plan.names, times, plan.positions)

        return self._spoiled(spoil)

    def _misshapen(self) -> Source:
        def spoil(plan: Plan) -> Plan:
            times, positions = plan.times, plan.positions
            wrong: list[tuple[Any, Any]] = [
                ([], []),
                (times[:-1], positions),
                (times, positions[:, :-1]),
                (times, positions[:, :, None]),
                (times * 1000, positions),
                (times - 0.1, positions),
                (np.zeros(MAX_POINTS + 1), np.tile(positions[:1], (MAX_POINTS + 1, 1))),
                (["a"] * len(times), positions),
                (times, [[None] * self._n] * len(times)),
            ]
            return Plan(plan.names, *wrong[self._random.integers(len(wrong))])

        return self._spoiled(spoil)

    def _anything(self) -> Source:
        """Another kind with every chunk."""
        others = [KINDS[kind](self) for kind in KINDS if kind != "anything"]
        return lambda t, q: others[self._random.integers(len(others))](t, q)


KINDS: dict[str, Callable[[Sources], Source]] = {
    "wander": Sources._wander,
    "drift": Sources._drift,
    "through": Sources._through,
    "along the wall": Sources._along_the_wall,
    "noise": Sources._noise,
    "oscillation": Sources._oscillation,
    "stretched": Sources._stretched,
    "too fast": Sources._too_fast,
    "ends while moving": Sources._ends_while_moving,
    "teleport": Sources._teleport,
    "not finite": Sources._not_finite,
    "permuted": Sources._permuted,
    "renamed": Sources._renamed,
    "degrees": Sources._degrees,
    "backwards": Sources._backwards,
    "several at a time": Sources._twice,
    "misshapen": Sources._misshapen,
    "anything": Sources._anything,
}
"""Kinds of chunks, but for clean ones."""
