"""Inverse kinematics of the arm, for experts and for placing the robot."""

from functools import cache

import mink
import mujoco
import numpy as np
from numpy.typing import NDArray

from bridle.sim.robots import ur5e

Vector = NDArray[np.float64]


@cache
def _arm_model() -> mujoco.MjModel:
    # Without the gripper's joints the solver has nothing to move but the arm.
    return mujoco.MjModel.from_xml_string(ur5e.kinematics_xml())


class InverseKinematics:
    """Joint positions for tool poses, each found from the last one."""

    def __init__(self, start: Vector) -> None:
        """Start from joint positions (6,) [rad]."""
        self._configuration = mink.Configuration(_arm_model(), q=start)
        self._task = mink.FrameTask(ur5e.TCP_SITE, "site", position_cost=1, orientation_cost=0.3)

    def solve(self, position: Vector, yaw: float, start: Vector | None = None) -> Vector:
        """Joint positions (6,) [rad] of the tool at `position` [m], pointing down, turned by yaw.

        Two Newton steps from the last solution, or from `start`: references move by millimetres.
        """
        c, s = np.cos(yaw), np.sin(yaw)
        down = np.array([[c, s, 0], [s, -c, 0], [0, 0, -1.0]])
        self._task.set_target(
            mink.SE3.from_rotation_and_translation(mink.SO3.from_matrix(down), position)
        )
        if start is not None:
            self._configuration.update(start)
        for _ in range(2):
            velocity = mink.solve_ik(
                self._configuration, [self._task], 1.0, "daqp", 1e-6, limits=[]
            )
            self._configuration.integrate_inplace(velocity, 1.0)
        solution: Vector = self._configuration.q.copy()
        return solution
