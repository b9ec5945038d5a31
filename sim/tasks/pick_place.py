"""pick-place: a cube to a marked spot; both anywhere on the table before the robot."""

import mujoco
import numpy as np

from bridle.sim.kinematics import InverseKinematics
from bridle.sim.robots import ur5e
from bridle.sim.script import CLOSED, OPEN, Phase, ToolTarget
from bridle.sim.tabletop import TabletopEnv, Vector

HALF = 0.02
"""Half the edge of the cube [m]."""
AREA = np.array([[0.30, -0.15], [0.60, 0.15]])
"""Where cube and goal may be, lower and upper corner [m]."""
MIN_DISTANCE = 0.12
"""Least distance of cube and goal [m]."""
START, START_SPREAD = np.array([0.45, 0.0, 0.25]), 0.04
"""Where the tool begins, and how far from there at most, per axis [m]."""
CLEARANCE = 0.14
"""Height at which the tool travels [m]."""
GOAL_RADIUS = 0.025
"""The cube's centre must be this close to the spot [m]."""

PHASES = (
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


class PickPlace(TabletopEnv):
    """Success: the cube lies within 25 mm of the spot, let go, with the tool above 5 cm.

    `object_state` (8,): cube x, y, z [m], cos and sin of four times its yaw (a cube looks the same
    after a quarter turn), goal x, y, z [m].
    """

    n_object_state = 8
    phases = PHASES

    @classmethod
    def add_objects(cls, spec: mujoco.MjSpec) -> None:
        """Add a 79 g cube and a flat disc that marks the spot."""
        cube = spec.worldbody.add_body(name="cube", pos=(0.45, 0, HALF))
        cube.add_freejoint(name="cube")
        cube.add_geom(
            name="cube",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=(HALF, HALF, HALF),
            mass=0.079,
            friction=(1, 0.005, 0.0001),
            rgba=(0.86, 0.23, 0.20, 1),
        )
        goal = spec.worldbody.add_body(name="goal", mocap=True, pos=(0.45, 0.1, 0.0))
        goal.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=(GOAL_RADIUS, 0.0008, 0),
            rgba=(0.18, 0.62, 0.36, 1),
            contype=0,
            conaffinity=0,
        )

    def place_objects(self, random: np.random.Generator) -> None:
        """Cube and goal uniform in the area, the cube turned by up to 45 degrees."""
        cube = random.uniform(*AREA)
        goal = random.uniform(*AREA)
        while np.linalg.norm(cube - goal) < MIN_DISTANCE:
            goal = random.uniform(*AREA)
        yaw = random.uniform(-np.pi / 4, np.pi / 4)
        start = START + random.uniform(-START_SPREAD, START_SPREAD, 3)
        pose = [*cube, HALF, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        address = int(self.model.joint("cube").qposadr[0])
        self.data.qpos[address : address + 7] = pose
        self.data.mocap_pos[0] = [*goal, 0.0]
        self.set_arm(_start_position(start))

    def _cube(self) -> tuple[Vector, float]:
        body = self.data.body("cube")
        rotation = body.xmat.reshape(3, 3)
        # A cube that lies on another face has another axis up; its yaw is that of any level axis.
        level = rotation[:, int(np.abs(rotation[2]).argmin())]
        return body.xpos.copy(), float(np.arctan2(level[1], level[0]))

    @property
    def goal(self) -> Vector:
        """The spot (3,) [m]."""
        place: Vector = self.data.mocap_pos[0].copy()
        return place

    def object_state(self) -> Vector:
        """See the class."""
        position, yaw = self._cube()
        return np.concatenate([position, [np.cos(4 * yaw), np.sin(4 * yaw)], self.goal])

    def is_success(self) -> bool:
        """See the class."""
        cube = self.data.body("cube").xpos
        gripper = self.joint_state()[0][-1]
        return bool(
            np.linalg.norm(cube[:2] - self.goal[:2]) < GOAL_RADIUS
            and cube[2] < HALF + 0.01
            and gripper < 0.25 * ur5e.GRIPPER_CLOSED
            and self.tool_position()[2] > 0.05
        )

    def script(self) -> list[Phase]:
        """Pick the cube up, put it down on the spot."""
        cube, yaw = self._cube()
        # The nearest of the cube's four equal yaws: the wrist never turns further than 45 degrees.
        yaw = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4

        def at(place: Vector, height: float) -> ToolTarget:
            return ToolTarget(np.array([place[0], place[1], height]), yaw)

        def over_cube() -> ToolTarget:
            return at(cube, CLEARANCE)

        def on_cube() -> ToolTarget:
            return at(self._cube()[0], HALF)

        def over_goal() -> ToolTarget:
            return at(self.goal, CLEARANCE)

        def on_goal() -> ToolTarget:
            return at(self.goal, HALF + 0.002)

        above, lower, close, lift, carry, down, let_go, up, stay = PHASES
        return [
            Phase(above, over_cube, OPEN, tolerance=0.012),
            Phase(lower, on_cube, OPEN, tolerance=0.004, precise=True),
            Phase(close, None, CLOSED, tolerance=1.0, min_steps=8, precise=True),
            Phase(lift, lambda: at(cube, CLEARANCE), CLOSED, tolerance=0.02),
            Phase(carry, over_goal, CLOSED, tolerance=0.012),
            Phase(down, on_goal, CLOSED, tolerance=0.004, precise=True),
            Phase(let_go, None, OPEN, tolerance=1.0, min_steps=7, precise=True),
            Phase(up, over_goal, OPEN, tolerance=0.012),
            Phase(stay, None, OPEN, tolerance=1.0, min_steps=8, precise=True),
        ]


def _start_position(tool: Vector) -> Vector:
    """Arm joints (6,) [rad] with the tool there, pointing down; the same for the same place."""
    ik = InverseKinematics(ur5e.HOME)
    for _ in range(20):
        position = ik.solve(tool, 0.0)
    return position
