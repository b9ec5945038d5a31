"""The simulated UR5e on its table, alone, as a driver that carries out commands moves it."""

from dataclasses import dataclass
from functools import cache

import mujoco
import numpy as np
from numpy.typing import NDArray

from bridle.deploy.robot import RobotDescription, RobotError
from bridle.sim import JOINT_NAMES
from bridle.sim.robots import ur5e
from bridle.sim.scene import add_table

Vector = NDArray[np.float64]

GRIPS = 9
"""Openings of the gripper that cases begin with."""
_SETTLE = 400


@dataclass(frozen=True)
class Contact:
    """Of the robot with itself or with what stands around it."""

    step: int
    """Physics step."""
    what: str


@cache
def _scene() -> mujoco.MjModel:
    spec = ur5e.build()
    add_table(spec, shadows=False)
    # To the table the fingers come as near as they must: the guard's model leaves it out as well.
    for body in spec.bodies:
        if body.name.startswith("gripper/") and body.name.endswith(("_pad", "_follower")):
            spec.add_exclude(bodyname1=body.name, bodyname2="world")
    # With explicit steps, which suit tasks that hold something, the servos' damping swings up
    # where a stretched arm has little inertia.
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    return spec.compile()


class Rig:
    """One simulated robot that is put where a case begins, and remembers what it did."""

    def __init__(self, robot: RobotDescription) -> None:
        """Prepare for a robot file with the joints of the simulator.

        Raises:
            RobotError: it has others, or its period is no multiple of a physics step.
        """
        if robot.joint_names != JOINT_NAMES:
            raise RobotError(
                f"the simulated robot has the joints {', '.join(JOINT_NAMES)}; "
                f"{robot.name} has {', '.join(robot.joint_names)}"
            )
        self._model = _scene()
        self._data = mujoco.MjData(self._model)
        self._index = ur5e.RobotIndex(self._model)
        self.dt = float(self._model.opt.timestep)
        self._steps = round(1 / robot.rates.command / self.dt)
        if abs(self._steps * self.dt * robot.rates.command - 1) > 1e-9:
            raise RobotError(
                f"commands at {robot.rates.command:g} Hz do not fit physics steps of {self.dt:g} s"
            )
        bodies = [self._model.body(i).name for i in self._model.geom_bodyid]
        self._is_gripper = np.array([name.startswith("gripper/") for name in bodies])
        self._grips = [self._gripped(share) for share in np.linspace(0, 1, GRIPS)]
        self._clear()

    def _gripped(self, share: float) -> Vector:
        """The whole state's positions, with the gripper so far closed and at rest."""
        mujoco.mj_resetData(self._model, self._data)
        q = np.array([*ur5e.HOME, share * ur5e.GRIPPER_CLOSED])
        self._data.qpos[self._index.qpos[:6]] = q[:6]
        self._data.ctrl[self._index.ctrl] = q * self._index.control_per_radian
        mujoco.mj_step(self._model, self._data, _SETTLE)
        found: Vector = self._data.qpos.copy()
        return found

    def _clear(self) -> None:
        self._q: list[Vector] = []
        self._v: list[Vector] = []
        self._tool: list[Vector] = []
        self.contacts: list[Contact] = []
        self.stands = False
        """Whether it stays where it was told to be last, whatever is commanded."""

    def put(self, arm: Vector, grip: int) -> Vector:
        """At rest with the arm (6,) [rad] and one of `GRIPS` openings.

        Returns:
            Joint positions (7,) [rad].
        """
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:] = self._grips[grip]
        self._data.qpos[self._index.qpos[:6]] = arm
        q: Vector = self._data.qpos[self._index.qpos].copy()
        self._data.ctrl[self._index.ctrl] = q * self._index.control_per_radian
        mujoco.mj_forward(self._model, self._data)
        self._clear()
        return q

    @property
    def position(self) -> Vector:
        """Joint positions (7,) [rad]."""
        position: Vector = self._data.qpos[self._index.qpos].copy()
        return position

    def execute(self, before: Vector, after: Vector) -> None:
        """One control period: the setpoint moves evenly from one command (7,) to the next [rad]."""
        model, data, index = self._model, self._data, self._index
        for k in range(1, self._steps + 1):
            if not self.stands:
                setpoint = before + k / self._steps * (after - before)
                data.ctrl[index.ctrl] = setpoint * index.control_per_radian
            mujoco.mj_step(model, data)
            if data.ncon:
                self._look_at_contacts()
            self._q.append(data.qpos[index.qpos])
            self._v.append(data.qvel[index.qvel])
            # As of the posture before the step.
            self._tool.append(data.site_xpos[index.tcp].copy())

    def _look_at_contacts(self) -> None:
        geoms = self._data.contact.geom
        for a, b in geoms[~self._is_gripper[geoms].all(axis=1)].tolist():
            bodies = [self._model.body(self._model.geom_bodyid[g]).name for g in (a, b)]
            self.contacts.append(Contact(len(self._q), f"{bodies[0]} and {bodies[1]}"))

    @property
    def positions(self) -> Vector:
        """After every physics step (T, 7) [rad]."""
        return np.array(self._q).reshape(-1, len(JOINT_NAMES))

    @property
    def velocities(self) -> Vector:
        """After every physics step (T, 7) [rad/s]."""
        return np.array(self._v).reshape(-1, len(JOINT_NAMES))

    @property
    def tools(self) -> Vector:
        """Position of the tool before every physics step (T, 3) [m]."""
        return np.array(self._tool).reshape(-1, 3)
