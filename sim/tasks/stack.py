"""stack: a red cube on a blue one."""

from collections.abc import Iterator

import mujoco
import numpy as np

from bridle.sim.objects import BLUE, HALF, LIFTED, RED, Vector, add_cube
from bridle.sim.script import Phase, ToolTarget, pick, place, stay
from bridle.sim.tabletop import START, START_SPREAD, TabletopEnv

AREA = np.array([[0.32, -0.18], [0.60, 0.18]])
"""Where the cubes may be, lower and upper corner [m]."""
MIN_DISTANCE = 0.12
"""Least distance of the cubes [m]."""
OFFSET = 0.015
"""How far the red cube's middle may be from the blue one's, level [m]."""


class Stack(TabletopEnv):
    """Success: the red cube rests on the blue one, let go, with the tool 4 cm above it.

    `object_state` (10,): for the red and then the blue cube x, y, z [m] and cos and sin of four
    times its yaw.
    """

    n_object_state = 10
    goals = ("put the red cube on the blue cube",)
    phases = (
        "move above the red cube",
        "lower to the red cube",
        "close the gripper",
        "lift the red cube",
        "move above the blue cube",
        "lower onto the blue cube",
        "open the gripper",
        "move up",
        "stay",
    )

    @classmethod
    def add_objects(cls, spec: mujoco.MjSpec) -> None:
        """Add two cubes."""
        add_cube(spec, "red", RED)
        add_cube(spec, "blue", BLUE)

    def place_objects(self, random: np.random.Generator) -> None:
        """Both uniform in the area, turned by up to 45 degrees."""
        red, blue = random.uniform(*AREA), random.uniform(*AREA)
        while np.linalg.norm(red - blue) < MIN_DISTANCE:
            blue = random.uniform(*AREA)
        yaw = random.uniform(-np.pi / 4, np.pi / 4, 2)
        start = START + random.uniform(-START_SPREAD, START_SPREAD, 3)
        self.body("red").place(np.array([*red, HALF]), yaw[0])
        self.body("blue").place(np.array([*blue, HALF]), yaw[1])
        self.set_tool(start)

    def occupied(self) -> Iterator[tuple[Vector, float]]:
        """Both cubes, with room for the fingers."""
        for name in ("red", "blue"):
            yield self.body(name).position[:2], 0.09

    def object_state(self) -> Vector:
        """See the class."""
        return np.concatenate([self.body("red").cube_state(), self.body("blue").cube_state()])

    def is_success(self) -> bool:
        """See the class."""
        red, blue = (self.data.body(name).xpos for name in ("red", "blue"))
        return bool(
            np.linalg.norm(red[:2] - blue[:2]) < OFFSET
            and abs(red[2] - blue[2] - 2 * HALF) < 0.005
            and blue[2] < HALF + 0.005
            and self.gripper_share() < 0.25
            and self.tool_position()[2] > red[2] + 0.04
        )

    def progress(self) -> float:
        """Half for reaching the red cube, half for bringing it onto the blue one."""
        red, blue = self.body("red").position, self.body("blue").position
        reach = np.linalg.norm(self.tool_position() - red)
        bring = np.linalg.norm(red - blue - [0, 0, 2 * HALF])
        return float(0.5 * np.exp(-5 * reach) + 0.5 * np.exp(-5 * bring))

    def milestones(self) -> dict[str, bool]:
        """To the red cube, up with it, over the blue one, onto it."""
        red, blue = self.body("red").position, self.body("blue").position
        over = bool(np.linalg.norm(red[:2] - blue[:2]) < OFFSET)
        return {
            "reach the red cube": self.tool_is_at(red),
            "lift the red cube": bool(red[2] > HALF + LIFTED),
            "bring it over the blue cube": over,
            "put it down there": over and bool(abs(red[2] - blue[2] - 2 * HALF) < 0.005),
        }

    def script(self, random: np.random.Generator) -> Iterator[Phase]:
        """Pick the red cube up, put it on the blue one."""
        red, blue = self.body("red"), self.body("blue")
        red_yaw, blue_yaw = red.cube_yaw, blue.cube_yaw

        def grasp() -> ToolTarget:
            return ToolTarget(np.array([*red.position[:2], HALF]), red_yaw)

        def release() -> ToolTarget:
            return ToolTarget(np.array([*blue.position[:2], 3 * HALF + 0.002]), blue_yaw)

        yield from pick("the red cube", grasp)
        yield from place("the blue cube", release, move="move above", lower="lower onto")
        yield stay()
