"""insert: a peg into a hole that is 1 mm wider."""

from collections.abc import Iterator

import mujoco
import numpy as np

from bridle.sim.objects import BLUE, GREY, LIFTED, Vector, add_body, add_box
from bridle.sim.script import CAREFUL, CLOSED, OPEN, Phase, ToolTarget, pick, stay
from bridle.sim.tabletop import START, START_SPREAD, TabletopEnv

PEG = (0.012, 0.012, 0.045)
"""Half edges of the peg [m]."""
PLAY = 0.001
"""How much wider the hole is than the peg, from side to side [m]."""
BLOCK, DEPTH = 0.035, 0.04
"""Half the outer edge of the block with the hole, and its height [m]."""
PEG_AREA = np.array([[0.34, 0.06], [0.56, 0.20]])
HOLE_AREA = np.array([[0.36, -0.18], [0.54, -0.06]])
"""Where peg and hole may be, lower and upper corner [m]."""
TURN = 0.35
"""How far peg and hole may be turned [rad]."""
GRASP = 0.065
"""Height at which the peg is taken [m]."""
ABOVE = 0.17
"""Height at which the peg is carried [m]."""
INSERTED = 0.02
"""Success: the peg's lower end is lower than this [m], half the hole's depth."""


class Insert(TabletopEnv):
    """Success: the peg stands in the hole, let go, with the tool above its head.

    `object_state` (10,): peg x, y, z [m] and cos and sin of four times its yaw, hole x, y, z [m]
    and cos and sin of four times its yaw (both look the same after a quarter turn).
    """

    n_object_state = 10
    goals = ("put the peg into the hole",)
    phases = (
        "move above the peg",
        "lower to the peg",
        "close the gripper",
        "lift the peg",
        "move above the hole",
        "line up with the hole",
        "lower into the hole",
        "open the gripper",
        "move up",
        "stay",
    )
    max_steps = 250

    @classmethod
    def add_objects(cls, spec: mujoco.MjSpec) -> None:
        """Add a peg that stands, and a block of four walls round a hole."""
        add_box(add_body(spec, "peg"), PEG, BLUE, mass=0.06, name="peg")
        block = add_body(spec, "hole", free=False)
        inner = PEG[0] + PLAY / 2
        wall = (BLOCK - inner) / 2
        for sign in (-1, 1):
            along = (sign * (inner + wall), 0, DEPTH / 2)
            across = (0, sign * (inner + wall), DEPTH / 2)
            add_box(block, (wall, BLOCK, DEPTH / 2), GREY, position=along)
            add_box(block, (inner, wall, DEPTH / 2), GREY, position=across)

    def place_objects(self, random: np.random.Generator) -> None:
        """The peg on the left, the hole on the right, both turned a little."""
        peg, hole = random.uniform(*PEG_AREA), random.uniform(*HOLE_AREA)
        turn = random.uniform(-TURN, TURN, 2)
        self.body("peg").place(np.array([*peg, PEG[2]]), turn[0])
        self.body("hole").place(np.array([*hole, 0.0]), turn[1])
        self.set_tool(START + random.uniform(-START_SPREAD, START_SPREAD, 3))

    def occupied(self) -> Iterator[tuple[Vector, float]]:
        """Peg and hole, with room for the fingers."""
        yield self.body("peg").position[:2], 0.09
        yield self.body("hole").position[:2], 0.10

    def object_state(self) -> Vector:
        """See the class."""
        return np.concatenate([self.body("peg").cube_state(), self.body("hole").cube_state()])

    def _lower_end(self) -> Vector:
        peg = self.body("peg")
        return peg.position - PEG[2] * peg.rotation[:, 2]

    def is_success(self) -> bool:
        """See the class."""
        end, hole = self._lower_end(), self.data.body("hole").xpos
        return bool(
            np.abs(end[:2] - hole[:2]).max() < PEG[0]
            and end[2] < INSERTED
            and self.gripper_share() < 0.25
            and self.tool_position()[2] > 2 * PEG[2] + 0.02
        )

    def progress(self) -> float:
        """Half for reaching the peg, half for bringing its end to the bottom of the hole."""
        reach = np.linalg.norm(self.tool_position() - self.body("peg").position)
        bring = np.linalg.norm(self._lower_end() - self.body("hole").position)
        return float(0.5 * np.exp(-5 * reach) + 0.5 * np.exp(-5 * bring))

    def milestones(self) -> dict[str, bool]:
        """To the peg, up with it, over the hole, into it."""
        peg, end = self.body("peg").position, self._lower_end()
        off = np.abs(end[:2] - self.body("hole").position[:2]).max()
        return {
            "reach the peg": self.tool_is_at(np.array([*peg[:2], GRASP])),
            "lift the peg": bool(peg[2] > PEG[2] + LIFTED),
            "bring it over the hole": bool(off < PEG[0]),
            "get it into the hole": bool(off < PEG[0] and end[2] < DEPTH - 0.005),
            "get it halfway down": bool(off < PEG[0] and end[2] < INSERTED),
        }

    def script(self, random: np.random.Generator) -> Iterator[Phase]:
        """Pick the peg up, bring its lower end over the hole, lower it, let go."""
        peg, hole = self.body("peg"), self.body("hole")
        taken = ToolTarget(np.array([*peg.position[:2], GRASP]), peg.cube_yaw)
        yield from pick("the peg", lambda: taken, clearance=ABOVE)

        def with_end_at(height: float) -> ToolTarget:
            # Where the tool must be for the peg's end to be over the hole, as it is held now.
            offset = self.tool_position() - self._lower_end()
            turn = hole.cube_yaw - peg.cube_yaw
            c, s = np.cos(turn), np.sin(turn)
            offset = np.array([c * offset[0] - s * offset[1], s * offset[0] + c * offset[1]])
            return ToolTarget(
                np.array([*(hole.position[:2] + offset), height + GRASP]),
                self.tool_yaw() + turn,
            )

        yield Phase(
            "move above the hole",
            lambda: with_end_at(ABOVE - GRASP),
            CLOSED,
            tolerance=0.012,
        )
        for steps in (6, 8):
            yield Phase(
                "line up with the hole",
                lambda: with_end_at(DEPTH + 0.006),
                CLOSED,
                tolerance=0.0015,
                min_steps=steps,
                disturbance=0.0,
            )
        yield Phase(
            "lower into the hole",
            lambda: with_end_at(0.004),
            CLOSED,
            tolerance=0.006,
            min_steps=6,
            disturbance=0.0,
            speed=0.10,
        )
        yield Phase("open the gripper", None, OPEN, tolerance=1.0, min_steps=7, disturbance=CAREFUL)
        yield Phase(
            "move up",
            lambda: ToolTarget(self.tool_position().copy(), self.tool_yaw()).at_height(ABOVE),
            OPEN,
            tolerance=0.012,
        )
        yield stay()
