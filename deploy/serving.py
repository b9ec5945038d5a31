"""The policy as it runs on a robot, without ROS: observations in, timed chunks out."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.bundle import ROBOT, Bundle
from bridle.deploy.chunks import ActionChunk
from bridle.deploy.exceptions import KinematicsError
from bridle.deploy.execution import ChunkSampler, ExecutionConfig, ServedPolicy, Timeline
from bridle.deploy.execution.conservative import Conservative, ConservativeConfig
from bridle.deploy.familiarity.alarm import Assessment
from bridle.deploy.familiarity.guardian import Guardian
from bridle.deploy.familiarity.scores import Planned
from bridle.deploy.familiarity.watching import Listener, Watcher, retimed
from bridle.deploy.kinematics import Kinematics
from bridle.deploy.robot import RobotDescription, RobotError, load_robot
from bridle.deploy.runtime import Runtime
from bridle.deploy.senses import Observation, Senses
from bridle.deploy.steering import Steering, SteeringConfig

Vector = NDArray[np.float64]

MARGIN = 0.05
"""A chunk reaches the guard at least this long before it would stop waiting for one [s]."""
ASTRAY = 0.2
"""A robot this far from where it was sent [rad] is not doing what was planned: the plan is void."""


@dataclass(frozen=True)
class TimedChunk:
    """A chunk for the guard."""

    stamp: int
    """Stamp of the observation it was computed from [ns]."""
    times: Vector
    """(M,) seconds after the observation."""
    positions: Vector
    """(M, A) absolute joint positions [rad], which end at rest."""
    score: float = np.nan
    """The generator's score; NaN for a chunk that is issued again."""
    seconds: float = 0.0
    """Time the inference took."""
    seam: float = np.nan
    """Largest distance of a joint between this plan and the one before where it takes over [rad];
    NaN where there was none."""
    feasibility: float = np.nan
    """Q_h of the chunk that was sampled, above 0 where a learned critic expects that something will
    be touched; NaN without a critic, and for a chunk that is issued again."""
    moved: float = 0.0
    """Furthest that the conservative correction moved a joint [rad]."""
    assessment: Assessment | None = None
    """How familiar it is, and what came of that; None without a guardian, and for a chunk that is
    issued again. At HOLD the chunk that was sampled is not in it: it brings the robot to rest."""


class PolicyServer:
    """Keeps the observation history, runs the policy, and carries out corrections."""

    def __init__(
        self,
        bundle: Bundle,
        runtime: Runtime,
        *,
        seed: int,
        steering: SteeringConfig,
        execution: ExecutionConfig | None = None,
        conservative: ConservativeConfig | None = None,
        guardian: Guardian | None = None,
        listener: Listener | None = None,
        robot: RobotDescription | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load the kinematics of the bundle.

        Args:
            bundle: verified.
            runtime: what runs it.
            seed: of the sampling noise.
            steering: how corrections are carried out.
            execution: how a chunk follows the one before.
            conservative: how chunks are moved to where they are more probable; None: they are not.
            guardian: slows the robot where a chunk is unfamiliar, and holds it; None: nothing does.
            listener: is told of every chunk that is sampled.
            robot: the robot; None: the one of that name that comes with Bridle.
            clock: the time of `Observation.time` [s].

        Raises:
            KinematicsError: the bundle's arm does not fit its joint names.
            RobotError: its robot is not known, or has other joints.
            InferenceError: the policy cannot be executed so.
        """
        self.manifest = bundle.manifest
        self.runtime = runtime
        self.kinematics = Kinematics(bundle.contents[ROBOT])
        n = self.kinematics.n_joints
        if self.kinematics.joint_names != tuple(self.manifest.joint_names[:n]):
            raise KinematicsError(
                f"robot.xml has the joints {self.kinematics.joint_names}, the manifest "
                f"{self.manifest.joint_names}"
            )
        self._senses = Senses(bundle, self.kinematics)
        self.extra_keys = self._senses.extra_keys
        self.steering = Steering(steering)
        self._random = np.random.default_rng(seed)
        self._robot = load_robot(self.manifest.robot) if robot is None else robot
        if list(self._robot.joint_names) != self.manifest.joint_names:
            raise RobotError(
                f"{self._robot.name} has the joints {', '.join(self._robot.joint_names)}; "
                f"the bundle is for {', '.join(self.manifest.joint_names)}"
            )
        self._tracks = np.array([j.tracking_tolerance is not None for j in self._robot.joints])
        self._execution = ExecutionConfig() if execution is None else execution
        self._sampler = ChunkSampler(runtime, self._execution)
        self._conservative: Conservative | None = None
        if conservative is not None and conservative.steps:
            self._conservative = Conservative(
                ServedPolicy(runtime),
                runtime.table(max(runtime.tables)),
                conservative,
                first_row=self.manifest.first_action,
            )
        self._watcher = Watcher(guardian, listener)
        self._clock = clock
        self._timeline: Timeline | None = None
        self._n_planned = 0

    def warm_up(self) -> None:
        """Run every graph once, so that the first real inference is as fast as the others."""
        self._sampler.warm_up()
        self._watcher.warm_up()
        if self._conservative is not None:
            inputs, n = self.manifest.inputs, len(self.manifest.joint_names)
            nothing = {s.name: np.zeros((1, *s.shape[1:]), s.dtype) for s in inputs}
            self._conservative(nothing, np.zeros((self._sampler.rows, n)))

    def clear(self) -> None:
        """Forget observations, nudges and the running chunk: a new episode. The pace stays."""
        self._senses.clear()
        self._timeline = None
        self._watcher.clear()
        self.steering = Steering(self.steering.config, pace=self.steering.pace)

    def instruct(self, sentence: str) -> None:
        """Follow another instruction from the next plan on, see `Senses.instruct`."""
        self._senses.instruct(sentence)

    def observe(self, observation: Observation) -> None:
        """Take in the robot's state, see `Senses.observe`."""
        self._senses.observe(observation)

    @property
    def missing(self) -> tuple[str, ...]:
        """What has to arrive before the first plan."""
        return self._senses.missing

    @property
    def delay_steps(self) -> int:
        """Control periods from an observation to the first use of its chunk, as measured."""
        return 0 if self._timeline is None else self._timeline.delay.steps

    @property
    def replan_seconds(self) -> float:
        """Time after which the next chunk is due."""
        executed = self.manifest.n_action_steps * self.manifest.dt
        waits = self._robot.watchdogs.chunk - self.delay_steps * self.manifest.dt - MARGIN
        # Neither a slow pace nor a long slice nor a slow network may starve the guard of chunks.
        return max(0.0, min(executed / max(1.0, self.steering.pace), waits))

    def _undisplaced(self, observation: Observation) -> Vector:
        """Where the joints (A,) [rad] would be without a nudge."""
        offset = self.steering.offsets(np.array([observation.time]))[0]
        if not offset.any():
            return observation.position
        position: Vector = self.kinematics.shift(observation.position[None], -offset)[0]
        return position

    def plan(self) -> TimedChunk:
        """Run the policy on the newest observation.

        Raises:
            InferenceError: nothing was observed yet, or an observation is missing or bad.
            ChunkRefused: the inference took longer than its chunk lasts.
            KinematicsError: a nudged pose is out of reach.
        """
        window = self._senses.window()
        newest = window[-1]
        batch = self._senses.batch(window, [self._undisplaced(o) for o in window])
        # A change of pace takes effect here: re-timing the running chunk would jump.
        wish, held = self.steering.pace, self._watcher.held
        pace = self._pace(wish)
        spacing = self.manifest.dt / pace
        timeline = self._timeline_at(newest)
        epoch, previous = timeline.epoch, None
        if self._execution.strategy == "rtc":
            previous = timeline.previous(newest.time, self._sampler.rows, spacing)
        began = time.perf_counter()
        sampled = self._sampler(batch, self._random, previous)
        planned = Planned(batch, sampled.positions, sampled.score, newest.time, spacing)
        # As it was sampled: a chunk that has to be moved must not look more familiar for it.
        assessment = self._watcher(planned)
        positions, moved = sampled.positions, 0.0
        if self._conservative is not None and not self._watcher.held:
            positions, moved = self._conservative(batch, positions, previous)
        seconds = time.perf_counter() - began
        now = self._clock()
        timeline.elapse(now)
        seam = np.nan
        if self._watcher.held:
            if not held:
                timeline.reset(now)
        else:
            # A change of level takes effect where the chunk does.
            times = retimed(
                spacing * np.arange(self._sampler.rows, dtype=np.float64),
                timeline.time(timeline.due) - newest.time,
                self._pace(wish) / pace,
            )
            chunk = ActionChunk(newest.time, times, positions)
            seam = self._take_over(timeline, chunk, epoch, now)
        return replace(
            self._issue(timeline, newest),
            score=sampled.score,
            seconds=seconds,
            seam=seam,
            moved=moved,
            feasibility=sampled.feasibility,
            assessment=assessment,
        )

    def _pace(self, wish: float) -> float:
        """A person's wish, and what is left of it where the policy is on unfamiliar ground."""
        return max(self.steering.config.min_pace, wish * self._watcher.speed)

    def _take_over(self, timeline: Timeline, chunk: ActionChunk, epoch: int, now: float) -> float:
        """Execute a chunk from now on; its seam, see `TimedChunk`."""
        idle, (running, _) = timeline.idle, timeline.segment.at(timeline.due)
        timeline.accept(chunk, epoch=epoch, sequence=self._n_planned, now=now)
        self._n_planned += 1
        jump = np.abs(timeline.plan.positions[0] - running)[self._tracks]
        return np.nan if idle else float(jump.max())

    def reissue(self) -> TimedChunk | None:
        """The running chunk again from the newest observation on, with the present corrections.

        None when no chunk is running.

        Raises:
            KinematicsError: a nudged pose is out of reach.
        """
        newest = self._senses.newest
        if self._timeline is None or newest is None:
            return None
        return self._issue(self._timeline, newest)

    def _timeline_at(self, newest: Observation) -> Timeline:
        """What is being executed, as far as the robot still does it."""
        position = self._undisplaced(newest)
        if self._timeline is None:
            robot, dt = self._robot, self.manifest.dt
            self._timeline = Timeline(
                robot.limits,
                dt,
                position,
                newest.time,
                config=self._execution,
                latency=robot.latency,
            )
        sent = self._timeline.position(newest.time)
        if (np.abs(position - sent)[self._tracks] > ASTRAY).any():
            # Held by the guard, or moved by hand.
            self._timeline.reset(newest.time, position)
        return self._timeline

    def _issue(self, timeline: Timeline, newest: Observation) -> TimedChunk:
        """What is to be executed from the newest observation on, with the corrections."""
        instants, positions = timeline.path
        times = instants - newest.time
        past = int((times <= 0).sum())
        if past:
            now = np.array([np.interp(0.0, times, column) for column in positions.T])
            times = np.concatenate([[0.0], times[past:]])
            positions = np.concatenate([now[None], positions[past:]])
        instants = newest.time + times
        offsets = self.steering.offsets(instants)
        if offsets.any():
            positions = self.kinematics.shift(positions, offsets)
        n = self.kinematics.n_joints
        if positions.shape[1] > n:
            positions = positions.copy()
            positions[:, n] = self.steering.grips(instants, positions[:, n])
        return TimedChunk(newest.stamp, times, positions)
