"""What a case shows: whether a limit was broken, the robot stopped and moved as it should.

In arithmetic of its own, on what the simulated robot did at every physics step and on the commands.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard import Mode
from bridle.fuzzing.geometry import CLOSE, Geometry
from bridle.fuzzing.rig import Rig
from bridle.fuzzing.running import Trace, World, due

Vector = NDArray[np.float64]

KINDS = (
    "position", "velocity", "acceleration", "jerk", "tool_speed", "workspace", "collision",
    "separation", "contact",
)  # fmt: skip
"""Limits that are looked at; jerk of the commands alone, which a simulated servo smooths."""
SLACK = 1e-6
"""Relative: what rounding may add."""
ROUNDING = 4e-15
"""Of a position [rad], which is divided by the period once, twice and thrice."""
STILL = 0.05
"""A simulated robot at rest is slower than this [rad/s]."""
CREEP = 0.02
"""A part of the robot that comes nearer to somebody by less than this is at rest [m/s]."""
ARRIVED = 5e-3
"""Distance of each joint of the arm to the end of a way that counts as there [rad]."""
ON_PATH = 1e-3
"""Distance of the tool to the path of the chunks that counts as on it [m]."""
_PIECES = 4


@dataclass(frozen=True)
class Worst:
    """How near, or how far beyond, a case came to a limit: a share of it, or metres left."""

    value: float
    where: str


@dataclass
class Verdict:
    """On one case."""

    physics_steps: int
    ticks: int
    violations: dict[str, int]
    """Kind -> physics steps at which the simulated robot was beyond a limit."""
    of_commands: dict[str, int]
    """Kind -> ticks at which the commands were."""
    margins: dict[str, float]
    """Kind -> largest share of the limit of velocity, acceleration, jerk and speed; smallest room
    to the limit of positions and distances [rad] or [m]. Of the simulated robot."""
    margins_of_commands: dict[str, float]
    details: list[str] = field(default_factory=list)
    """A sentence for each kind of violation."""
    stopped: bool | None = None
    """Whether it was at rest in time; None where nothing asked for that."""
    moved: bool | None = None
    """Whether it arrived as asked for; None where the chunks were not clean."""
    path_error: float | None = None
    """Of clean chunks: largest distance of the commanded tool to their path [m]."""
    path_error_of_robot: float | None = None
    """The same of the simulated robot, which follows its commands with a lag."""
    clean_interventions: int = 0


def judge(world: World, trace: Trace) -> Verdict:
    """Judge the last case that `world.rig` ran."""
    rig, geometry = world.rig, world.geometry
    state = _Findings(geometry, "robot")
    arm = slice(0, geometry.n_arm)
    # How hard a robot brakes that stops by itself is none of the guard's business.
    own = _steps_before_standing(trace, len(rig.positions))
    state.joints(rig.positions[:own, arm], rig.velocities[:own, arm], rig.dt)
    state.body(rig.positions, rig.tools, rig.dt)
    state.people(trace, rig)
    state.contacts(rig)
    commands = _Findings(geometry, "command")
    for part in _parts(trace):
        commands.motion(part, world.guard.dt)
        commands.body(part, geometry.tools(part), world.guard.dt)
    verdict = Verdict(
        len(rig.positions),
        len(trace.commands),
        state.counts,
        commands.counts,
        state.margins,
        commands.margins,
        state.details + commands.details,
    )
    if trace.setting.cause is not None:
        verdict.stopped = _stopped(world, trace)
    if trace.setting.stands_at is not None:
        verdict.stopped = _stayed(world, trace)
    if trace.way is not None:
        _judge_way(world, trace, verdict)
    return verdict


def _steps_before_standing(trace: Trace, steps: int) -> int:
    """Of some physics steps, those in which the robot followed its commands."""
    if trace.setting.stands_at is None:
        return steps
    ticks = int(np.searchsorted(np.array(trace.times), trace.setting.stands_at))
    return ticks * steps // len(trace.commands)


def _parts(trace: Trace) -> list[Vector]:
    """Commands (T, n) between resets, each part beginning at rest."""
    ends = [*trace.restarts, len(trace.commands)]
    parts, begin = [], 0
    for end in ends:
        if end > begin:
            first = trace.start if begin == 0 else trace.places[trace.restarts.index(begin)]
            parts.append(np.array([first, first, *trace.commands[begin:end]]))
        begin = end
    return parts


class _Findings:
    """Counts what is beyond a limit."""

    def __init__(self, geometry: Geometry, who: str) -> None:
        self._geometry, self._who = geometry, who
        self.counts = dict.fromkeys(KINDS, 0)
        self.margins: dict[str, float] = {}
        self.details: list[str] = []

    def _found(
        self, kind: str, bad: NDArray[np.bool_], room: Vector, share: bool, what: list[str]
    ) -> None:
        """Room (T, k) or shares (T, k), of which some are bad (T, k)."""
        if not room.size:
            return
        # What is no number is as bad as can be; so are, so written, all comparisons below.
        room = np.where(np.isnan(room), np.inf if share else -np.inf, room)
        worst = float(room.max() if share else room.min())
        better = max if share else min
        self.margins[kind] = better(self.margins.get(kind, worst), worst)
        n = int(bad.any(axis=1).sum())
        if not n:
            return
        if not self.counts[kind]:
            t, i = np.unravel_index(int(room.argmax() if share else room.argmin()), room.shape)
            unit = "of the limit" if share else "left"
            self.details.append(
                f"{self._who}: {kind} {what[int(i)]}, {worst:.6g} {unit} at {int(t)}, {n} times"
            )
        self.counts[kind] += n

    def joints(self, q: Vector, v: Vector, dt: float) -> None:
        """Positions and velocities (T, n_arm) at every physics step."""
        limits, arm = self._geometry.robot.limits, slice(0, q.shape[1])
        names = list(self._geometry.robot.joint_names)
        room = np.minimum(q - limits.position_min[arm], limits.position_max[arm] - q)
        self._found("position", ~(room >= -SLACK), room, False, names)
        a = np.diff(v, axis=0, prepend=np.zeros((1, v.shape[1]))) / dt
        for kind, values, bound in (
            ("velocity", v, limits.velocity),
            ("acceleration", a, limits.acceleration),
        ):
            share = np.abs(values) / bound[arm]
            self._found(kind, ~(share <= 1 + SLACK), share, True, names)

    def motion(self, q: Vector, dt: float) -> None:
        """Commands (T, n), the first two at rest."""
        limits, names = self._geometry.robot.limits, list(self._geometry.robot.joint_names)
        room = np.minimum(q - limits.position_min, limits.position_max - q)
        self._found("position", ~(room >= -1e-9), room, False, names)
        values = q
        for order, (kind, bound) in enumerate(
            (
                ("velocity", limits.velocity),
                ("acceleration", limits.acceleration),
                ("jerk", limits.jerk),
            ),
            start=1,
        ):
            values = np.diff(values, axis=0, prepend=values[:1]) / dt
            share = np.abs(values) / bound
            slack = SLACK + 2**order * ROUNDING / dt**order / bound
            self._found(kind, ~(share <= 1 + slack), share, True, names)

    def body(self, q: Vector, tools: Vector, dt: float) -> None:
        """Postures (T, n), and where the tool was in them, or a step before."""
        geometry = self._geometry
        room = geometry.offsets - tools @ geometry.normals.T
        self._found("workspace", ~(room >= -1e-9), room, False, list(geometry.walls))
        if geometry.robot.tool_speed is not None and len(tools) > 1:
            speed = np.linalg.norm(np.diff(tools, axis=0), axis=1)[:, None] / dt
            share = speed / geometry.robot.tool_speed
            self._found("tool_speed", ~(share <= 1 + 1e-6), share, True, ["tool"])
        if geometry.robot.collision is not None:
            distances, pairs = geometry.distances(q)
            room = (distances - geometry.margin)[:, None]
            name = geometry.name(int(pairs[room.argmin()])) if len(room) else ""
            self._found("collision", ~(room >= -1e-9), room, False, [name])

    def people(self, trace: Trace, rig: Rig) -> None:
        """No part of the robot comes nearer to somebody in the moment in which they touch.

        Who walks into a robot that stands, or goes away, is none of its business.
        """
        if not trace.people:
            return
        steps = len(rig.positions) // len(trace.commands)
        shares = np.arange(1, steps + 1)[:, None, None] / steps
        there = np.concatenate([a + shares * (b - a) for a, b in trace.people])
        near = self._geometry.near_points(rig.positions, there, trace.radii + CLOSE)
        # The first step has none before it.
        t = np.flatnonzero(near[1:]) + 1
        if not len(t):
            return
        radii, q = trace.radii[:, None], rig.positions
        now, earlier, before = (
            self._geometry.from_points(q[t - k], there[t - j]) - radii
            for k, j in ((0, 0), (1, 0), (1, 1))
        )
        comes = ((earlier - now) / rig.dt > CREEP) & (before >= 0)
        room = np.full((len(q), now[0].size), np.inf)
        room[t] = np.where(comes, now, np.inf).reshape(len(t), -1)
        if np.isinf(room).all():
            return
        model = self._geometry.model
        parts = [model.body(model.geom_bodyid[geom]).name for geom in self._geometry.moving]
        who = [f"{part} to person {k}" for k in range(len(trace.radii)) for part in parts]
        self._found("separation", ~(room >= 0), room, False, who)

    def contacts(self, rig: Rig) -> None:
        """What the simulator itself saw."""
        if rig.contacts:
            self.counts["contact"] = len({contact.step for contact in rig.contacts})
            first = rig.contacts[0]
            self.details.append(f"{self._who}: contact of {first.what} at {first.step}")


# -- stopping --------------------------------------------------------------------------------------


def _stopped(world: World, trace: Trace) -> bool:
    """Whether commands and robot came to rest in time after the cause, and stayed there."""
    if not trace.chunks:
        # It never set off.
        return all(trace.at_rest)
    rest, settled = due(world.robot, trace)
    per_tick = len(world.rig.velocities) // len(trace.commands)
    v = world.rig.velocities[settled * per_tick :, : world.geometry.n_arm]
    return all(trace.at_rest[rest:]) and float(np.abs(v).max()) < STILL


def _stayed(world: World, trace: Trace) -> bool:
    """Whether the commands did not run away from a robot that stands, nor came back to it for ever:
    the second time it has to be the last.

    They may be a joint's tracking tolerance away, until a joint state says so, and then take v dt
    and v 2a/j + v^2/2a to stop.
    """
    robot, limits = world.robot, world.robot.limits
    v, a = limits.velocity, limits.acceleration
    noticed = (trace.setting.states_every + 1) / robot.rates.command
    stop = v * (noticed + 2 * a / limits.jerk) + v * v / (2 * a)
    tolerances = (joint.tracking_tolerance for joint in robot.joints)
    tolerance = np.array([np.inf if each is None else each for each in tolerances])
    away = np.abs(np.array(trace.commands) - np.array(trace.seen))
    near = bool((away <= tolerance + stop).all())
    comes_back = len(trace.restarts)
    ended = comes_back <= 1 or (comes_back == 2 and trace.modes[-1] is Mode.LATCHED)
    return near and ended


# -- moving ----------------------------------------------------------------------------------------


def _judge_way(world: World, trace: Trace, verdict: Verdict) -> None:
    assert trace.way is not None
    geometry, arm = world.geometry, slice(0, world.geometry.n_arm)
    path = _path(geometry, trace)
    commanded = geometry.tools(trace.commands)
    verdict.path_error = float(_to_path(commanded, path).max())
    verdict.path_error_of_robot = float(_to_path(world.rig.tools, path).max())
    verdict.clean_interventions = sum(trace.interventions.values())
    left = np.abs(world.rig.positions[-1, arm] - trace.way.end[arm])
    verdict.moved = bool(
        (left < ARRIVED).all() and not verdict.clean_interventions and verdict.path_error < ON_PATH
    )


def _path(geometry: Geometry, trace: Trace) -> Vector:
    """Pieces of the ways of the tool that the accepted chunks ask for (m, 2, 3) [m]."""
    pieces = []
    for chunk in trace.chunks:
        q = chunk.positions
        keep = np.append(True, np.abs(np.diff(q, axis=0)).max(axis=1) > 0)
        q = q[keep]
        if len(q) == 1:
            pieces.append(np.tile(geometry.tools(q), (1, 2, 1)))
            continue
        shares = np.arange(_PIECES)[:, None] / _PIECES
        fine = np.concatenate([a + shares * (b - a) for a, b in pairwise(q)])
        tools = geometry.tools([*fine, q[-1]])
        pieces.append(np.stack([tools[:-1], tools[1:]], axis=1))
    found: Vector = np.concatenate(pieces) if pieces else np.zeros((0, 2, 3))
    return found


def _to_path(points: Vector, path: Vector) -> Vector:
    """Distances of points (T, 3) to the nearest piece (m, 2, 3) each (T,) [m]."""
    begin, way = path[:, 0], path[:, 1] - path[:, 0]
    length = np.maximum(np.einsum("mi,mi->m", way, way), 1e-18)
    least = np.full(len(points), np.inf)
    for block in range(0, len(points), 64):
        some = points[block : block + 64, None] - begin
        share = np.clip(np.einsum("tmi,mi->tm", some, way) / length, 0.0, 1.0)
        gap = np.linalg.norm(some - share[..., None] * way, axis=2)
        least[block : block + 64] = gap.min(axis=1, initial=np.inf)
    return least
