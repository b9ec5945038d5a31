"""Robot models, tasks, experts and environments: MuJoCo and Gymnasium, no PyTorch."""

import sys
from difflib import get_close_matches
from typing import Any

import gymnasium
import numpy as np

from bridle.sim.exceptions import RenderingError, SimulationError
from bridle.sim.expert import Expert, ExpertAction
from bridle.sim.robots.ur5e import JOINT_NAMES, kinematics_xml
from bridle.sim.tabletop import TabletopEnv
from bridle.sim.tasks import TASKS

__all__ = [
    "JOINT_NAMES",
    "TASKS",
    "Expert",
    "ExpertAction",
    "RenderingError",
    "SimulationError",
    "TabletopEnv",
    "describe",
    "kinematics_xml",
    "make",
    "make_expert",
]

for _name, _task in TASKS.items():
    gymnasium.register(
        id=f"bridle/{_name}-v0", entry_point=f"{_task.__module__}:{_task.__qualname__}"
    )


def make(task: str, **options: Any) -> Any:
    """An environment of a task.

    Args:
        task: one of `TASKS`, or `<suite>:<name>` for one of another suite (`sim.adapters`).
        options: `TabletopOptions`, or what the suite takes.

    Raises:
        SimulationError: there is no such task, or it takes no such option.
    """
    if ":" in task:
        from bridle.sim import adapters

        return adapters.make(task, **options)
    if task not in TASKS:
        near = get_close_matches(task, TASKS, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise SimulationError(f"there is no task {task!r}{hint}; tasks: {', '.join(sorted(TASKS))}")
    try:
        return TASKS[task](**options)
    except TypeError as error:
        raise SimulationError(f"task {task}: {error}") from error


def describe(task: str) -> str:
    """One line about a task of `TASKS`: the first of its module."""
    lines = (sys.modules[TASKS[task].__module__].__doc__ or task).splitlines()
    return lines[0]


def make_expert(
    env: Any,
    *,
    noise: float = 0.0,
    recovery: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Any:
    """The expert of an environment, freshly reset: `act()` gives an `ExpertAction`.

    Raises:
        SimulationError: it has none, or a number is out of range.
    """
    if isinstance(env, TabletopEnv):
        return Expert(env, noise=noise, recovery=recovery, rng=rng)
    return env.expert(noise=noise, rng=rng)
