"""Episodes that go on as none of the demonstrations did: what a policy has to notice.

Each wraps an environment that was reset, and is used in its place for one episode.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import mujoco
import numpy as np
from numpy.typing import NDArray

from bridle.sim.objects import HALF
from bridle.sim.tabletop import TabletopEnv

Vector = NDArray[np.float64]


@contextmanager
def changed(array: Vector) -> Iterator[Vector]:
    """An array of a model that is as it was again when this ends: models outlive episodes."""
    before = array.copy()
    try:
        yield array
    finally:
        array[:] = before


class Shift:
    """Nothing is changed."""

    onset: ClassVar[int] = 0
    """Control step from which on an episode differs."""

    def __init__(self, env: TabletopEnv, seed: int) -> None:
        """Change an episode.

        Args:
            env: of pick-place, freshly reset.
            seed: of what is drawn for the change.
        """
        self._env, self._step = env, 0
        self._random = np.random.default_rng(seed)

    @property
    def physics_dt(self) -> float:
        """Time of a physics step [s]."""
        return self._env.physics_dt

    def joint_state(self) -> tuple[Vector, Vector]:
        """Measured positions (7,) [rad] and velocities (7,) [rad/s]."""
        return self._env.joint_state()

    def set_command(self, position: Vector) -> None:
        """Command absolute joint positions (7,) [rad]."""
        self._env.set_command(position)

    def advance(self, physics_steps: int) -> None:
        """Run the physics under the present command."""
        self._env.advance(physics_steps)

    def observe(self) -> Mapping[str, NDArray[Any]]:
        """The observation of this instant."""
        return self._env.observe()

    def end_unseen(self) -> tuple[float, bool, bool, Mapping[str, Any]]:
        """End a control step."""
        self._step += 1
        return self._env.end_unseen()


class ObjectOutside(Shift):
    """The cube lies 4 to 13 cm beside the area that it always lay in."""

    def __init__(self, env: TabletopEnv, seed: int) -> None:
        """Put it there."""
        super().__init__(env, seed)
        side = self._random.choice([-1.0, 1.0])
        place = [self._random.uniform(0.3, 0.6), side * self._random.uniform(0.19, 0.28), HALF]
        env.body("cube").place(np.array(place), self._random.uniform(-np.pi / 4, np.pi / 4))
        mujoco.mj_forward(env.model, env.data)


class SensorStuck(Shift):
    """From 1 s on, the position of one joint of the arm is reported as it was then."""

    onset = 20

    def __init__(self, env: TabletopEnv, seed: int) -> None:
        """Draw the joint."""
        super().__init__(env, seed)
        self._joint = int(self._random.integers(6))
        self._stuck: float | None = None

    def joint_state(self) -> tuple[Vector, Vector]:
        """See `Shift.joint_state`."""
        position, velocity = (x.copy() for x in super().joint_state())
        if self._step >= self.onset:
            if self._stuck is None:
                self._stuck = float(position[self._joint])
            position[self._joint], velocity[self._joint] = self._stuck, 0.0
        return position, velocity


class CameraMoved(Shift):
    """Cube and spot are seen 4 cm beside where they are, in a direction drawn for the episode.

    Where pictures are observed, the camera in front of the robot has moved as far the other way.
    """

    def __init__(self, env: TabletopEnv, seed: int) -> None:
        """Draw the direction."""
        super().__init__(env, seed)
        angle = self._random.uniform(0, 2 * np.pi)
        self._offset = 0.04 * np.array([np.cos(angle), np.sin(angle)], np.float32)

    def observe(self) -> Mapping[str, NDArray[Any]]:
        """See `Shift.observe`."""
        with changed(self._env.model.camera("front").pos) as place:
            place[:2] -= self._offset
            seen = dict(super().observe())
        state = seen["object_state"].copy()
        state[0:2] += self._offset
        state[5:7] += self._offset
        return seen | {"object_state": state}


class ColoursSwapped(Shift):
    """The cube has the colour of the spot, and the spot that of the cube; only pictures show it."""

    def observe(self) -> Mapping[str, NDArray[Any]]:
        """See `Shift.observe`."""
        model = self._env.model
        things = [int(model.body(name).geomadr[0]) for name in ("cube", "goal")]
        with changed(model.geom_rgba) as colours:
            colours[things] = colours[things[::-1]]
            return super().observe()


class ActuatorLag(Shift):
    """The robot carries out a command 0.3 s late."""

    def __init__(self, env: TabletopEnv, seed: int) -> None:
        """Nothing is commanded yet."""
        super().__init__(env, seed)
        self._late: deque[Vector] = deque()
        self._present: Vector | None = None

    def set_command(self, position: Vector) -> None:
        """See `Shift.set_command`."""
        self._present = np.array(position)

    def advance(self, physics_steps: int) -> None:
        """See `Shift.advance`."""
        for _ in range(physics_steps):
            if self._present is not None:
                self._late.append(self._present)
            if len(self._late) * self.physics_dt > 0.3:
                super().set_command(self._late.popleft())
            super().advance(1)


SHIFTS: dict[str, type[Shift]] = {
    "object outside": ObjectOutside,
    "sensor stuck": SensorStuck,
    "camera moved": CameraMoved,
    "actuator lag": ActuatorLag,
}
"""Name -> shift of pick-place."""
VISIBLE: dict[str, type[Shift]] = {"colours swapped": ColoursSwapped}
"""Further ones, that only a policy that sees pictures can notice."""
