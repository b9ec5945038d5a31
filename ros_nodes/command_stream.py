"""What a driver makes of a stream of position commands: a motion that never leaves the limits.

Without ROS and without a clock: commands go in as they arrive, one setpoint per period comes out.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.execution.shaping import Shaper
from bridle.deploy.robot import JointLimits, RobotDescription

Vector = NDArray[np.float64]

MAX_COMMAND_STEP = 0.05
"""A commanded arm joint this far [rad] from its last command is refused, as a driver would: it
comes from a controller that does not know where the robot is."""
MAX_START_STEP = 0.01
"""The same for the first command of a stream [rad]: it has to begin where the robot is."""
SPEED_SHARE = 0.999
"""Share of the speed limits that is used: a servo at speed overshoots it by a ten-thousandth."""
GRIPPER_SPEED = 1.8
"""Largest speed of the gripper, however commanded [rad/s]: a 2F-85 closes in half a second."""
BUFFER = 6
"""Commands kept in hand, so that one that is a little late does not stop the motion."""
BACKLOG, CAPACITY = 12, 40
"""Commands in hand beyond which one is left out where that stays within the limits; and beyond
which all are dropped: they are too old to be executed."""


class CommandStream:
    """Executes one command per period, and stays within the limits when they do not come as such.

    While commands come in time, within the limits, each is the setpoint of one period, unchanged.
    When none is left the arm comes to rest at the last one, within the limits, and moves on when
    the buffer is filled again.

    A command that leaps is refused, and so are those that follow it, until the stream comes back to
    the last command executed: bringing it there is up to who commands. The same happens when what
    has piled up is dropped.
    """

    def __init__(self, robot: RobotDescription, period: float) -> None:
        """Prepare for a robot whose last joint is its gripper.

        Args:
            robot: for the limits of its joints.
            period: time for which a command is executed [s].
        """
        limits = robot.limits
        speed = SPEED_SHARE * limits.velocity
        rows = (limits.position_min, limits.position_max, speed, limits.acceleration, limits.jerk)
        self._limits = JointLimits(*(row[:-1] for row in rows))
        self._shaper = Shaper(self._limits, period, 0.0)
        self._dt = period
        self.restart(np.zeros(len(limits.velocity)))

    def restart(self, position: Vector) -> None:
        """Rest at a position (n,) [rad] until a stream begins there."""
        self.setpoint = np.array(position, np.float64)
        self._velocity = np.zeros(len(self.setpoint) - 1)
        self._target = self.setpoint
        self._queue: deque[Vector] = deque()
        self._flowing = False
        self.started = False

    def __len__(self) -> int:
        """Commands in hand."""
        return len(self._queue)

    @property
    def flowing(self) -> bool:
        """Whether commands are being executed; otherwise it brakes or rests."""
        return self._flowing

    def take(self, command: Vector) -> str | None:
        """Take the next command (n,) [rad]; why it is refused, if it is."""
        command = np.array(command, np.float64)
        if command.shape != self.setpoint.shape or not np.isfinite(command).all():
            return f"a command must be {len(self.setpoint)} finite numbers, got {command}"
        last = self._queue[-1] if self._queue else self._target
        leap = float(np.abs(command - last)[:-1].max())
        allowed = MAX_COMMAND_STEP if self.started else MAX_START_STEP
        if leap > allowed:
            return f"a command {leap:.2f} rad from the last one, allowed {allowed}"
        self.started = True
        self._queue.append(command)
        self._flowing = self._flowing or len(self._queue) > BUFFER
        return None

    def drop_stale(self) -> bool:
        """Drop what has piled up, if it is too much to be executed still; whether it was."""
        stale = len(self._queue) > CAPACITY
        if stale:
            self._queue.clear()
        return stale

    def step(self) -> Vector:
        """The setpoint of the next period (n,) [rad]."""
        self._flowing = self._flowing and bool(self._queue)
        before = self._target
        if self._flowing:
            self._target = self._queue.popleft()
            if len(self._queue) > BACKLOG and self._within_reach(self._queue[0]):
                self._target = self._queue.popleft()
        arm, gripper = self.setpoint[:-1], self.setpoint[-1]
        self._velocity, _ = self._shaper.velocity(
            arm, self._velocity, before[:-1], (self._target - before)[:-1] / self._dt
        )
        # A gripper has a controller of its own, with a speed of its own.
        reach = GRIPPER_SPEED * self._dt
        gripper = np.clip(self._target[-1], gripper - reach, gripper + reach)
        self.setpoint = np.append(arm + self._velocity * self._dt, gripper)
        return self.setpoint

    def _within_reach(self, command: Vector) -> bool:
        velocity = (command - self.setpoint)[:-1] / self._dt
        change = np.abs(velocity - self._velocity)
        return bool(
            (np.abs(velocity) <= self._limits.velocity).all()
            and (change <= self._limits.acceleration * self._dt).all()
        )
