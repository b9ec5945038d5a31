"""drawer: open it, put the cube in, close it."""

from collections.abc import Iterator

import mujoco
import numpy as np

from bridle.sim.objects import GREY, HALF, LIFTED, RED, WOOD, Vector, add_box, add_cube
from bridle.sim.script import (
    CAREFUL,
    CLEARANCE,
    CLOSED,
    OPEN,
    OPEN_THE_GRIPPER,
    Phase,
    ToolTarget,
    pick,
    place,
    stay,
)
from bridle.sim.tabletop import START, START_SPREAD, TabletopEnv

CLOSED_AT = 0.67
"""x of the middle of the closed drawer; it opens towards the robot [m]."""
INNER, WALL, RIM = np.array([0.06, 0.085]), 0.004, 0.05
"""Half the inside of the drawer, thickness and height of its walls [m]."""
TRAVEL, PULL = 0.15, 0.14
"""How far the drawer can move, and how far it is pulled [m]."""
HANDLE = np.array([-0.099, 0.0, 0.045])
"""Middle of the handle, from the middle of the drawer on the table [m]."""
HANDLE_HALF = (0.006, 0.012, 0.020)
TIP = 0.011
"""From the tool to the front of its fingers [m]."""
AREA = np.array([[0.34, 0.18], [0.48, 0.26]])
"""Where the cube may be on the left; on the right it is mirrored [m]."""
SHUT = 0.012
"""Success: the drawer is open by less than this [m]."""


class Drawer(TabletopEnv):
    """Success: the cube lies in the drawer, the drawer is shut, the tool above 8 cm.

    `object_state` (7,): cube x, y, z [m], cos and sin of four times its yaw, how far the drawer is
    open [m], and x of its handle [m].
    """

    n_object_state = 7
    goals = ("put the cube into the drawer and close it",)
    phases = (
        "move above the handle",
        "lower to the handle",
        "close the gripper",
        "pull the drawer open",
        "open the gripper",
        "move up",
        "move above the cube",
        "lower to the cube",
        "lift the cube",
        "move to the drawer",
        "lower into the drawer",
        "move in front of the drawer",
        "lower in front of the drawer",
        "push the drawer shut",
        "stay",
    )
    max_steps = 400

    @classmethod
    def add_objects(cls, spec: mujoco.MjSpec) -> None:
        """Add a cabinet with a drawer, and a cube."""
        add_cube(spec, "cube", RED)
        x, y = INNER + WALL
        cabinet = spec.worldbody.add_body(name="cabinet", pos=(CLOSED_AT, 0, 0))
        gap, top = 0.004, 0.07
        for sign in (-1, 1):
            side = (0, sign * (y + gap + WALL), top / 2)
            add_box(cabinet, (x, WALL, top / 2), WOOD, position=side)
        back = (x + gap + WALL, 0, top / 2)
        add_box(cabinet, (WALL, y + gap + 2 * WALL, top / 2), WOOD, position=back)
        lid = (gap, 0, top + WALL)
        add_box(cabinet, (x + gap + WALL, y + gap + 2 * WALL, WALL), WOOD, position=lid)

        drawer = spec.worldbody.add_body(name="drawer", pos=(CLOSED_AT, 0, 0))
        drawer.add_joint(
            name="drawer",
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=(-1, 0, 0),
            range=(0, TRAVEL),
            limited=True,
            damping=3.0,
            frictionloss=0.8,
        )
        parts = [((x, y, 0.003), (0.0, 0.0, 0.006))]
        for sign in (-1, 1):
            parts.append(((x, WALL / 2, RIM / 2), (0.0, sign * (y - WALL / 2), RIM / 2 + 0.003)))
            parts.append(((WALL / 2, y, RIM / 2), (sign * (x - WALL / 2), 0.0, RIM / 2 + 0.003)))
        for half, position in parts:
            add_box(drawer, half, (0.72, 0.60, 0.45, 1), position=position, mass=0.1)
        stem = (0.5 * (HANDLE[0] - x), 0.0, HANDLE[2])
        add_box(drawer, (-0.5 * (HANDLE[0] + x), 0.006, 0.006), GREY, position=stem, mass=0.01)
        add_box(drawer, HANDLE_HALF, GREY, position=tuple(HANDLE), mass=0.02)
        spec.add_exclude(bodyname1="cabinet", bodyname2="drawer")

    def place_objects(self, random: np.random.Generator) -> None:
        """The drawer shut, the cube on its left or right."""
        cube = random.uniform(*AREA) * [1, random.choice([-1, 1])]
        yaw = random.uniform(-np.pi / 4, np.pi / 4)
        self.body("cube").place(np.array([*cube, HALF]), yaw)
        self.set_tool(START + random.uniform(-START_SPREAD, START_SPREAD, 3))

    def occupied(self) -> Iterator[tuple[Vector, float]]:
        """The cube, the cabinet, and the drawer's way."""
        yield self.body("cube").position[:2], 0.09
        for x in np.arange(0.36, 0.70, 0.08):
            yield np.array([x, 0.0]), 0.13

    def _opening(self) -> float:
        return float(self.data.joint("drawer").qpos[0])

    def _handle(self, back: float = 0.0) -> Vector:
        """The handle's middle (3,), `back` metres towards the robot."""
        place: Vector = np.array([CLOSED_AT - self._opening() - back, 0, 0]) + HANDLE
        return place

    def object_state(self) -> Vector:
        """See the class."""
        return np.concatenate(
            [self.body("cube").cube_state(), [self._opening(), self._handle()[0]]]
        )

    def _cube_is_in(self) -> bool:
        inside = self.data.body("cube").xpos - self.data.body("drawer").xpos
        return bool((np.abs(inside[:2]) < INNER).all() and inside[2] < RIM)

    def is_success(self) -> bool:
        """See the class."""
        tool = self.tool_position()[2]
        return self._cube_is_in() and self._opening() < SHUT and bool(tool > 0.08)

    def progress(self) -> float:
        """A third for opening while the cube is outside, a third for the cube, a third to close."""
        opened = min(1.0, self._opening() / PULL)
        if self._cube_is_in():
            return (3 - opened) / 3
        away = np.linalg.norm(self.body("cube").position - self.body("drawer").position)
        return float((opened + opened * np.exp(-5 * away)) / 3)

    def milestones(self) -> dict[str, bool]:
        """The drawer, the cube, the drawer again."""
        return {
            "reach the handle": self.tool_is_at(self._handle()),
            "pull the drawer open": self._opening() > 0.8 * PULL,
            "lift the cube": bool(self.body("cube").position[2] > HALF + LIFTED),
            "put it into the drawer": self._cube_is_in(),
            "push the drawer shut": self._cube_is_in() and self._opening() < SHUT,
        }

    def script(self, random: np.random.Generator) -> Iterator[Phase]:
        """Pull by the handle, bring the cube, push the handle."""

        def at_handle() -> ToolTarget:
            return ToolTarget(self._handle())

        yield Phase(
            "move above the handle", lambda: at_handle().at_height(CLEARANCE), tolerance=0.012
        )
        yield Phase("lower to the handle", at_handle, tolerance=0.004, disturbance=CAREFUL)
        yield Phase(
            "close the gripper", None, CLOSED, tolerance=1.0, min_steps=8, disturbance=CAREFUL
        )
        yield Phase(
            "pull the drawer open",
            lambda: ToolTarget(self._handle(back=PULL - self._opening())),
            CLOSED,
            tolerance=0.006,
            disturbance=CAREFUL,
            speed=0.2,
        )
        yield Phase(OPEN_THE_GRIPPER, None, OPEN, tolerance=1.0, min_steps=7, disturbance=CAREFUL)
        yield Phase("move up", lambda: at_handle().at_height(CLEARANCE), tolerance=0.02)

        cube = self.body("cube")
        yaw = cube.cube_yaw

        def grasp() -> ToolTarget:
            return ToolTarget(np.array([*cube.position[:2], HALF]), yaw)

        def release() -> ToolTarget:
            inside = self.body("drawer").position - [0.012, 0, 0]
            return ToolTarget(np.array([*inside[:2], HALF + 0.018]))

        yield from pick("the cube", grasp)
        yield from place("the drawer", release, lower="lower into")

        def before() -> ToolTarget:
            return ToolTarget(self._handle(back=0.05))

        yield Phase(
            "move in front of the drawer",
            lambda: before().at_height(CLEARANCE),
            CLOSED,
            tolerance=0.012,
        )
        yield Phase(
            "lower in front of the drawer", before, CLOSED, tolerance=0.005, disturbance=CAREFUL
        )
        contact = HANDLE_HALF[0] + TIP - 0.004
        yield Phase(
            "push the drawer shut",
            lambda: ToolTarget(self._handle(back=contact - self._opening())),
            CLOSED,
            tolerance=0.006,
            disturbance=CAREFUL,
            speed=0.2,
        )
        yield Phase(
            "move up",
            lambda: ToolTarget(self._handle(back=0.03)).at_height(CLEARANCE),
            CLOSED,
            tolerance=0.012,
        )
        yield stay()
