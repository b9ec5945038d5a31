"""The policy as it runs on a robot, without ROS: observations in, timed chunks out."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.bundle import INSTRUCTION, ROBOT, TOKENIZER, Bundle
from bridle.deploy.chunks import ActionChunk
from bridle.deploy.exceptions import InferenceError, KinematicsError
from bridle.deploy.execution import ChunkSampler, ExecutionConfig, ServedPolicy, Timeline
from bridle.deploy.execution.conservative import Conservative, ConservativeConfig
from bridle.deploy.familiarity.alarm import Assessment
from bridle.deploy.familiarity.guardian import Guardian
from bridle.deploy.familiarity.scores import Planned
from bridle.deploy.familiarity.watching import Listener, Watcher, retimed
from bridle.deploy.kinematics import Kinematics
from bridle.deploy.robot import load_robot
from bridle.deploy.runtime import Runtime
from bridle.deploy.steering import Steering, SteeringConfig
from bridle.deploy.tokens import Tokenizer

Vector = NDArray[np.float64]

FROM_JOINT_STATES = ("joint_position", "joint_velocity", "gripper", "tcp_pose")
"""Observations that follow from the joint state; every other key arrives on its own."""


MARGIN = 0.05
"""A chunk reaches the guard at least this long before it would stop waiting for one [s]."""
ASTRAY = 0.2
"""A robot this far from where it was sent [rad] is not doing what was planned: the plan is void."""


@dataclass(frozen=True)
class Observation:
    """The robot at one instant."""

    stamp: int
    """Stamp of the joint state [ns], the sender's clock; identifies the instant."""
    time: float
    """Receipt on this process's monotonic clock [s]."""
    position: Vector
    """(A,) joint positions in the manifest's order [rad]."""
    velocity: Vector
    """(A,) joint velocities [rad/s]."""
    extra: Mapping[str, NDArray[np.float32]]
    """Observations that do not follow from the joint state."""


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load the kinematics of the bundle.

        Args:
            bundle: verified.
            runtime: what runs it.
            seed: of the sampling noise.
            steering: how corrections are carried out.
            execution: how a chunk follows the one before.
            conservative: how a sampled chunk is moved to where it is more probable; None: it is not.
            guardian: slows the robot where a chunk is unfamiliar, and holds it; None: nothing does.
            listener: is told of every chunk that is sampled.
            clock: the time of `Observation.time` [s].

        Raises:
            KinematicsError: the bundle's arm does not fit its joint names.
            RobotError: its robot is not known.
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
        self._tokenizer: Tokenizer | None = None
        for spec in self.manifest.inputs:
            if spec.name == INSTRUCTION:
                self._tokenizer = Tokenizer(bundle.contents[TOKENIZER], spec.shape[-1])
        self._instruction: NDArray[np.int64] | None = None
        known = (*FROM_JOINT_STATES, INSTRUCTION)
        self.extra_keys = tuple(s.name for s in self.manifest.inputs if s.name not in known)
        self.steering = Steering(steering)
        self._random = np.random.default_rng(seed)
        # Enough history for To observations at any rate of joint states up to 1 kHz.
        self._history: deque[Observation] = deque(
            maxlen=int(1000 * self.manifest.n_obs_steps * self.manifest.dt) + 2
        )
        self._robot = load_robot(self.manifest.robot)
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
        self._history.clear()
        self._timeline = None
        self._watcher.clear()
        self.steering = Steering(self.steering.config, pace=self.steering.pace)

    def instruct(self, sentence: str) -> None:
        """Follow another instruction from the next plan on.

        Raises:
            InferenceError: the policy reads none, or none as long.
        """
        if self._tokenizer is None:
            raise InferenceError("this policy does not take instructions")
        self._instruction = self._tokenizer.encode(sentence)

    def observe(self, observation: Observation) -> None:
        """Take in the robot's state.

        Raises:
            InferenceError: numbers are not finite, or a shape is wrong.
        """
        shape = (len(self.manifest.joint_names),)
        for name in ("position", "velocity"):
            value = getattr(observation, name)
            if value.shape != shape or not np.isfinite(value).all():
                raise InferenceError(f"joint {name} must be {shape[0]} finite numbers, got {value}")
        self._history.append(observation)

    @property
    def missing(self) -> tuple[str, ...]:
        """What has to arrive before the first plan."""
        if not self._history:
            return ("joint_states",)
        arrived = self._history[-1].extra
        missing = [f"observation/{key}" for key in self.extra_keys if key not in arrived]
        if self._tokenizer is not None and self._instruction is None:
            missing.append(INSTRUCTION)
        return tuple(missing)

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

    def _window(self) -> list[Observation]:
        """The newest To observations on the control grid, oldest first, padded by repetition."""
        # A copy: the executor's thread goes on appending.
        history = list(self._history)
        newest = history[-1]
        times = np.array([o.time for o in history])
        wanted = newest.time - self.manifest.dt * np.arange(self.manifest.n_obs_steps)[::-1]
        return [history[int(np.abs(times - t).argmin())] for t in wanted]

    def _undisplaced(self, observation: Observation) -> Vector:
        """Where the joints (A,) [rad] would be without a nudge."""
        offset = self.steering.offsets(np.array([observation.time]))[0]
        if not offset.any():
            return observation.position
        position: Vector = self.kinematics.shift(observation.position[None], -offset)[0]
        return position

    def _features(self, observation: Observation) -> dict[str, NDArray[Any]]:
        """One observation as the policy saw it in training, without the tool's displacement."""
        n = self.kinematics.n_joints
        position = self._undisplaced(observation)
        derived = {
            "joint_position": lambda: position[:n],
            "joint_velocity": lambda: observation.velocity[:n],
            "gripper": lambda: position[n:],
            "tcp_pose": lambda: self.kinematics.tool_pose(position),
        }
        features: dict[str, NDArray[Any]] = {}
        for spec in self.manifest.inputs:
            if spec.name == INSTRUCTION and self._instruction is not None:
                features[spec.name] = self._instruction
            elif spec.name in derived:
                features[spec.name] = derived[spec.name]().astype(np.float32)
            elif spec.name in observation.extra:
                features[spec.name] = observation.extra[spec.name]
            else:
                raise InferenceError(f"no observation '{spec.name}' has arrived yet")
        return features

    def plan(self) -> TimedChunk:
        """Run the policy on the newest observation.

        Raises:
            InferenceError: nothing was observed yet, or an observation is missing or bad.
            ChunkRefused: the inference took longer than its chunk lasts.
            KinematicsError: a nudged pose is out of reach.
        """
        if not self._history:
            raise InferenceError("no joint state has arrived yet")
        window = self._window()
        newest = window[-1]
        features = [self._features(o) for o in window]
        batch = {key: np.stack([f[key] for f in features])[None] for key in features[0]}
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
                spacing * np.arange(self._sampler.rows),
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
        if self._timeline is None or not self._history:
            return None
        return self._issue(self._timeline, self._history[-1])

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
