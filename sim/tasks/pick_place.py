"""pick-place: a cube to a marked spot; both anywhere on the table before the robot."""

from collections.abc import Iterator
from typing import ClassVar

import mujoco
import numpy as np

from bridle.sim.objects import GREEN, HALF, LIFTED, RED, Vector, add_cube, add_spot
from bridle.sim.script import Phase, ToolTarget, pick, place, stay
from bridle.sim.tabletop import START, START_SPREAD, TabletopEnv

AREA = np.array([[0.30, -0.15], [0.60, 0.15]])
"""Where cube and goal may be, lower and upper corner [m]."""
MIN_DISTANCE = 0.12
"""Least distance of cube and goal [m]."""
GOAL_RADIUS = 0.025
"""The cube's centre must be this close to the spot [m]."""


class PickPlace(TabletopEnv):
    """Success: the cube lies within 25 mm of the spot, let go, with the tool above 5 cm.

    `object_state` (8,): cube x, y, z [m], cos and sin of four times its yaw (a cube looks the same
    after a quarter turn), goal x, y, z [m].
    """

    n_object_state = 8
    goals: ClassVar[tuple[str, ...]] = ("put the cube on the green spot",)
    phases: ClassVar[tuple[str, ...]] = (
        "move above the cube",
        "lower to the cube",
        "close the gripper",
        "lift the cube",
        "move to the goal",
        "lower to the goal",
        "open the gripper",
        "move up",
        "stay",
    )

    @classmethod
    def add_objects(cls, spec: mujoco.MjSpec) -> None:
        """Add a cube and a flat disc that marks the spot."""
        add_cube(spec, "cube", RED)
        add_spot(spec, "goal", GOAL_RADIUS, GREEN)

    def place_objects(self, random: np.random.Generator) -> None:
        """Cube and goal uniform in the area, the cube turned by up to 45 degrees."""
        cube = random.uniform(*AREA)
        goal = random.uniform(*AREA)
        while np.linalg.norm(cube - goal) < MIN_DISTANCE:
            goal = random.uniform(*AREA)
        yaw = random.uniform(-np.pi / 4, np.pi / 4)
        start = START + random.uniform(-START_SPREAD, START_SPREAD, 3)
        self.body("cube").place(np.array([*cube, HALF]), yaw)
        self.body("goal").place(np.array([*goal, 0.0]))
        self.set_tool(start)

    def occupied(self) -> Iterator[tuple[Vector, float]]:
        """Cube and goal, with room for the fingers."""
        yield self.body("cube").position[:2], 0.09
        yield self.goal[:2], 0.09

    @property
    def goal(self) -> Vector:
        """The spot (3,) [m]."""
        spot: Vector = self.data.mocap_pos[0].copy()
        return spot

    def object_state(self) -> Vector:
        """See the class."""
        return np.concatenate([self.body("cube").cube_state(), self.goal])

    def is_success(self) -> bool:
        """See the class."""
        cube = self.data.body("cube").xpos
        return bool(
            np.linalg.norm(cube[:2] - self.goal[:2]) < GOAL_RADIUS
            and cube[2] < HALF + 0.01
            and self.gripper_share() < 0.25
            and self.tool_position()[2] > 0.05
        )

    def progress(self) -> float:
        """Half for reaching the cube, half for bringing it to the spot."""
        cube = self.body("cube").position
        reach = np.linalg.norm(self.tool_position() - cube)
        bring = np.linalg.norm(cube - self.goal - [0, 0, HALF])
        return float(0.5 * np.exp(-5 * reach) + 0.5 * np.exp(-5 * bring))

    def milestones(self) -> dict[str, bool]:
        """To the cube, up with it, over the spot, down there."""
        cube = self.body("cube").position
        over = bool(np.linalg.norm(cube[:2] - self.goal[:2]) < GOAL_RADIUS)
        return {
            "reach the cube": self.tool_is_at(cube),
            "lift the cube": bool(cube[2] > HALF + LIFTED),
            "bring it over the spot": over,
            "put it down there": over and bool(cube[2] < HALF + 0.01),
        }

    def script(self, random: np.random.Generator) -> Iterator[Phase]:
        """Pick the cube up, put it down on the spot."""
        cube = self.body("cube")
        yaw = cube.cube_yaw

        def grasp() -> ToolTarget:
            return ToolTarget(np.array([*cube.position[:2], HALF]), yaw)

        def release() -> ToolTarget:
            return ToolTarget(np.array([*self.goal[:2], HALF + 0.002]), yaw)

        yield from pick("the cube", grasp)
        yield from place("the goal", release)
        yield stay()
