"""An expert that plays a task's script: smooth tool references, inverse kinematics, words.

It can be led astray and correct itself, so that demonstrations show how, in the words a person
would say: see `Mistake`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridle.sim.exceptions import SimulationError
from bridle.sim.kinematics import InverseKinematics
from bridle.sim.script import CAREFUL, CORRECTIONS, OPEN, OPEN_THE_GRIPPER, Phase
from bridle.sim.tabletop import TabletopEnv

Vector = NDArray[np.float64]

ACCELERATION = 1.2
"""Bound of the tool reference [m/s^2]."""
METRES_PER_RADIAN = 0.15
"""How much a turn of the tool counts as a motion of it."""
GRIPPER_SPEED = 3.2
"""Speed of the gripper's reference [rad/s]."""
LOW = 0.06
"""Below this height every disturbance is as small as near contact [m]."""
MAX_PHASE_STEPS = 60
"""A phase that has not ended by then has failed."""
MISTAKE_SIZE = (0.03, 0.06)
"""How far a mistake leads the tool astray at least and at most [m]."""
MISTAKE_GRIPPER = 0.5
"""How far a mistake closes the gripper [rad]."""
MISTAKE_STEPS = 8
"""Control steps in which a mistake happens, before it is corrected."""
CORRECTION_SPEED = 0.15
"""Speed at which the tool is brought back [m/s]."""


@dataclass(frozen=True)
class ExpertAction:
    """What the expert does in one control step."""

    label: NDArray[np.float32]
    """(7,) joint targets to imitate [rad]."""
    executed: NDArray[np.float32]
    """(7,) joint targets to execute: the label's, disturbed [rad]."""
    phase: str
    """What it is doing, in words; during a correction, what a person would say."""
    intervention: bool
    """Whether it is correcting a mistake."""


class Mistake:
    """The tool goes astray for a moment, or the gripper closes too soon; then it is corrected.

    While it happens, what is executed moves away from the reference and the label moves back to it.
    Then both move back, and the words are those of a person who corrects the robot: the recovery
    segments that hierarchical policies are trained on (Yell At Your Robot, arXiv 2403.12910).
    """

    def __init__(
        self, phase: Phase, gripper: float, low: bool, random: np.random.Generator
    ) -> None:
        """Choose what goes wrong in a phase.

        Args:
            phase: in which it happens.
            gripper: how far the gripper is closed when it begins [rad].
            low: whether the tool is so near the table that it may not go down.
            random: source of the choice.
        """
        may_close = phase.gripper == OPEN and gripper < 0.1
        self.closes = bool(may_close and random.random() < 0.25)
        said = [(words, back) for words, back in CORRECTIONS.items() if not (low and back[2] > 0)]
        self.words, back = (
            (OPEN_THE_GRIPPER, (0, 0, 0)) if self.closes else said[random.integers(len(said))]
        )
        size = min(random.uniform(*MISTAKE_SIZE), phase.room)
        self._full = -size * np.array(back, np.float64)
        self._waits = int(random.integers(2, 8))
        self._happens = MISTAKE_STEPS
        self.offset = np.zeros(3)
        """Of the tool from its reference (3,) [m]."""
        self.over = False

    def advance(self, dt: float, gripper: float, wanted: float) -> tuple[Vector, bool]:
        """One control step.

        Args:
            dt: its duration [s].
            gripper: what was last commanded [rad].
            wanted: what should be commanded [rad].

        Returns:
            Where the label is from the reference (3,) [m], and whether it is being corrected.
        """
        if self._waits:
            self._waits -= 1
            return np.zeros(3), False
        size = float(np.linalg.norm(self.offset))
        back = self.offset * max(0.0, 1 - CORRECTION_SPEED * dt / max(size, 1e-9))
        if self._happens:
            self._happens -= 1
            self.offset = self._full * (1 - self._happens / MISTAKE_STEPS)
            return back, False
        self.offset = back
        self.over = not back.any() and (not self.closes or gripper <= wanted + 1e-6)
        return back, True

    @property
    def happening(self) -> bool:
        """Whether it happens in the next control step, uncorrected."""
        return not self._waits and self._happens > 0


class Expert:
    """Plays the script of a task from the present state of its environment.

    With `noise` the executed tool target is disturbed by an Ornstein-Uhlenbeck process, and the
    label is not: the demonstrations show how to come back (DART, arXiv 1703.09327). With `recovery`
    it makes mistakes and corrects them.
    """

    def __init__(
        self,
        env: TabletopEnv,
        *,
        noise: float = 0.0,
        recovery: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        """Plan for a freshly reset environment.

        Args:
            env: the environment; only observed, never stepped.
            noise: standard deviation of the disturbance of the tool target [m].
            recovery: probability of a mistake in each phase that has room for one.
            rng: source of choices, disturbances and mistakes.

        Raises:
            SimulationError: the noise or the probability is out of range.
        """
        if not (np.isfinite(noise) and noise >= 0):
            raise SimulationError(f"an expert's noise must be at least 0 m, got {noise}")
        if not 0 <= recovery <= 1:
            raise SimulationError(f"an expert's recovery must lie in 0..1, got {recovery}")
        self._env, self._noise, self._recovery = env, noise, recovery
        self._random = np.random.default_rng(0) if rng is None else rng
        self._phases = iter(env.script(self._random))
        position, _ = env.joint_state()
        self._ik = InverseKinematics(position[:6])
        self._command = position[:6].copy()
        self._gripper = 0.0
        env.observe()
        # Reference and its velocity: x, y, z [m] and yaw as metres.
        self._reference = np.append(env.tool_position(), 0.0)
        self._velocity = np.zeros(4)
        self._disturbance = np.zeros(3)
        self._mistake: Mistake | None = None
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
        way = np.linalg.norm(self._target[:3] - self._reference[:3])
        roomy = self._phase.disturbance == 1 and self._phase.room > 0 and way > MISTAKE_SIZE[1]
        if self._recovery and roomy and self._random.random() < self._recovery:
            low = min(self._target[2], self._reference[2]) < LOW + self._phase.room
            self._mistake = Mistake(self._phase, self._gripper, bool(low), self._random)

    def _phase_ended(self) -> bool:
        if self._steps >= MAX_PHASE_STEPS:
            return True
        if self._steps < self._phase.min_steps or self._mistake is not None:
            return False
        reached = np.linalg.norm(self._reference - self._target) < self._phase.tolerance
        tool = np.linalg.norm(self._env.tool_position() - self._target[:3])
        disturbance = self._share() * float(np.linalg.norm(self._disturbance))
        allowed = self._phase.tolerance + 2 * disturbance
        return bool(reached and tool < allowed)

    def _advance_reference(self) -> None:
        """One control step to the target: bounded speed and acceleration, no overshoot."""
        dt = self._env.control_dt
        error = self._target - self._reference
        distance = float(np.linalg.norm(error))
        # Largest speed from which it stops in time when it slows down in whole control steps.
        a = ACCELERATION
        speed = min(
            self._phase.speed, -0.5 * a * dt + np.sqrt((0.5 * a * dt) ** 2 + 2 * a * distance)
        )
        wanted = error / max(distance, 1e-9) * min(speed, distance / dt)
        change = wanted - self._velocity
        size = float(np.linalg.norm(change))
        self._velocity += change * min(1.0, a * dt / max(size, 1e-9))
        self._reference = self._reference + dt * self._velocity

    def _share(self) -> float:
        low = self._reference[2] < LOW
        return min(self._phase.disturbance, CAREFUL) if low else self._phase.disturbance

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
        dt, wanted = self._env.control_dt, self._phase.gripper
        back, corrected, words = np.zeros(3), False, self._phase.words
        mistake = self._mistake
        closes = mistake is not None and mistake.closes and mistake.happening
        if mistake is not None:
            back, corrected = mistake.advance(dt, self._gripper, wanted)
            words = mistake.words if corrected else words
        reach = GRIPPER_SPEED * dt
        label_gripper = self._gripper + float(np.clip(wanted - self._gripper, -reach, reach))
        self._gripper = label_gripper
        if closes:
            self._gripper = min(label_gripper + 2 * reach, MISTAKE_GRIPPER)
        position, yaw = self._reference[:3], self._reference[3] / METRES_PER_RADIAN
        label = self._ik.solve(position + back, yaw, self._command)
        self._command = label
        astray = np.zeros(3) if mistake is None else mistake.offset - back
        if self._noise:
            self._disturb()
            push = self._share() * self._disturbance
            if self._share() < 1:
                push[2] = abs(push[2])  # the tool is not pressed into what it is about to touch
            astray = astray + push
        if astray.any():
            self._command = self._ik.solve(position + back + astray, yaw, label)
        if mistake is not None and mistake.over:
            self._mistake = None
        return ExpertAction(
            label=np.append(label, label_gripper).astype(np.float32),
            executed=np.append(self._command, self._gripper).astype(np.float32),
            phase=words,
            intervention=corrected,
        )
