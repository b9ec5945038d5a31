"""sort: three coloured cubes into two bins, as the instruction says, in any order."""

from collections.abc import Iterator
from itertools import product

import mujoco
import numpy as np

from bridle.sim.objects import (
    BLUE,
    GREEN,
    HALF,
    LIFTED,
    RED,
    WOOD,
    Vector,
    add_body,
    add_box,
    add_cube,
)
from bridle.sim.script import Phase, ToolTarget, pick, place, stay
from bridle.sim.tabletop import START, START_SPREAD, TabletopEnv

CUBES = {"red": RED, "green": GREEN, "blue": BLUE}
BINS = {"left": np.array([0.45, 0.32]), "right": np.array([0.45, -0.32])}
"""Middle of each bin, as the robot sees it, before it is shifted [m]."""
BIN_SHIFT = 0.03
"""How far a bin may be shifted, per axis [m]."""
INNER, WALL, RIM = np.array([0.115, 0.075]), 0.005, 0.025
"""Half the inside of a bin, thickness and height of its walls [m]."""
ROW = 0.07
"""Distance of the places in a bin [m]."""
AREA = np.array([[0.32, -0.15], [0.58, 0.15]])
"""Where the cubes may be, lower and upper corner [m]."""
MIN_DISTANCE = 0.11
"""Least distance of two cubes: room for the fingers [m]."""
ASSIGNMENTS = tuple(product(BINS, repeat=len(CUBES)))
"""A bin for each cube."""


def _listed(colours: list[str]) -> str:
    *first, last = colours
    what = f"{', '.join(first)} and {last}" if first else last
    return f"the {what} cube{'s' if first else ''}"


def _sentence(bins: tuple[str, ...]) -> str:
    parts = []
    for name in BINS:
        colours = [c for c, b in zip(CUBES, bins, strict=True) if b == name]
        if colours:
            parts.append(f"{_listed(colours)} into the {name} bin")
    return "put " + " and ".join(parts)


class Sort(TabletopEnv):
    """Success: every cube lies in the bin the instruction names, let go, with the tool above 8 cm.

    `object_state` (19,): for the red, the green and the blue cube x, y, z [m] and cos and sin of
    four times its yaw, then for the left and the right bin x, y [m]. What belongs where is in the
    instruction alone.
    """

    n_object_state = 19
    goals = tuple(_sentence(bins) for bins in ASSIGNMENTS)
    phases = (
        *(
            words
            for colour in CUBES
            for words in (
                f"move above the {colour} cube",
                f"lower to the {colour} cube",
                f"lift the {colour} cube",
            )
        ),
        "close the gripper",
        *(
            words
            for name in BINS
            for words in (f"move to the {name} bin", f"lower into the {name} bin")
        ),
        "open the gripper",
        "move up",
        "stay",
    )
    max_steps = 500

    @classmethod
    def add_objects(cls, spec: mujoco.MjSpec) -> None:
        """Add three cubes and two trays."""
        for name, rgba in CUBES.items():
            add_cube(spec, name, rgba)
        x, y = INNER
        for name in BINS:
            tray = add_body(spec, name, free=False)
            add_box(tray, (x, y, 0.001), WOOD, position=(0, 0, 0.001))
            for sign in (-1, 1):
                long = (sign * (x + WALL), 0, RIM / 2)
                short = (0, sign * (y + WALL), RIM / 2)
                add_box(tray, (WALL, y + 2 * WALL, RIM / 2), WOOD, position=long)
                add_box(tray, (x + 2 * WALL, WALL, RIM / 2), WOOD, position=short)

    def place_objects(self, random: np.random.Generator) -> None:
        """Cubes uniform in the area, bins shifted a little, one of eight instructions."""
        self._bins = ASSIGNMENTS[random.integers(len(ASSIGNMENTS))]
        places: list[Vector] = []
        while len(places) < len(CUBES):
            tried = random.uniform(*AREA)
            if all(np.linalg.norm(tried - other) > MIN_DISTANCE for other in places):
                places.append(tried)
        for name, spot in zip(CUBES, places, strict=True):
            yaw = random.uniform(-np.pi / 4, np.pi / 4)
            self.body(name).place(np.array([*spot, HALF]), yaw)
        for name, middle in BINS.items():
            shift = random.uniform(-BIN_SHIFT, BIN_SHIFT, 2)
            self.body(name).place(np.array([*(middle + shift), 0.0]))
        self.set_tool(START + random.uniform(-START_SPREAD, START_SPREAD, 3))

    def occupied(self) -> Iterator[tuple[Vector, float]]:
        """Cubes and bins."""
        for name in CUBES:
            yield self.body(name).position[:2], 0.09
        for name in BINS:
            yield self.body(name).position[:2], float(np.linalg.norm(INNER)) + 0.02

    @property
    def instruction(self) -> str:
        """Which cube belongs where."""
        return self.goals[ASSIGNMENTS.index(self._bins)]

    def object_state(self) -> Vector:
        """See the class."""
        cubes = [self.body(name).cube_state() for name in CUBES]
        return np.concatenate([*cubes, *(self.body(name).position[:2] for name in BINS)])

    def _is_in(self, cube: str, name: str) -> bool:
        offset = np.abs(self.data.body(cube).xpos - self.data.body(name).xpos)
        return bool((offset[:2] < INNER).all() and offset[2] < HALF + 0.012)

    def is_success(self) -> bool:
        """See the class."""
        return (
            all(self._is_in(*pair) for pair in zip(CUBES, self._bins, strict=True))
            and self.gripper_share() < 0.25
            and bool(self.tool_position()[2] > 0.08)
        )

    def progress(self) -> float:
        """A third for each cube: all of it in its bin, part of it on the way there."""
        done = 0.0
        for cube, name in zip(CUBES, self._bins, strict=True):
            away = np.linalg.norm(self.body(cube).position[:2] - self.body(name).position[:2])
            done += 1.0 if self._is_in(cube, name) else 0.8 * np.exp(-5 * away)
        return float(done / len(CUBES))

    def milestones(self) -> dict[str, bool]:
        """A cube up, then one after the other where it belongs."""
        placed = sum(self._is_in(*pair) for pair in zip(CUBES, self._bins, strict=True))
        return {
            "lift a cube": any(self.body(c).position[2] > HALF + LIFTED for c in CUBES),
            "put a cube where it belongs": placed >= 1,
            "put two": placed >= 2,
            "put all three": placed >= 3,
        }

    def script(self, random: np.random.Generator) -> Iterator[Phase]:
        """One cube after the other, in an order of its own choice."""
        filled = dict.fromkeys(BINS, 0)
        for i in random.permutation(len(CUBES)):
            colour, name = tuple(CUBES)[i], self._bins[i]
            x = (filled[name] - 1) * ROW
            filled[name] += 1
            yield from self._bring(colour, name, x)
        yield stay()

    def _bring(self, colour: str, name: str, x: float) -> Iterator[Phase]:
        cube, tray = self.body(colour), self.body(name)
        yaw = cube.cube_yaw

        def grasp() -> ToolTarget:
            return ToolTarget(np.array([*cube.position[:2], HALF]), yaw)

        def release() -> ToolTarget:
            # Fingers open across the row, so that they reach no neighbour.
            return ToolTarget(tray.position + np.array([x, 0, HALF + 0.006]))

        yield from pick(f"the {colour} cube", grasp)
        yield from place(f"the {name} bin", release, lower="lower into")
