"""robotics: Gymnasium-Robotics by its ids, `robotics:PointMaze_UMaze-v3`.

Mazes and Adroit hands run on the MuJoCo that Bridle is tested with; Fetch, the Shadow hand and the
Franka kitchen need an older one.
"""

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from bridle.sim.adapters.base import Advance, choose
from bridle.sim.adapters.gym import GymnasiumEnv
from bridle.sim.adapters.versions import require_mujoco_below
from bridle.sim.exceptions import SimulationError

TOO_NEW = (3, 12)
"""The first MuJoCo with which those of `OLD` fail: they compare kinds of joints by `in`."""
OLD = ("Fetch", "Hand", "FrankaKitchen")
INSTALL = "pip install gymnasium-robotics"
INSTALL_OLD = (
    "in an environment of its own, pip install 'bridle[sim]' gymnasium-robotics 'mujoco<3.12'; "
    "mazes and Adroit hands run on any"
)


def make(task: str, **options: Any) -> "RoboticsEnv":
    """An environment of Gymnasium-Robotics.

    Args:
        task: its id.
        options: those of `bridle.sim.adapters.gym.GymnasiumEnv`, and what the environment takes.

    Raises:
        SimulationError: Gymnasium-Robotics is not installed or the environment does not fit the
            installed MuJoCo, there is no such id, or an option is wrong.
    """
    name = f"robotics:{task}"
    try:
        suite = import_module("gymnasium_robotics")
    except ModuleNotFoundError as error:
        raise SimulationError(f"{name} needs {error.name}: {INSTALL}") from error
    gymnasium.register_envs(suite)
    known = [
        id_
        for id_, spec in gymnasium.registry.items()
        if str(spec.entry_point).startswith("gymnasium_robotics")
    ]
    choose("robotics", task, known)
    if task.startswith(OLD):
        require_mujoco_below(TOO_NEW, name, INSTALL_OLD)
    return RoboticsEnv(name, task, **options)


class RoboticsEnv(GymnasiumEnv):
    """A Gymnasium-Robotics environment in our terms.

    Observations are `state`, and where the suite has goals `achieved_goal` and `desired_goal`.
    Success is the suite's own, and ends an episode; of the kitchen, that no task is left.
    """

    def _advance(self, action: NDArray[np.float32]) -> Advance:
        step = super()._advance(action)
        return replace(step, terminated=step.terminated or step.success)

    def _succeeded(self, info: Mapping[str, Any], terminated: bool, truncated: bool) -> bool:
        if "tasks_to_complete" in info and self._asks_suite:
            return not info["tasks_to_complete"]
        return super()._succeeded(info, terminated, truncated)
