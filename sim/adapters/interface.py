"""What an environment and an expert are to the rest of Bridle, whoever made them."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bridle.sim.expert import ExpertAction

Observation = dict[str, NDArray[Any]]
StepResult = tuple[Observation, float, bool, bool, dict[str, Any]]


@runtime_checkable
class Environment(Protocol):
    """What training, evaluation and collection rely on: `TabletopEnv` and `AdaptedEnv` are such.

    A Gymnasium environment with a Dict of named, typed keys as observation and a Box (n,) float32
    as action, whose `info` holds `success` (bool), `cost` (float), `instruction` and `mode` (str),
    and whose episodes depend on their seed alone.
    """

    observation_space: Any
    action_space: Any

    @property
    def robot(self) -> str:
        """Name of the robot."""
        ...

    @property
    def phases(self) -> tuple[str, ...]:
        """What an expert may do, in words; empty where there is none."""
        ...

    @property
    def goals(self) -> tuple[str, ...]:
        """The sentences of which `info["instruction"]` is one."""
        ...

    @property
    def modes(self) -> tuple[str, ...]:
        """The ways to do it, of which `info["mode"]` is one, or ""."""
        ...

    @property
    def max_steps(self) -> int:
        """Control steps after which an episode is cut off."""
        ...

    @property
    def control_dt(self) -> float:
        """Time an action is held [s]."""
        ...

    def milestones(self) -> dict[str, bool]:
        """What is passed on the way to success, in order, and whether it holds now."""
        ...

    def sentences(self) -> tuple[str, ...]:
        """Every sentence that a demonstration may be labelled with."""
        ...

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode."""
        ...

    def step(self, action: NDArray[np.float32]) -> StepResult:
        """Hold an action for one control step."""
        ...

    def render(self) -> Any:
        """A picture (height, width, 3)."""
        ...

    def close(self) -> None:
        """Free what draws."""
        ...


class Demonstrator(Protocol):
    """An expert, with the surface of `bridle.sim.Expert`."""

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do."""
        ...

    def act(self) -> ExpertAction:
        """What to do in this control step."""
        ...
