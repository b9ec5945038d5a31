"""Robot models, tasks, experts and environments: MuJoCo and Gymnasium, no PyTorch."""

from difflib import get_close_matches
from typing import Any

import gymnasium

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
    "kinematics_xml",
    "make",
]

for _name, _task in TASKS.items():
    gymnasium.register(
        id=f"bridle/{_name}-v0", entry_point=f"{_task.__module__}:{_task.__qualname__}"
    )


def make(task: str, **options: Any) -> TabletopEnv:
    """An environment of a task.

    Raises:
        SimulationError: there is no such task, or it takes no such option.
    """
    if task not in TASKS:
        near = get_close_matches(task, TASKS, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise SimulationError(f"there is no task {task!r}{hint}; tasks: {', '.join(sorted(TASKS))}")
    try:
        return TASKS[task](**options)
    except TypeError as error:
        raise SimulationError(f"task {task}: {error}") from error
