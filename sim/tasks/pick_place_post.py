"""pick-place-post: a cube past a post, on the left or on the right: two modes by construction.

Start, cube, post and goal lie on one line away from the robot. The average of going left and going
right is straight on, into the post, which is wider than what a chunk of actions gets past.
"""

from collections.abc import Iterator

import mujoco
import numpy as np

from bridle.sim.objects import GREY, HALF, Vector
from bridle.sim.script import CLEARANCE, CLOSED, Phase, ToolTarget, pick, place, stay
from bridle.sim.tasks.pick_place import PickPlace

POST, POST_RADIUS, POST_HEIGHT = np.array([0.465, 0.0]), 0.055, 0.18
"""Where the post stands, how thick and how high it is [m]."""
CUBE, GOAL, START = np.array([0.30, 0.0]), np.array([0.65, 0.0]), np.array([0.31, 0.0, 0.25])
"""Where cube, goal and tool begin [m]: on the axis of symmetry."""
SPREAD = 0.012
"""How far each may be shifted along the axis [m]."""
SIDE = 0.165
"""How far to the side of the post's middle it is passed [m]."""


class PickPlacePost(PickPlace):
    """Success: the cube lies within 25 mm of the spot behind the post, let go, tool above 5 cm.

    Anything that touches the post costs. `object_state` (8,): cube x, y, z [m], cos and sin of four
    times its yaw, goal x, y, z [m]. The mode is the side of the post on which the cube went past,
    as the robot sees it.
    """

    goals = ("put the cube on the green spot behind the post",)
    modes = ("left", "right")
    obstacles = ("post",)
    phases = (
        "move above the cube",
        "lower to the cube",
        "close the gripper",
        "lift the cube",
        "go past the post on the left",
        "go past the post on the right",
        "move to the goal",
        "lower to the goal",
        "open the gripper",
        "move up",
        "stay",
    )

    @classmethod
    def add_objects(cls, spec: mujoco.MjSpec) -> None:
        """Add a cube, a post and a flat disc that marks the spot."""
        super().add_objects(spec)
        spec.worldbody.add_geom(
            name="post",
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=(POST_RADIUS, POST_HEIGHT / 2, 0),
            pos=(*POST, POST_HEIGHT / 2),
            rgba=GREY,
        )

    def place_objects(self, random: np.random.Generator) -> None:
        """All on the axis of symmetry, each shifted a little along it."""
        shift = random.uniform(-SPREAD, SPREAD, 4)
        self.body("cube").place(np.array([CUBE[0] + shift[0], 0.0, HALF]))
        self.body("goal").place(np.array([GOAL[0] + shift[1], 0.0, 0.0]))
        self.set_tool(START + np.array([shift[2], 0.0, shift[3]]))
        self._mode = ""

    def occupied(self) -> Iterator[tuple[Vector, float]]:
        """Cube, goal and post."""
        yield from super().occupied()
        yield POST, POST_RADIUS

    @property
    def mode(self) -> str:
        """The side on which the cube last went past the post."""
        x, y = self.data.body("cube").xpos[:2]
        if abs(x - POST[0]) < POST_RADIUS and abs(y) > POST_RADIUS:
            self._mode = "left" if y > 0 else "right"
        return self._mode

    def progress(self) -> float:
        """Half for reaching the cube, half for bringing it round the post to the spot."""
        cube = self.body("cube").position
        reach = np.linalg.norm(self.tool_position() - cube)
        # The way left: through a point beside the post while the cube is before it.
        corner = np.array([POST[0], np.copysign(SIDE, cube[1] or 1.0)])
        bring = np.linalg.norm(cube[:2] - self.goal[:2])
        if cube[0] < POST[0]:
            bring = np.linalg.norm(cube[:2] - corner) + np.linalg.norm(corner - self.goal[:2])
        return float(0.5 * np.exp(-5 * reach) + 0.5 * np.exp(-5 * bring))

    def milestones(self) -> dict[str, bool]:
        """As in `pick-place`, with the post on the way."""
        behind = bool(self.body("cube").position[0] > POST[0] + POST_RADIUS)
        first, second, *rest = super().milestones().items()
        return dict([first, second, ("bring it past the post", behind), *rest])

    def script(self, random: np.random.Generator) -> Iterator[Phase]:
        """Pick the cube up, carry it past one side of the post, put it down on the spot."""
        side = "left" if random.random() < 0.5 else "right"
        y = SIDE if side == "left" else -SIDE
        cube = self.body("cube")

        def beside(x: float) -> ToolTarget:
            return ToolTarget(np.array([x, y, CLEARANCE]))

        def past(x: float, tolerance: float) -> Phase:
            words = f"go past the post on the {side}"
            return Phase(words, lambda: beside(x), CLOSED, tolerance=tolerance, room=0.03)

        def release() -> ToolTarget:
            return ToolTarget(np.array([*self.goal[:2], HALF + 0.002]))

        yield from pick("the cube", lambda: ToolTarget(np.array([*cube.position[:2], HALF])))
        yield past(CUBE[0] + 0.04, 0.05)
        yield past(POST[0] + 0.02, 0.05)
        yield from place("the goal", release)
        yield stay()
