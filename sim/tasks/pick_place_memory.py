"""pick-place-memory: pick-place with a mark that flashes: a policy must remember where it was.

The spot is a lamp that shows for two control steps in fourteen, which two an episode draws, and is
gone in between, from `object_state` as from pictures. One observation is therefore not enough: six
of seven say nothing about the goal. Sixteen in a row always are: any fourteen hold a whole period.
A goal shown once, at the beginning, would leave every short window before it is needed.
"""

from typing import ClassVar

import numpy as np

from bridle.sim.objects import Vector
from bridle.sim.tabletop import PHYSICS_STEPS, Observation
from bridle.sim.tasks.pick_place import AREA, PickPlace

PERIOD, SHOWN = 14, 2
"""Control steps from flash to flash, and how long one lasts: 0.1 s of every 0.7 s."""
UNSEEN = np.array([*AREA.mean(axis=0), 0.0])
"""What `object_state` says of the goal while it does not show (3,) [m]: the middle of the area."""
AWAY = np.array([0.0, 0.0, -1.0])
"""Where the mark is meanwhile (3,) [m]: under the floor."""


class PickPlaceMemory(PickPlace):
    """Success: the cube lies within 25 mm of the spot, let go, with the tool above 5 cm.

    `object_state` (9,): cube x, y, z [m], cos and sin of four times its yaw, goal x, y, z [m] or,
    while it does not show, the middle of the area, and whether it shows (1 or 0).

    Layouts and expert are those of `pick-place`: a seed has the same cube and the same goal. The
    expert knows the goal all the time and does not need it before it has been seen: the first flash
    comes within 0.6 s, the way to the cube and back up takes two.
    """

    n_object_state = 9
    goals: ClassVar[tuple[str, ...]] = ("put the cube on the green spot that flashes",)

    def place_objects(self, random: np.random.Generator) -> None:
        """As in `pick-place`, and when the lamp flashes."""
        super().place_objects(random)
        self._goal = super().goal
        self._phase = int(random.integers(PERIOD))

    @property
    def goal(self) -> Vector:
        """The spot (3,) [m], whether it shows or not."""
        return self._goal.copy()

    @property
    def shows(self) -> bool:
        """Whether the spot is to be seen now."""
        steps = round(self.data.time / self.physics_dt) // PHYSICS_STEPS
        return bool((steps + self._phase) % PERIOD < SHOWN)

    def observe(self) -> Observation:
        """The observation of this instant, with the mark where it is seen to be."""
        self.body("goal").place(self._goal if self.shows else AWAY)
        return super().observe()

    def object_state(self) -> Vector:
        """See the class."""
        goal = self._goal if self.shows else UNSEEN
        return np.concatenate([self.body("cube").cube_state(), goal, [self.shows]])
