"""An expert that plays a task's script: smooth tool references, inverse kinematics, words."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridle.sim.exceptions import SimulationError
from bridle.sim.kinematics import InverseKinematics
from bridle.sim.tabletop import TabletopEnv

Vector = NDArray[np.float64]

SPEED, ACCELERATION = 0.30, 1.2
"""Bounds of the tool reference [m/s, m/s^2]."""
METRES_PER_RADIAN = 0.15
"""How much a turn of the tool counts as a motion of it."""
GRIPPER_SPEED = 3.2
"""Speed of the gripper's reference [rad/s]."""
PRECISE_SHARE = 0.25
"""Share of the disturbance in precise phases."""
MAX_PHASE_STEPS = 60
"""A phase that has not ended by then has failed."""


@dataclass(frozen=True)
class ExpertAction:
    """What the expert does in one control step."""

    label: NDArray[np.float32]
    """(7,) joint targets to imitate [rad]."""
    executed: NDArray[np.float32]
    """(7,) joint targets to execute: the label's, disturbed [rad]."""
    phase: str
    """What it is doing, in words."""


class Expert:
    """Plays the script of a task from the present state of its environment.

    With `noise` the executed tool target is disturbed by an Ornstein-Uhlenbeck process, and the
    label is not: the demonstrations show how to come back (DART, arXiv 1703.09327).
    """

    def __init__(
        self, env: TabletopEnv, *, noise: float = 0.0, rng: np.random.Generator | None = None
    ) -> None:
        """Plan for a freshly reset environment.

        Args:
            env: the environment; only observed, never stepped.
            noise: standard deviation of the disturbance of the tool target [m].
            rng: source of the disturbance.

        Raises:
            SimulationError: the noise is negative or not finite.
        """
        if not (np.isfinite(noise) and noise >= 0):
            raise SimulationError(f"an expert's noise must be at least 0 m, got {noise}")
        self._env, self._noise = env, noise
        self._random = np.random.default_rng(0) if rng is None else rng
        self._phases = iter(env.script())
        position, _ = env.joint_state()
        self._ik = InverseKinematics(position[:6])
        self._command = position[:6].copy()
        self._gripper = 0.0
        env.observe()
        # Reference and its velocity: x, y, z [m] and yaw as metres.
        self._reference = np.append(env.tool_position(), 0.0)
        self._velocity = np.zeros(4)
        self._disturbance = np.zeros(3)
        self._phase = next(self._phases)
        self._steps = 0
        self._target = self._reference
        self.done = False
        self._begin()

    def _begin(self) -> None:
        self._steps = 0
        if self._phase.target is not None:
            target = self._phase.target()
            self._target = np.append(target.position, METRES_PER_RADIAN * target.yaw)

    def _phase_ended(self) -> bool:
        if self._steps < self._phase.min_steps:
            return False
        reached = np.linalg.norm(self._reference - self._target) < self._phase.tolerance
        tool = np.linalg.norm(self._env.tool_position() - self._target[:3])
        allowed = self._phase.tolerance + 2 * float(np.linalg.norm(self._disturbance))
        return bool(reached and tool < allowed) or self._steps >= MAX_PHASE_STEPS

    def _advance_reference(self) -> None:
        """One control step to the target: bounded speed and acceleration, no overshoot."""
        dt = self._env.control_dt
        error = self._target - self._reference
        distance = float(np.linalg.norm(error))
        # Largest speed from which it stops in time when it slows down in whole control steps.
        a = ACCELERATION
        speed = min(SPEED, -0.5 * a * dt + np.sqrt((0.5 * a * dt) ** 2 + 2 * a * distance))
        wanted = error / max(distance, 1e-9) * min(speed, distance / dt)
        change = wanted - self._velocity
        size = float(np.linalg.norm(change))
        self._velocity += change * min(1.0, a * dt / max(size, 1e-9))
        self._reference = self._reference + dt * self._velocity

    def _disturb(self) -> None:
        # Stationary standard deviation `noise`, memory of a third of a second.
        keep = np.exp(-self._env.control_dt / 0.33)
        scale = self._noise * np.sqrt(1 - keep**2)
        self._disturbance = keep * self._disturbance + scale * self._random.standard_normal(3)

    def act(self) -> ExpertAction:
        """What to do in this control step."""
        while self._phase_ended():
            following = next(self._phases, None)
            if following is None:
                self.done = True
                break
            self._phase = following
            self._begin()
        self._steps += 1
        self._advance_reference()
        step = GRIPPER_SPEED * self._env.control_dt
        self._gripper += float(np.clip(self._phase.gripper - self._gripper, -step, step))
        position, yaw = self._reference[:3], self._reference[3] / METRES_PER_RADIAN
        label = self._ik.solve(position, yaw, self._command)
        self._command = label
        if self._noise:
            self._disturb()
            share = PRECISE_SHARE if self._phase.precise else 1.0
            self._command = self._ik.solve(position + share * self._disturbance, yaw, label)
        return ExpertAction(
            label=np.append(label, self._gripper).astype(np.float32),
            executed=np.append(self._command, self._gripper).astype(np.float32),
            phase=self._phase.words,
        )
