"""How long a tick of the guard takes, and whether it keeps memory.

Three scenes, each as fast as it runs, the robot being where it was commanded:

- `cage`: the arm of the shipped robot, 6 joints, its tool in a cage: 27 walls around it, of which
  each has a row in the quadratic programme, and 8 posts around the palm, which have one where they
  are near, as the arm's own parts do. What is asked for swings further than the cage is wide, so
  that the programme is not only set up but solved. Rows and pairs are counted in every tick: what
  is timed are ticks in which a programme of at least 40 rows was solved, at least 12 of pairs.
- `free`: the shipped robot, which follows smooth chunks far from everything.
- `wall`: the shipped robot, which slides along a wall of its workspace and is pushed against it.

Beside the cage, in the same run and in turn with it, mink's `solve_ik` with its limits of position,
velocity and collisions, in the same postures of the same model: one linearised step, without jerk,
without a stop, and without a second opinion.
"""

import gc
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import mink
import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.benchmark_scenes import HOME, Scene, caged, press, stroll, swing
from bridle.deploy.guard.following import Follower
from bridle.deploy.guard.limits import Situation
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.guard.motion import Posture
from bridle.deploy.guard.program import Constraints
from bridle.deploy.robot import RobotDescription, load_robot

Vector = NDArray[np.float64]

ROWS, PAIRS = 40, 12
"""What a tick in the cage has at least to be timed."""
WARM = 100
"""Ticks before anything is measured."""
TRACED = 500
"""Ticks while memory is traced, which takes several times as long."""


@dataclass(frozen=True)
class Times:
    """Of one kind of tick."""

    median_ms: float
    p99_ms: float
    max_ms: float
    ticks: int

    @classmethod
    def of(cls, seconds: Vector) -> "Times":
        """From single times [s]."""
        ms = 1e3 * seconds
        return cls(
            float(np.median(ms)), float(np.percentile(ms, 99)), float(ms.max()), len(seconds)
        )


@dataclass(frozen=True)
class Memory:
    """What is left behind by ticks whose results are thrown away."""

    ticks: int
    resident_growth_mb: float | None
    """Of the process over the second half of each scene, when allocators and caches have what they
    need; None where the system does not say."""
    traced_growth_bytes_per_tick: float
    """Of objects of Python, over `TRACED` ticks."""


@dataclass(frozen=True)
class Cage:
    """The tick that has most to do."""

    times: Times
    joints: int
    rows: tuple[int, int]
    """Least and most rows of the programmes that were solved in them."""
    pairs: tuple[int, int]
    """Of these, rows of pairs of geoms."""
    share: float
    """Of all ticks of the scene that were such ticks."""
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
        Scene(caged(shipped), HOME, swing(HOME)),
        Scene(shipped, np.append(HOME, 0.0), stroll(np.append(HOME, 0.0))),
        Scene(shipped, np.append(HOME, 0.0), press(shipped, np.append(HOME, 0.0))),
    )
    for scene in scenes:
        for _ in scene.run(WARM):
            pass
    total, done = ticks * len(scenes), 0
    # Room for all times is taken before memory is looked at.
    ours, theirs, free, wall = (np.full(ticks, np.nan) for _ in range(4))
    peer, counting = _Peer(scenes[0].robot), _Counting(scenes[0].robot)
    scenes[0].guard._follower = counting

    halves, ends = [], []

    def each(scene: Scene) -> Iterator[tuple[int, float]]:
        nonlocal done
        for k, took in enumerate(scene.run(ticks)):
            yield k, took
            if k == ticks // 2:
                halves.append(_resident())
            done += 1
            if done % 100 == 0:
                tell(done / total)
        ends.append(_resident())

    for k, took in each(scenes[0]):
        theirs[k] = peer.step(scenes[0])
        if counting.full():
            ours[k] = took
    for times, scene in ((free, scenes[1]), (wall, scenes[2])):
        for k, took in each(scene):
            times[k] = took
    grown = [b - a for a, b in zip(halves, ends, strict=True) if a is not None and b is not None]
    growth = sum(grown) / 1e6 if grown else None
    full = np.isfinite(ours)
    if not full.any():
        raise ValueError(f"no tick had at least {ROWS} rows and {PAIRS} pairs; more seconds may")
    cage, step = Times.of(ours[full]), Times.of(theirs[full])
    return GuardBenchmark(
        Cage(
            cage,
            len(scenes[0].robot.joints),
            counting.rows,
            counting.pairs,
            float(full.mean()),
            step,
            cage.median_ms / step.median_ms,
        ),
        Times.of(free),
        Times.of(wall),
        Memory(total, growth, _traced(scenes[2])),
    )


# -- the cage --------------------------------------------------------------------------------------


class _Counting(Follower):
    """Notes how large the programmes are."""

    def __init__(self, robot: RobotDescription) -> None:
        super().__init__(robot)
        self.rows, self.pairs = (10**6, 0), (10**6, 0)
        self._solved: tuple[int, int] | None = None

    def full(self) -> bool:
        """Whether the last tick was one of those that are timed; its numbers are noted."""
        solved, self._solved = self._solved, None
        if solved is None or solved[0] < ROWS or solved[1] < PAIRS:
            return False
        rows, pairs = solved
        self.rows = min(self.rows[0], rows), max(self.rows[1], rows)
        self.pairs = min(self.pairs[0], pairs), max(self.pairs[1], pairs)
        return True

    def _bent(
        self,
        before: Posture,
        situation: Situation,
        constraints: Constraints,
        acceleration: Vector,
    ) -> Posture | None:
        self._solved = len(constraints.rules), constraints.rules.count("collision")
        return super()._bent(before, situation, constraints, acceleration)


class _Peer:
    """mink on the same model."""

    def __init__(self, robot: RobotDescription) -> None:
        assert robot.model is not None
        assert robot.collision is not None
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

    def step(self, scene: Scene) -> float:
        """One step towards where the tool is to be; what it took [s]."""
        self._goal.update(scene.wanted)
        self._task.set_target(self._goal.get_transform_frame_to_world("tcp", "site"))
        dt = scene.guard.dt
        began = time.perf_counter()
        self._configuration.update(scene.state.q)
        # Where no step keeps its limits, finding that out took as long.
        with suppress(mink.MinkError):
            mink.solve_ik(
                self._configuration, [self._task], dt, "daqp", damping=1e-6, limits=self._limits
            )
        return time.perf_counter() - began


# -- memory ----------------------------------------------------------------------------------------


def _resident() -> int | None:
    """Memory of this process [B]."""
    gc.collect()
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return None if found is None else 1024 * int(found[1])


def _traced(scene: Scene) -> float:
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
