"""How long a tick of the guard takes, and whether it keeps memory.

Three scenes, each as fast as it runs, the robot being where it was commanded:

- `cage`: the shipped arm without its gripper, 6 joints, its tool in a cage. Twelve posts stand around
  the palm, each a pair with it alone, near enough to have a row in the quadratic programme wherever
  the tool goes, and 28 walls have a row each: 40 rows, not counting those of the tool's speed or of
  the arm's own pairs. What is asked for swings further than the cage is wide, so that the programme
  is solved, not only set up, whenever the cage is in the way.
- `free`: the shipped robot, which follows smooth chunks far from everything.
- `wall`: the shipped robot, which slides along a wall of its workspace and is pushed against it.

Beside the cage, in the same run and in turn with it, mink's `solve_ik` with its limits of position,
velocity and collisions, in the same postures of the same model: one linearised step, without jerk,
without a stop, and without a second opinion.
"""

import gc
import math
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import mink
import numpy as np
from numpy.typing import NDArray

from bridle.deploy.chunks import ActionChunk
from bridle.deploy.guard.following import Follower
from bridle.deploy.guard.guard import Guard
from bridle.deploy.guard.limits import Situation
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.guard.motion import Posture
from bridle.deploy.guard.program import Constraints
from bridle.deploy.robot import HalfSpace, RobotDescription, load_robot

Vector = NDArray[np.float64]

HOME = np.array([-0.5, -0.5, 0.5, -0.5, -0.5, 0.0]) * np.pi
"""Of the arm, the tool in front of the base and pointing down [rad]."""
POSTS, WALLS = 12, 28
POST, RING = 0.01, 0.10
"""Radius of a post, and of the ring that they stand on around the palm [m]."""
APART = 0.10
"""Of the tool to each of the walls where it starts [m]."""
CHUNK_EVERY = 20
"""Ticks between chunks."""
WARM = 200
"""Ticks before anything is measured."""
TRACED = 1000
"""Ticks while memory is traced, which takes several times as long."""


@dataclass(frozen=True)
class Times:
    """Of one kind of tick."""

    median_ms: float
    p99_ms: float
    max_ms: float
    ticks: int

    @classmethod
    def of(cls, seconds: list[float]) -> "Times":
        """From single times [s]."""
        ms = 1e3 * np.array(seconds)
        return cls(
            float(np.median(ms)), float(np.percentile(ms, 99)), float(ms.max()), len(seconds)
        )


@dataclass(frozen=True)
class Memory:
    """What is left behind by ticks whose results are thrown away."""

    ticks: int
    resident_growth_mb: float | None
    """Of the process over all of them; None where the system does not say."""
    traced_growth_bytes_per_tick: float
    """Of objects of Python, over `TRACED` ticks."""


@dataclass(frozen=True)
class Cage:
    """The tick that has most to do."""

    times: Times
    joints: int
    rows: tuple[int, int]
    """Least and most rows of the programme."""
    pairs: tuple[int, int]
    """Of these, rows of pairs of geoms."""
    solved: float
    """Share of ticks in which the programme was solved."""
    mink: Times
    ratio: float
    """Median of the guard's tick by median of mink's step."""


@dataclass(frozen=True)
class GuardBenchmark:
    """What was measured."""

    cage: Cage
    free: Times
    wall: Times
    memory: Memory


def measure(seconds: float, tell: Callable[[float], None] = lambda share: None) -> GuardBenchmark:
    """Measure all scenes.

    Args:
        seconds: of the robot's time in each scene [s].
        tell: is told from time to time which share is done.

    Raises:
        ValueError: less than 0.1 seconds.
    """
    if not seconds >= 0.1:
        raise ValueError(f"seconds must be at least 0.1, got {seconds}")
    shipped = load_robot("ur5e_2f85")
    ticks = round(seconds * shipped.rates.command)
    scenes = (
        _Scene(caged(shipped), HOME, _swing(HOME)),
        _Scene(shipped, np.append(HOME, 0.0), _stroll(np.append(HOME, 0.0))),
        _Scene(shipped, np.append(HOME, 0.0), _press(shipped, np.append(HOME, 0.0))),
    )
    total, done = ticks * len(scenes), 0

    def tick(scene: _Scene) -> Iterator[float]:
        nonlocal done
        for took in scene.run(ticks):
            done += 1
            if done % 100 == 0:
                tell(done / total)
            yield took

    before = _resident()
    cage = _cage(scenes[0], tick(scenes[0]))
    free, wall = (Times.of(list(tick(scene))) for scene in scenes[1:])
    after = _resident()
    growth = None if before is None or after is None else (after - before) / 1e6
    return GuardBenchmark(cage, free, wall, Memory(total, growth, _traced(scenes[2])))


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


# -- what is asked for -----------------------------------------------------------------------------

Path = Callable[[float], Vector]


def _swing(start: Vector) -> "Way":
    """Far beyond the cage, in every direction, at speeds that the robot could keep."""
    turns = math.tau * np.array([0.31, 0.37, 0.43, 0.53, 0.61, 0.71])
    return lambda t: start + 0.4 * np.sin(np.multiply.outer(t, turns))


def _stroll(start: Vector) -> "Way":
    turns = math.tau * np.array([0.11, 0.13, 0.17, 0.19, 0.23, 0.29, 0.31])
    size = np.array([0.3, 0.1, 0.1, 0.1, 0.1, 0.3, 0.2])
    return lambda t: start + size * np.sin(np.multiply.outer(t, turns)) ** 2


def _press(robot: RobotDescription, start: Vector) -> "Way":
    """To and fro along the wall on the left, and 5 cm behind it."""
    assert robot.model is not None and robot.workspace is not None
    model, wall = RobotModel(robot.model, len(start)), robot.workspace.y[1] + 0.05
    lift = np.array([0.0, 0.0, 0.05])
    model.place(start)
    turned, middle = start.copy(), None
    middle = np.array([0.45, wall, model.tool[2]])
    postures = []
    for shift in np.linspace(-0.12, 0.12, 25):
        goal = middle + [shift, 0.0, 0.0] + lift
        for _ in range(200):
            model.place(turned)
            jacobian = model.tool_jacobian()[:3]
            flat = 1e-3 * np.eye(3)
            turned = turned + 0.5 * jacobian.T @ np.linalg.solve(
                jacobian @ jacobian.T + flat, goal - model.tool
            )
        postures.append(turned.copy())
    along = np.array(postures)

    def way(t: float | Vector) -> Vector:
        place = 12 + 12 * np.sin(math.tau * 0.2 * np.asarray(t))
        k = np.clip(place.astype(int), 0, 23)
        share = (place - k)[..., None]
        there: Vector = (1 - share) * along[k] + share * along[k + 1]
        return there

    return way


Way = Callable[[float | Vector], Vector]


class _Scene:
    """A guard in closed loop with a robot that is where it was commanded."""

    def __init__(self, robot: RobotDescription, start: Vector, way: Way) -> None:
        self.guard, self._way, self._start = Guard(robot), way, start
        self.robot = robot
        self._tick = 0
        self.state = self.guard.start(start, 0.0)
        for _ in self.run(WARM):
            pass

    def run(self, ticks: int) -> Iterator[float]:
        """Yields what each tick took [s]."""
        times = np.arange(16) * 0.05
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


# -- the cage --------------------------------------------------------------------------------------


class _Counting(Follower):
    """Notes what the programme is asked."""

    def __init__(self, robot: RobotDescription) -> None:
        super().__init__(robot)
        self.rows: list[int] = []
        self.pairs: list[int] = []

    def _bent(
        self,
        before: Posture,
        situation: Situation,
        constraints: Constraints,
        acceleration: Vector,
    ) -> Posture | None:
        self.rows.append(len(constraints.rules))
        self.pairs.append(constraints.rules.count("collision"))
        return super()._bent(before, situation, constraints, acceleration)


def _cage(scene: _Scene, ticks: Iterator[float]) -> Cage:
    counting = _Counting(scene.robot)
    scene.guard._follower = counting
    peer = _Peer(scene.robot)
    ours, theirs = [], []
    for took in ticks:
        ours.append(took)
        wanted = scene._way(scene._tick * scene.guard.dt)
        theirs.append(peer.step(scene.state.q, wanted, scene.guard.dt))
    times, mink_times = Times.of(ours), Times.of(theirs)
    rows, pairs = counting.rows or [0], counting.pairs or [0]
    return Cage(
        times,
        len(scene.robot.joints),
        (min(rows), max(rows)),
        (min(pairs), max(pairs)),
        len(counting.rows) / len(ours),
        mink_times,
        times.median_ms / mink_times.median_ms,
    )


class _Peer:
    """mink on the same model."""

    def __init__(self, robot: RobotDescription) -> None:
        assert robot.model is not None and robot.collision is not None
        model = RobotModel(robot.model, len(robot.joints))
        self._configuration = mink.Configuration(model.model)
        self._goal = mink.Configuration(model.model)
        self._task = mink.FrameTask("tcp", "site", position_cost=1.0, orientation_cost=0.3)
        self._limits = [
            mink.ConfigurationLimit(model.model),
            mink.VelocityLimit(model.model, {j.name: j.velocity for j in robot.joints}),
            mink.CollisionAvoidanceLimit(
                model.model,
                [([a], [b]) for a, b in model.pairs()],
                minimum_distance_from_collisions=robot.collision.margin,
                collision_detection_distance=0.15,
            ),
        ]

    def step(self, q: Vector, wanted: Vector, dt: float) -> float:
        """One step towards where the tool is to be; what it took [s]."""
        self._goal.update(wanted)
        self._task.set_target(self._goal.get_transform_frame_to_world("tcp", "site"))
        began = time.perf_counter()
        self._configuration.update(q)
        try:
            mink.solve_ik(
                self._configuration, [self._task], dt, "daqp", damping=1e-6, limits=self._limits
            )
        except mink.MinkError:
            # No step keeps its limits; that took as long.
            pass
        return time.perf_counter() - began


# -- memory ----------------------------------------------------------------------------------------


def _resident() -> int | None:
    """Memory of this process [B]."""
    gc.collect()
    try:
        text = open("/proc/self/status", encoding="ascii").read()
    except OSError:
        return None
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return None if found is None else 1024 * int(found[1])


def _traced(scene: _Scene) -> float:
    tracemalloc.start()
    try:
        for _ in scene.run(WARM):
            pass
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in scene.run(TRACED):
            pass
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / TRACED
