"""sort-one: one of three cubes into one of two bins, as the instruction says; the rest stays."""

from collections.abc import Iterator
from itertools import product

import mujoco
import numpy as np

from bridle.sim.objects import HALF, LIFTED
from bridle.sim.script import Phase, stay
from bridle.sim.tasks.sort import BINS, CUBES, Sort

PAIRS = tuple(product(CUBES, BINS))
"""A cube and the bin it is asked into: one for each instruction."""
DISTURBED = 0.03
"""How far a cube that was not named may be moved [m]."""


class SortOne(Sort):
    """Success: the named cube lies in the named bin, let go, tool above 8 cm, the rest as it was.

    Cubes that were not named may have moved by less than 3 cm.

    `object_state` (19,): as in `sort`, and a seed has the layout it has there: for the red, the
    green and the blue cube x, y, z [m] and cos and sin of four times its yaw, then for the left and
    the right bin x, y [m]. What is asked for is in the instruction alone, one of six, drawn evenly.

    `info["picked"]` is the colour of the cube that was lifted first, "" for none yet: whether a
    policy failed to choose or to place.
    """

    goals = tuple(f"put the {cube} cube into the {name} bin" for cube, name in PAIRS)
    max_steps = 200

    def place_objects(self, random: np.random.Generator) -> None:
        """As in `sort`, and one of six instructions."""
        super().place_objects(random)
        mujoco.mj_kinematics(self.model, self.data)
        self._begin = {name: self.body(name).position for name in CUBES}
        self._pair = PAIRS[random.integers(len(PAIRS))]
        self._picked = ""

    @property
    def instruction(self) -> str:
        """Which cube belongs into which bin."""
        return self.goals[PAIRS.index(self._pair)]

    @property
    def picked(self) -> str:
        """Colour of the cube that was lifted first, "" for none yet."""
        if not self._picked:
            high = [name for name in CUBES if self.body(name).position[2] > HALF + LIFTED]
            self._picked = high[0] if high else ""
        return self._picked

    def _info(self) -> dict[str, object]:
        return super()._info() | {"picked": self.picked}

    def _others_rest(self) -> bool:
        away = [self.body(c).position - self._begin[c] for c in CUBES if c != self._pair[0]]
        return bool(np.linalg.norm(away, axis=1).max() < DISTURBED)

    def is_success(self) -> bool:
        """See the class."""
        return (
            self._is_in(*self._pair)
            and self._others_rest()
            and self.gripper_share() < 0.25
            and bool(self.tool_position()[2] > 0.08)
        )

    def progress(self) -> float:
        """Half for reaching the named cube, half for bringing it to its bin, none for others."""
        cube, name = self._pair
        place = self.body(cube).position
        reach = np.linalg.norm(self.tool_position() - place)
        bring = np.linalg.norm(place[:2] - self.body(name).position[:2])
        return float(0.5 * np.exp(-5 * reach) + 0.5 * np.exp(-5 * bring))

    def milestones(self) -> dict[str, bool]:
        """Choosing the cube, then the bin, then minding the rest."""
        placed = self._is_in(*self._pair)
        return {
            "lift a cube": self.picked != "",
            "lift the named cube first": self.picked == self._pair[0],
            "put it into the named bin": placed,
            "leave the others where they are": placed and self._others_rest(),
        }

    def script(self, random: np.random.Generator) -> Iterator[Phase]:
        """Bring the named cube into the middle of the named bin."""
        yield from self._bring(*self._pair, 0.0)
        yield stay()
