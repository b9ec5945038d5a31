"""push: a block to a target pose, round it on the left or on the right first: two modes.

The tool begins on the far side of the block and has to get behind it. It pushes with two finger
tips, which hold the block's direction as one would not.
"""

from collections.abc import Iterator

import mujoco
import numpy as np

from bridle.sim.objects import BLUE, GREEN, Vector, add_body, add_box
from bridle.sim.script import CAREFUL, CLEARANCE, Phase, ToolTarget, stay
from bridle.sim.tabletop import TabletopEnv

HALF = (0.04, 0.055, 0.02)
"""Half edges of the block, the first along the push [m]."""
BLOCK = np.array([[0.36, -0.02, -0.15], [0.39, 0.02, 0.15]])
"""Where the block begins: x, y [m] and yaw [rad], lower and upper corner."""
GOAL = np.array([[0.54, -0.04, -0.25], [0.59, 0.04, 0.25]])
"""Where it shall be."""
START = np.array([[0.62, -0.02, 0.035], [0.65, 0.02, 0.05]])
"""Where the tool begins [m]."""
HEIGHT = 0.022
"""Height of the tool that pushes [m]."""
FINGERS = 0.25
"""Gripper while pushing [rad]: tips 6 cm apart."""
TIP = 0.011
"""From the tool to the finger tips' front, along the push [m]."""
SIDE = 0.16
"""How far from the axis the block is passed [m]."""
GOAL_DISTANCE, GOAL_ANGLE = 0.02, 0.15
"""Success: nearer [m] and better turned [rad] than this."""
STRIDE, SPEED, LEAD = 0.02, 0.10, 2.0
"""Distance of the points a push is led along [m], its speed [m/s], how much it is turned ahead."""


class Push(TabletopEnv):
    """Success: the block within 2 cm and 0.15 rad of its target, the tool 8 cm up.

    `object_state` (10,): for the block and then its target x, y, z [m] and cos and sin of the yaw.
    The mode is the side on which the tool went past the block, as the robot sees it.
    """

    n_object_state = 10
    goals = ("push the block onto the green mark",)
    modes = ("left", "right")
    phases = (
        "go past the block on the left",
        "go past the block on the right",
        "go behind the block",
        "move up to the block",
        "push the block to the goal",
        "move back",
        "move up",
        "stay",
    )
    max_steps = 300

    @classmethod
    def add_objects(cls, spec: mujoco.MjSpec) -> None:
        """Add a block and a flat mark of its size."""
        add_box(add_body(spec, "block"), HALF, BLUE, mass=0.3, name="block")
        mark = add_body(spec, "goal", free=False)
        mark.add_geom(
            name="goal",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=(HALF[0], HALF[1], 0.0008),
            rgba=GREEN,
            contype=0,
            conaffinity=0,
        )

    def place_objects(self, random: np.random.Generator) -> None:
        """The block near, its target far, the tool beyond it and low."""
        block, goal = random.uniform(*BLOCK), random.uniform(*GOAL)
        self.body("block").place(np.array([*block[:2], HALF[2]]), block[2])
        self.body("goal").place(np.array([*goal[:2], 0.0]), goal[2])
        self.set_tool(random.uniform(*START))
        self._mode = ""

    def occupied(self) -> Iterator[tuple[Vector, float]]:
        """The way of the block, and the tool's way round it."""
        block = self.body("block").position[:2]
        for x in np.arange(0.26, 0.70, 0.06):
            for y in (-SIDE, 0.0, SIDE) if abs(x - block[0]) < 0.2 else (0.0,):
                yield np.array([x, y]), 0.10 if y else 0.15

    def object_state(self) -> Vector:
        """See the class."""
        return np.concatenate([self.body("block").pose_state(), self.body("goal").pose_state()])

    @property
    def mode(self) -> str:
        """The side on which the tool last went past the block."""
        x, y, _ = self.tool_position()
        block = self.data.body("block").xpos
        if abs(x - block[0]) < HALF[0] and abs(y - block[1]) > HALF[1]:
            self._mode = "left" if y > block[1] else "right"
        return self._mode

    def _errors(self) -> tuple[float, float]:
        """Distance [m] and angle [rad] between block and target."""
        block, goal = self.body("block"), self.body("goal")
        turn = block.yaw - goal.yaw
        distance = float(np.linalg.norm(block.position[:2] - goal.position[:2]))
        return distance, abs(float(np.arctan2(np.sin(turn), np.cos(turn))))

    def is_success(self) -> bool:
        """See the class."""
        distance, angle = self._errors()
        return (
            distance < GOAL_DISTANCE and angle < GOAL_ANGLE and bool(self.tool_position()[2] > 0.08)
        )

    def progress(self) -> float:
        """1 with the block on its target, falling with distance and angle."""
        distance, angle = self._errors()
        return float(np.exp(-5 * distance - angle))

    def milestones(self) -> dict[str, bool]:
        """Round the block, behind it, and how near it comes to its target."""
        block, (distance, angle) = self.body("block").position, self._errors()
        return {
            "go past the block": self.mode != "",
            "go behind the block": bool(self.tool_position()[0] < block[0] - HALF[0]),
            "push it to within 6 cm": distance < 3 * GOAL_DISTANCE,
            "push it to within 2 cm": distance < GOAL_DISTANCE,
            "turn it as it shall be": distance < GOAL_DISTANCE and angle < GOAL_ANGLE,
        }

    def script(self, random: np.random.Generator) -> Iterator[Phase]:
        """Round the block, up to its near face, and push it along a curve that ends as it shall."""
        side = "left" if random.random() < 0.5 else "right"
        y = SIDE if side == "left" else -SIDE
        block = self.body("block")

        def via(x: float, y: float, tolerance: float, words: str) -> Phase:
            target = ToolTarget(np.array([x, y, HEIGHT]))
            return Phase(words, lambda: target, FINGERS, tolerance=tolerance, room=0.02)

        x = block.position[0]
        past = f"go past the block on the {side}"
        yield via(x + 0.14, y, 0.05, past)
        yield via(x - 0.03, y, 0.03, past)
        yield via(x - 0.11, 0.4 * y, 0.03, "go behind the block")

        def behind(gap: float) -> ToolTarget:
            heading = np.array([np.cos(block.yaw), np.sin(block.yaw)])
            place = block.position[:2] - (HALF[0] + TIP + gap) * heading
            return ToolTarget(np.array([*place, HEIGHT]), block.yaw)

        yield Phase(
            "move up to the block",
            lambda: behind(0.02),
            FINGERS,
            tolerance=0.004,
            disturbance=CAREFUL,
        )
        while (target := self._next_push()) is not None:
            yield Phase(
                "push the block to the goal",
                lambda target=target: target,  # type: ignore[misc]
                FINGERS,
                tolerance=0.012,
                min_steps=1,
                disturbance=0.1,
                speed=SPEED,
            )
        yield Phase("move back", lambda: behind(0.04), FINGERS, tolerance=0.01, disturbance=CAREFUL)
        yield Phase("move up", lambda: behind(0.04).at_height(CLEARANCE), tolerance=0.012)
        yield stay()

    def _next_push(self) -> ToolTarget | None:
        """Where to push the tool next, None when the block is there.

        A cubic Hermite curve leads the block from its present pose to its target, tangent to both
        directions: the block is pushed like a car that cannot move sideways.
        """
        block, goal = self.body("block"), self.body("goal")
        ends = np.array([block.position[:2], goal.position[:2]])
        headings = np.array([[np.cos(b.yaw), np.sin(b.yaw)] for b in (block, goal)])
        ahead = float((ends[1] - ends[0]) @ headings[1])
        if ahead < 0.003:
            return None
        length = float(np.linalg.norm(ends[1] - ends[0]))
        u = min(1.0, STRIDE / length)
        slopes = length * headings
        along = np.array([2 * u**3 - 3 * u**2 + 1, -2 * u**3 + 3 * u**2])
        turning = np.array([u**3 - 2 * u**2 + u, u**3 - u**2])
        centre = along @ ends + turning @ slopes
        rate = np.array([6 * u**2 - 6 * u, 6 * u - 6 * u**2]) @ ends
        rate += np.array([3 * u**2 - 4 * u + 1, 3 * u**2 - 2 * u]) @ slopes
        # A block turns by less than the finger tips do.
        yaw = block.yaw + LEAD * (float(np.arctan2(rate[1], rate[0])) - block.yaw)
        place = centre - (HALF[0] + TIP) * np.array([np.cos(yaw), np.sin(yaw)])
        return ToolTarget(np.array([*place, HEIGHT]), yaw)
