"""The policy as it runs on a robot, without ROS: observations in, timed chunks out."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.bundle import INSTRUCTION, ROBOT, TOKENIZER, Bundle
from bridle.deploy.exceptions import InferenceError, KinematicsError
from bridle.deploy.kinematics import Kinematics
from bridle.deploy.runtime import Runtime
from bridle.deploy.steering import Steering, SteeringConfig
from bridle.deploy.tokens import Tokenizer

Vector = NDArray[np.float64]

FROM_JOINT_STATES = ("joint_position", "joint_velocity", "gripper", "tcp_pose")
"""Observations that follow from the joint state; every other key arrives on its own."""


LONGEST_REPLAN = 0.4
"""A chunk follows the last one after this at the latest [s]: the guard waits for 0.5 s."""


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
    """(H,) seconds after the observation."""
    positions: Vector
    """(H, A) absolute joint positions [rad]."""
    score: float
    seconds: float
    """Time the inference took."""


class PolicyServer:
    """Keeps the observation history, runs the policy, and carries out corrections."""

    def __init__(self, bundle: Bundle, runtime: Runtime, *, seed: int, steering: SteeringConfig):
        """Load the kinematics of the bundle.

        Raises:
            KinematicsError: the bundle's arm does not fit its joint names.
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
        self._planned: tuple[float, Vector, float] | None = None

    def warm_up(self) -> None:
        """Run every graph once, so that the first real inference is as fast as the others."""
        shape = (1, self.manifest.horizon, len(self.manifest.joint_names))
        observation = {
            spec.name: np.zeros((1, *spec.shape[1:]), spec.dtype) for spec in self.manifest.inputs
        }
        self.runtime.infer(observation, np.zeros(shape, np.float32))

    def clear(self) -> None:
        """Forget observations, nudges and the running chunk: a new episode. The pace stays."""
        self._history.clear()
        self._planned = None
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
    def replan_seconds(self) -> float:
        """Time after which the next chunk is due."""
        executed = self.manifest.n_action_steps * self.manifest.dt
        # Neither a slow pace nor a long slice may starve the guard of chunks.
        return min(executed / max(1.0, self.steering.pace), LONGEST_REPLAN)

    def _window(self) -> list[Observation]:
        """The newest To observations on the control grid, oldest first, padded by repetition."""
        # A copy: the executor's thread goes on appending.
        history = list(self._history)
        newest = history[-1]
        times = np.array([o.time for o in history])
        wanted = newest.time - self.manifest.dt * np.arange(self.manifest.n_obs_steps)[::-1]
        return [history[int(np.abs(times - t).argmin())] for t in wanted]

    def _features(self, observation: Observation) -> dict[str, NDArray[Any]]:
        """One observation as the policy saw it in training, without the tool's displacement."""
        n = self.kinematics.n_joints
        position = observation.position
        offset = self.steering.offsets(np.array([observation.time]))[0]
        if offset.any():
            position = self.kinematics.shift(position[None], -offset)[0]
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
            KinematicsError: a nudged pose is out of reach.
        """
        if not self._history:
            raise InferenceError("no joint state has arrived yet")
        window = self._window()
        features = [self._features(o) for o in window]
        batch = {key: np.stack([f[key] for f in features])[None] for key in features[0]}
        shape = (1, self.manifest.horizon, len(self.manifest.joint_names))
        noise = self._random.standard_normal(shape, dtype=np.float32)
        inference = self.runtime.infer(batch, noise)
        chunk = inference.chunk[0, self.manifest.first_action :].astype(np.float64)
        self._planned = (window[-1].time, chunk, self.steering.pace)
        return self._issue(window[-1], inference.score.item(), inference.seconds)

    def reissue(self) -> TimedChunk | None:
        """The running chunk again from the newest observation on, with the present corrections.

        None when no chunk is running.

        Raises:
            KinematicsError: a nudged pose is out of reach.
        """
        if self._planned is None or not self._history:
            return None
        return self._issue(self._history[-1], float("nan"), 0.0)

    def _issue(self, newest: Observation, score: float, seconds: float) -> TimedChunk:
        assert self._planned is not None
        # A change of pace takes effect with the next plan: re-timing a running chunk would jump.
        planned_at, positions, pace = self._planned
        step = self.manifest.dt / pace
        times: Vector = np.arange(len(positions), dtype=np.float64) * step
        times = times - (newest.time - planned_at)
        keep = times > 0
        if newest.time > planned_at:
            # Start from where the running chunk is at the newest observation.
            now = np.array([np.interp(0.0, times, column) for column in positions.T])
            times = np.concatenate([[0.0], times[keep]])
            positions = np.concatenate([now[None], positions[keep]])
        positions = positions.copy()
        instants = newest.time + times
        offsets = self.steering.offsets(instants)
        if offsets.any():
            positions = self.kinematics.shift(positions, offsets)
        n = self.kinematics.n_joints
        if positions.shape[1] > n:
            positions[:, n] = self.steering.grips(instants, positions[:, n])
        return TimedChunk(newest.stamp, times, positions, score, seconds)
