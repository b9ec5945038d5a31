"""What a robot has sensed lately, as its policy reads it."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.bundle import INSTRUCTION, TOKENIZER, Bundle
from bridle.deploy.exceptions import InferenceError
from bridle.deploy.kinematics import Kinematics
from bridle.deploy.tokens import Tokenizer

Vector = NDArray[np.float64]

FROM_JOINT_STATES = ("joint_position", "joint_velocity", "gripper", "tcp_pose")
"""Observations that follow from the joint state; every other key arrives on its own."""


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


class Senses:
    """The history of observations, and the instruction in force."""

    def __init__(self, bundle: Bundle, kinematics: Kinematics) -> None:
        """Nothing is observed yet.

        Args:
            bundle: verified; its manifest says what the policy reads.
            kinematics: of its arm.
        """
        self._manifest, self._kinematics = bundle.manifest, kinematics
        self._tokenizer: Tokenizer | None = None
        for spec in self._manifest.inputs:
            if spec.name == INSTRUCTION:
                self._tokenizer = Tokenizer(bundle.contents[TOKENIZER], spec.shape[-1])
        self._instruction: NDArray[np.int64] | None = None
        known = (*FROM_JOINT_STATES, INSTRUCTION)
        self.extra_keys = tuple(s.name for s in self._manifest.inputs if s.name not in known)
        """What does not follow from the joint state."""
        # Enough history for To observations at any rate of joint states up to 1 kHz.
        self._history: deque[Observation] = deque(
            maxlen=int(1000 * self._manifest.n_obs_steps * self._manifest.dt) + 2
        )

    def clear(self) -> None:
        """Forget the observations; the instruction stays."""
        self._history.clear()

    def instruct(self, sentence: str) -> None:
        """Follow another instruction from now on.

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
        shape = (len(self._manifest.joint_names),)
        for name in ("position", "velocity"):
            value = getattr(observation, name)
            if value.shape != shape or not np.isfinite(value).all():
                raise InferenceError(f"joint {name} must be {shape[0]} finite numbers, got {value}")
        self._history.append(observation)

    @property
    def newest(self) -> Observation | None:
        """The newest observation."""
        return self._history[-1] if self._history else None

    @property
    def missing(self) -> tuple[str, ...]:
        """What has to arrive before the policy can be asked."""
        if not self._history:
            return ("joint_states",)
        arrived = self._history[-1].extra
        missing = [f"observation/{key}" for key in self.extra_keys if key not in arrived]
        if self._tokenizer is not None and self._instruction is None:
            missing.append(INSTRUCTION)
        return tuple(missing)

    def window(self) -> list[Observation]:
        """The newest To observations on the control grid, oldest first, padded by repetition.

        Raises:
            InferenceError: nothing was observed yet.
        """
        # A copy: the executor's thread goes on appending.
        history = list(self._history)
        if not history:
            raise InferenceError("no joint state has arrived yet")
        newest = history[-1]
        times = np.array([o.time for o in history])
        wanted = newest.time - self._manifest.dt * np.arange(self._manifest.n_obs_steps)[::-1]
        return [history[int(np.abs(times - t).argmin())] for t in wanted]

    def batch(
        self, window: Sequence[Observation], positions: Sequence[Vector]
    ) -> dict[str, NDArray[Any]]:
        """Observations as the policy saw them in training: every input (1, To, *shape).

        Args:
            window: To of them.
            positions: where the joints (A,) [rad] would be without corrections, for each.

        Raises:
            InferenceError: an observation is missing.
        """
        features = [self._features(*each) for each in zip(window, positions, strict=True)]
        return {key: np.stack([f[key] for f in features])[None] for key in features[0]}

    def _features(self, observation: Observation, position: Vector) -> dict[str, NDArray[Any]]:
        n = self._kinematics.n_joints
        derived = {
            "joint_position": lambda: position[:n],
            "joint_velocity": lambda: observation.velocity[:n],
            "gripper": lambda: position[n:],
            "tcp_pose": lambda: self._kinematics.tool_pose(position),
        }
        features: dict[str, NDArray[Any]] = {}
        for spec in self._manifest.inputs:
            if spec.name == INSTRUCTION and self._instruction is not None:
                features[spec.name] = self._instruction
            elif spec.name in derived:
                features[spec.name] = derived[spec.name]().astype(np.float32)
            elif spec.name in observation.extra:
                features[spec.name] = observation.extra[spec.name]
            else:
                raise InferenceError(f"no observation '{spec.name}' has arrived yet")
        return features
