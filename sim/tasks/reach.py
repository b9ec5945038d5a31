"""reach: the tool to a point in the air."""

from collections.abc import Iterator

import mujoco
import numpy as np

from bridle.sim.objects import GREEN, Vector, add_body
from bridle.sim.script import Phase, ToolTarget, stay
from bridle.sim.tabletop import START, START_SPREAD, TabletopEnv

SPACE = np.array([[0.32, -0.28, 0.06], [0.60, 0.28, 0.35]])
"""Where the point may be, lower and upper corner [m]."""
MIN_DISTANCE = 0.08
"""Least distance of the point from where the tool begins [m]."""
RADIUS, SPEED = 0.01, 0.05
"""Success: nearer than this [m] and slower than this [m/s]."""


class Reach(TabletopEnv):
    """Success: the tool rests within 10 mm of the point.

    `object_state` (3,): the point x, y, z [m].
    """

    n_object_state = 3
    goals = ("move the tool to the green ball",)
    phases = ("move to the ball", "stay")
    max_steps = 100

    @classmethod
    def add_objects(cls, spec: mujoco.MjSpec) -> None:
        """Add a ball that marks the point and touches nothing."""
        add_body(spec, "goal", free=False).add_geom(
            name="goal",
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=(0.015, 0, 0),
            rgba=GREEN,
            contype=0,
            conaffinity=0,
        )

    def place_objects(self, random: np.random.Generator) -> None:
        """The point anywhere before the robot."""
        start = START + random.uniform(-START_SPREAD, START_SPREAD, 3)
        goal = random.uniform(*SPACE)
        while np.linalg.norm(goal - start) < MIN_DISTANCE:
            goal = random.uniform(*SPACE)
        self.body("goal").place(goal)
        self.set_tool(start)

    def occupied(self) -> Iterator[tuple[Vector, float]]:
        """Below the point, where the fingers may come low."""
        yield self.goal[:2], 0.09

    @property
    def goal(self) -> Vector:
        """The point (3,) [m]."""
        point: Vector = self.data.mocap_pos[0].copy()
        return point

    def object_state(self) -> Vector:
        """See the class."""
        return self.goal

    def is_success(self) -> bool:
        """See the class."""
        velocity = np.empty(6)
        mujoco.mj_objectVelocity(
            self.model, self.data, mujoco.mjtObj.mjOBJ_SITE, self._index.tcp, velocity, 0
        )
        near = np.linalg.norm(self.tool_position() - self.goal) < RADIUS
        return bool(near and np.linalg.norm(velocity[3:]) < SPEED)

    def progress(self) -> float:
        """1 at the point, falling by e every 20 cm."""
        return float(np.exp(-5 * np.linalg.norm(self.tool_position() - self.goal)))

    def milestones(self) -> dict[str, bool]:
        """Near the ball."""
        return {"reach the ball": self.tool_is_at(self.goal)}

    def script(self, random: np.random.Generator) -> Iterator[Phase]:
        """Straight there."""
        yield Phase("move to the ball", lambda: ToolTarget(self.goal), tolerance=0.004)
        yield stay()
