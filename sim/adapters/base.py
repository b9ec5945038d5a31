"""How an environment of another suite becomes one of ours."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from bridle.sim.adapters.interface import Demonstrator, Observation, StepResult
from bridle.sim.adapters.pictures import SuitePictures, View
from bridle.sim.adapters.randomness import OwnRandomness
from bridle.sim.exceptions import SimulationError

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Meaning:
    """What a key of an observation, or the action, is."""

    unit: str
    text: str


TOOL_POSE = Meaning("m, 1", "tool: position, first two columns of the rotation matrix")


class AdaptedEnv(gym.Env[Any, Any], ABC):
    """An environment of another suite in our terms; see `Environment`.

    Subclasses say how the suite is begun and stepped, and what is observed. Everything the suite
    draws from numpy's global generator comes from a stream of the episode's seed.
    """

    action_space: spaces.Box
    observation_space: spaces.Dict
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    modes: ClassVar[tuple[str, ...]] = ()
    robot: str = "simulated"
    phases: tuple[str, ...] = ()
    goals: tuple[str, ...] = ("",)
    success_rule: str = "the suite's own"
    """When `info["success"]` is true, in words."""

    def __init__(
        self,
        name: str,
        *,
        keys: Mapping[str, tuple[int, Meaning]],
        action_space: spaces.Box,
        action: Meaning,
        control_dt: float,
        max_steps: int,
        view: View,
    ) -> None:
        """Describe the environment.

        Args:
            name: what a person calls it, with the suite's prefix.
            keys: observed keys (float32) with their size and meaning.
            action_space: of our actions.
            action: their meaning.
            control_dt: time an action is held [s].
            max_steps: control steps after which an episode is cut off.
            view: cameras to observe, and sizes of pictures.

        Raises:
            SimulationError: an episode has no step.
        """
        if max_steps < 1:
            raise SimulationError(f"{name}: max_steps must be at least 1, got {max_steps}")
        self.name, self.control_dt, self.max_steps = name, control_dt, max_steps
        self.render_mode = "rgb_array"
        self.metadata = {**type(self).metadata, "render_fps": max(1, round(1 / control_dt))}
        self.action_space = action_space
        self._pictures = SuitePictures(name, view)
        self.meanings = {key: meaning for key, (_, meaning) in keys.items()} | {"action": action}
        """Unit and meaning of every key and of the action."""
        self.observation_space = spaces.Dict(
            {key: spaces.Box(-np.inf, np.inf, (n,), np.float32) for key, (n, _) in keys.items()}
            | {
                f"camera_{camera}": spaces.Box(
                    0, 255, (view.image_height, view.image_width, 3), np.uint8
                )
                for camera in view.cameras
            }
        )
        self._random = OwnRandomness()
        self._steps = 0

    # -- what a suite defines ----------------------------------------------------------------------

    @abstractmethod
    def _begin(self, seed: int | None, options: Mapping[str, Any] | None) -> dict[str, Vector]:
        """Reset the suite's environment; what is observed then."""

    @abstractmethod
    def _advance(self, action: NDArray[np.float32]) -> "Advance":
        """Step the suite's environment."""

    def _scene(self) -> tuple[Any, Any] | None:
        """MuJoCo's model and data, where there are any."""
        return None

    def _draw(self) -> NDArray[np.uint8]:
        """A picture where there is no MuJoCo."""
        raise NotImplementedError

    def milestones(self) -> dict[str, bool]:
        """What is passed on the way to success, in order, and whether it holds now."""
        return {}

    @property
    def instruction(self) -> str:
        """What to do in this episode, one of `goals`."""
        return self.goals[0]

    def expert(self, *, noise: float = 0.0, rng: np.random.Generator | None = None) -> Demonstrator:
        """An expert for this episode, freshly begun.

        Args:
            noise: standard deviation of the disturbance of the tool [m] that is executed, and not
                in the label.
            rng: source of choices and disturbances.

        Raises:
            SimulationError: there is none, or the noise is out of range.
        """
        raise SimulationError(f"{self.name} has no expert")

    # -- Gymnasium ---------------------------------------------------------------------------------

    def sentences(self) -> tuple[str, ...]:
        """Every sentence that a demonstration may be labelled with."""
        return tuple(dict.fromkeys((*self.phases, *self.goals)))

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; the same seed gives the same episode."""
        super().reset(seed=seed)
        if seed is not None:
            self._random.seed(seed)
        self._steps = 0
        with self._random:
            seen = self._begin(seed, options)
        return self._observation(seen), self._info(success=False, cost=0.0)

    def step(self, action: NDArray[np.float32]) -> StepResult:
        """Hold an action for one control step; what is beyond its bounds is clipped.

        Raises:
            SimulationError: the action has another shape, or is not finite.
        """
        box = self.action_space
        action = np.asarray(action, np.float32)
        if action.shape != box.shape or not np.isfinite(action).all():
            raise SimulationError(
                f"{self.name}: an action must be {box.low.size} finite numbers, got {action}"
            )
        self._steps += 1
        with self._random:
            step = self._advance(np.clip(action, box.low, box.high))
        return (
            self._observation(step.seen),
            step.reward,
            step.terminated,
            step.truncated or self._steps >= self.max_steps,
            self._info(success=step.success, cost=step.cost),
        )

    def _observation(self, seen: Mapping[str, Vector]) -> Observation:
        observation: Observation = {
            key: np.asarray(value).astype(np.float32) for key, value in seen.items()
        }
        if self._pictures.view.cameras:
            observation |= self._pictures.observe(self._scene())
        return observation

    def _info(self, *, success: bool, cost: float) -> dict[str, Any]:
        return {
            "success": success,
            "cost": cost,
            "instruction": self.instruction,
            "mode": "",
        }

    def render(self) -> NDArray[np.uint8]:
        """A picture (height, width, 3) for a person.

        Raises:
            RenderingError: nothing on this machine can draw.
        """
        scene = self._scene()
        return self._draw() if scene is None else self._pictures.render(*scene)

    def close(self) -> None:
        """Free what draws."""
        self._pictures.close()


@dataclass(frozen=True)
class Advance:
    """What a suite's step gave."""

    seen: dict[str, Vector]
    reward: float
    terminated: bool
    truncated: bool
    success: bool
    cost: float = 0.0


class Disturbance:
    """A wandering offset of the tool: an Ornstein-Uhlenbeck process, as `bridle.sim.Expert` has it.

    Demonstrations in which it is executed and not labelled show how to come back (DART, arXiv
    1703.09327).
    """

    MEMORY = 0.33
    """Time in which it falls by e [s]."""

    def __init__(self, noise: float, control_dt: float, random: np.random.Generator) -> None:
        """An offset of standard deviation `noise` [m].

        Raises:
            SimulationError: it is negative or not finite.
        """
        if not (np.isfinite(noise) and noise >= 0):
            raise SimulationError(f"an expert's noise must be at least 0 m, got {noise}")
        self._keep = np.exp(-control_dt / self.MEMORY)
        self._scale = noise * np.sqrt(1 - self._keep**2)
        self._random = random
        self.offset = np.zeros(3)
        """Of the tool (3,) [m]."""

    def advance(self) -> Vector:
        """One control step; the new offset."""
        if self._scale:
            self.offset = self._keep * self.offset + self._scale * self._random.standard_normal(3)
        return self.offset


def pose(position: Vector, matrix: Vector) -> Vector:
    """`tcp_pose` (9,) of a position (3,) [m] and a rotation matrix (3, 3) or (9,)."""
    rotation = np.reshape(matrix, (3, 3))
    return np.concatenate([position, rotation[:, 0], rotation[:, 1]])


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def choose(name: str, task: str, known: Sequence[str]) -> None:
    """Refuse a task that a suite does not have.

    Raises:
        SimulationError: with the nearest name there is.
    """
    if task not in known:
        near = get_close_matches(task, known, 1)
        more = ", ..." if len(known) > 10 else ""
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known[:10])}{more}"
        raise SimulationError(f"{name} has no task {task!r}; {hint}")
