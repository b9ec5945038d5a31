"""What every table-top task shares: the robot, the table, its observations and its clock."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, ClassVar

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from bridle.sim.exceptions import SimulationError
from bridle.sim.kinematics import InverseKinematics
from bridle.sim.objects import NEAR, Body
from bridle.sim.options import TabletopOptions
from bridle.sim.pictures import Pictures
from bridle.sim.robots import ur5e
from bridle.sim.scene import add_distractors, add_table
from bridle.sim.script import CORRECTIONS, OPEN_THE_GRIPPER, Phase
from bridle.sim.variation import Randomiser

Vector = NDArray[np.float64]
Observation = dict[str, NDArray[Any]]

PHYSICS_STEPS = 20
"""Physics steps per control step: 50 ms, 20 Hz."""
START, START_SPREAD = np.array([0.45, 0.0, 0.25]), 0.04
"""Where the tool begins, and how far from there at most, per axis [m]."""
DISTRACTOR_AREA = np.array([[0.28, -0.34], [0.66, 0.34]])
"""Where distractors may lie, lower and upper corner [m]."""


@cache
def _compiled(task: type["TabletopEnv"], lowpoly: bool, distractors: int) -> mujoco.MjModel:
    spec = ur5e.build(lowpoly=lowpoly)
    add_table(spec, shadows=not lowpoly)
    task.add_objects(spec)
    add_distractors(spec, distractors)
    return spec.compile()


class TabletopEnv(gym.Env[Any, NDArray[np.float32]], ABC):
    """A UR5e over a table, commanded by absolute joint positions at 20 Hz.

    Observations (float32): `joint_position` (6,) [rad], `joint_velocity` (6,) [rad/s], `gripper`
    (1,) knuckle [rad], `tcp_pose` (9,) position [m] and the first two columns of the rotation
    matrix (Zhou et al. 2019, arXiv 1812.07035), `object_state`, which the task defines, and what
    `TabletopOptions` asks of cameras. Actions: (7,) joint targets [rad] in the order of
    `JOINT_NAMES`, held for 50 ms.

    `info` holds `success` (bool), `cost` (1 when the robot touches the table, anything touches an
    obstacle, or a joint is beyond its limits, else 0), `instruction` (the sentence that says what
    to do) and `mode` (which of the ways to do it was taken, "" when there is one or none yet).
    Episodes depend on their seed alone. Environments with the same task share one compiled model
    unless it is randomised.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    robot: ClassVar[str] = "ur5e_2f85"
    n_object_state: ClassVar[int]
    """Channels of `object_state`."""
    phases: ClassVar[tuple[str, ...]]
    """What an expert may do, in words."""
    goals: ClassVar[tuple[str, ...]]
    """The sentences of which one says what an episode is about."""
    modes: ClassVar[tuple[str, ...]] = ()
    """The ways to do it, if there are several."""
    obstacles: ClassVar[tuple[str, ...]] = ()
    """Geoms that nothing may touch."""
    max_steps: ClassVar[int] = 200

    def __init__(self, **options: Any) -> None:
        """Load the task's model.

        Raises:
            TypeError: there is no such option; `TabletopOptions` has them.
            SimulationError: an option's value is not allowed.
        """
        self.options = TabletopOptions(**options)
        self.render_mode = "rgb_array"
        self.model = _compiled(type(self), self.options.lowpoly, self.options.distractors)
        self._randomiser = None
        if self.options.randomise:
            self.model = copy.copy(self.model)
            self._randomiser = Randomiser(self.model, self.options.randomise)
        self.data = mujoco.MjData(self.model)
        self._index = ur5e.RobotIndex(self.model)
        self._pictures = Pictures(self.model, self.data, self.options)
        low, high = self.model.actuator_ctrlrange[self._index.ctrl].T.copy()
        low, high = (x / self._index.control_per_radian for x in (low, high))
        self.action_space = spaces.Box(low.astype(np.float32), high.astype(np.float32))
        self._lowest, self._highest = low[:6], high[:6]
        sizes = {
            "joint_position": 6,
            "joint_velocity": 6,
            "gripper": 1,
            "tcp_pose": 9,
            "object_state": self.n_object_state,
        }
        state: dict[str, spaces.Space[Any]] = {
            key: spaces.Box(-np.inf, np.inf, (n,), np.float32) for key, n in sizes.items()
        }
        self.observation_space = spaces.Dict(state | self._pictures.spaces())
        self._table = self.model.geom("table").id
        robot = self.model.body("base").id
        self._is_robot = self.model.body_rootid[self.model.geom_bodyid] == robot
        self._is_obstacle = np.zeros(self.model.ngeom, np.bool_)
        self._is_obstacle[[self.model.geom(name).id for name in self.obstacles]] = True
        self._steps = 0
        self._progress = 0.0

    # -- what a task defines -----------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def add_objects(cls, spec: mujoco.MjSpec) -> None:
        """Add the task's objects to the scene."""

    @abstractmethod
    def place_objects(self, random: np.random.Generator) -> None:
        """Put the objects, and the tool, where an episode begins."""

    @abstractmethod
    def object_state(self) -> Vector:
        """The objects' part of the observation."""

    @abstractmethod
    def is_success(self) -> bool:
        """Whether the task is done now."""

    @abstractmethod
    def progress(self) -> float:
        """How much of the task is done, 0 to 1: the potential that a shaped reward is made of."""

    @abstractmethod
    def script(self, random: np.random.Generator) -> Iterable[Phase]:
        """What an expert does, phase by phase; `random` chooses where there is a choice."""

    @abstractmethod
    def occupied(self) -> Iterable[tuple[Vector, float]]:
        """Centres (2,) and radii [m] of discs on the table that distractors stay out of."""

    def milestones(self) -> dict[str, bool]:
        """What is passed on the way to success, in order, and whether it holds now.

        An episode has passed a milestone if it held at any time: what was never passed says where
        it failed.
        """
        return {}

    @property
    def instruction(self) -> str:
        """What to do in this episode, one of `goals`."""
        return self.goals[0]

    @property
    def mode(self) -> str:
        """Which of `modes` was taken in this episode, "" for none yet."""
        return ""

    @classmethod
    def sentences(cls) -> tuple[str, ...]:
        """Every sentence that a demonstration of this task may be labelled with."""
        said = (*cls.phases, *CORRECTIONS, OPEN_THE_GRIPPER, *cls.goals)
        return tuple(dict.fromkeys(said))

    # -- the clock ---------------------------------------------------------------------------------

    @property
    def physics_dt(self) -> float:
        """Time of a physics step [s]."""
        return float(self.model.opt.timestep)

    @property
    def control_dt(self) -> float:
        """Time an action is held [s]."""
        return PHYSICS_STEPS * self.physics_dt

    def advance(self, physics_steps: int) -> None:
        """Run the physics under the present command."""
        mujoco.mj_step(self.model, self.data, physics_steps)

    # -- the robot and the things ------------------------------------------------------------------

    def set_command(self, position: NDArray[np.floating[Any]]) -> None:
        """Command absolute joint positions (7,) [rad].

        Raises:
            SimulationError: not seven finite numbers.
        """
        position = np.asarray(position, np.float64)
        if position.shape != (len(ur5e.JOINT_NAMES),) or not np.isfinite(position).all():
            raise SimulationError(
                f"a command must be {len(ur5e.JOINT_NAMES)} finite joint positions [rad], "
                f"got {position}"
            )
        self.data.ctrl[self._index.ctrl] = position * self._index.control_per_radian

    def joint_state(self) -> tuple[Vector, Vector]:
        """Measured positions (7,) [rad] and velocities (7,) [rad/s]."""
        return self.data.qpos[self._index.qpos], self.data.qvel[self._index.qvel]

    def set_arm(self, position: Vector) -> None:
        """Place the arm (6,) [rad] at rest with an open gripper, and command it to stay."""
        self.data.qpos[self._index.qpos] = [*position, 0.0]
        self.set_command(np.array([*position, 0.0]))

    def set_tool(self, position: Vector) -> None:
        """Place the tool (3,) [m] pointing down, at rest; the same joints for the same place."""
        ik = InverseKinematics(ur5e.HOME)
        for _ in range(20):
            joints = ik.solve(position, 0.0)
        self.set_arm(joints)

    def tool_position(self) -> Vector:
        """Position of the tool centre point [m], as of the last kinematics."""
        position: Vector = self.data.site_xpos[self._index.tcp]
        return position

    def tool_is_at(self, place: Vector) -> bool:
        """Whether the tool has reached a place (3,) [m]."""
        return bool(np.linalg.norm(self.tool_position() - place) < NEAR)

    def tool_yaw(self) -> float:
        """Rotation of the tool, which points down, about the vertical [rad]."""
        rotation = self.data.site_xmat[self._index.tcp]
        return float(np.arctan2(rotation[3], rotation[0]))

    def gripper_share(self) -> float:
        """How far the gripper is closed, 0 to 1."""
        return float(self.data.qpos[self._index.qpos[-1]]) / ur5e.GRIPPER_CLOSED

    def body(self, name: str) -> Body:
        """One of the things on the table."""
        return Body(self.model, self.data, name)

    # -- Gymnasium ---------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; the same seed gives the same episode.

        Distractors and randomisation draw from streams of their own: with or without them, a seed
        has the same layout.
        """
        super().reset(seed=seed)
        variation, self._sampling = self.np_random.spawn(2)
        if self._randomiser is not None:
            self._randomiser.apply(variation)
        mujoco.mj_resetData(self.model, self.data)
        self.place_objects(self.np_random)
        mujoco.mj_kinematics(self.model, self.data)
        self._place_distractors(variation)
        mujoco.mj_forward(self.model, self.data)
        self._steps = 0
        self._progress = self.progress()
        return self.observe(), self._info()

    def _place_distractors(self, random: np.random.Generator) -> None:
        taken = list(self.occupied())
        for i in range(self.options.distractors):
            # Where there is no room left, it lies behind the robot.
            place = np.array([0.05, 0.45 + 0.012 * i])
            for _ in range(200):
                tried = random.uniform(*DISTRACTOR_AREA)
                if all(np.linalg.norm(tried - centre) > r + 0.03 for centre, r in taken):
                    place = tried
                    break
            taken.append((place, 0.03))
            self.body(f"distractor{i}").place(
                np.array([*place, 0.018]), random.uniform(-np.pi, np.pi)
            )

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Hold joint targets (7,) [rad] for one control step; the reward is 1 on success."""
        self.set_command(action)
        self.advance(PHYSICS_STEPS)
        return self.end_step()

    def end_step(self) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """What `step` returns, once its physics has run."""
        return self.observe(), *self.end_unseen()

    def end_unseen(self) -> tuple[float, bool, bool, dict[str, Any]]:
        """The same without the observation, which nobody may need: pictures take their time."""
        self._steps += 1
        mujoco.mj_kinematics(self.model, self.data)
        info = self._info()
        success = info["success"]
        reward = float(success)
        if self.options.reward == "shaped":
            # Differences of a potential leave the best policy as it is (Ng et al. 1999).
            before, self._progress = self._progress, self.progress()
            reward += self._progress - before
        return reward, success, self._steps >= self.max_steps, info

    def observe(self) -> Observation:
        """The observation of this instant."""
        mujoco.mj_kinematics(self.model, self.data)
        position, velocity = self.joint_state()
        rotation = self.data.site_xmat[self._index.tcp].reshape(3, 3)
        pose = np.concatenate([self.tool_position(), rotation[:, 0], rotation[:, 1]])
        observation: Observation = {
            "joint_position": position[:6].astype(np.float32),
            "joint_velocity": velocity[:6].astype(np.float32),
            "gripper": position[6:].astype(np.float32),
            "tcp_pose": pose.astype(np.float32),
            "object_state": self.object_state().astype(np.float32),
        }
        if self.options.cameras:
            mujoco.mj_camlight(self.model, self.data)
            observation |= self._pictures.observe(self._sampling)
        return observation

    def _info(self) -> dict[str, Any]:
        return {
            "success": self.is_success(),
            "cost": float(self._touches() or self._beyond_limits()),
            "instruction": self.instruction,
            "mode": self.mode,
        }

    def touched(self) -> tuple[str, ...]:
        """Names of the bodies that the robot touches, other than its own."""
        pairs = self.data.contact.geom
        ours = self._is_robot[pairs]
        # Of each pair that is half the robot, the other half.
        others = pairs[~ours & ours.any(axis=1)[:, None]]
        return tuple(sorted({self.model.body(self.model.geom_bodyid[g]).name for g in others}))

    def _touches(self) -> bool:
        """Whether the robot touches the table, or anything an obstacle."""
        if not self.data.ncon:
            return False
        pairs = self.data.contact.geom
        on_table = (pairs == self._table).any(1) & self._is_robot[pairs].any(1)
        return bool(on_table.any() or self._is_obstacle[pairs].any())

    def _beyond_limits(self) -> bool:
        """Whether a joint of the arm is past its range or faster than it may be."""
        position, velocity = (x[:6] for x in self.joint_state())
        outside = (position < self._lowest) | (position > self._highest)
        return bool((outside | (np.abs(velocity) > ur5e.MAX_VELOCITY)).any())

    def render(self) -> NDArray[np.uint8]:
        """A picture (height, width, 3) from the camera `front`."""
        return self.render_camera("front")

    def render_camera(
        self, camera: str, width: int | None = None, height: int | None = None
    ) -> NDArray[np.uint8]:
        """A picture (height, width, 3) from a camera of the scene.

        Raises:
            SimulationError: there is no such camera, or the picture is too large.
            RenderingError: nothing on this machine can draw.
        """
        names = [self.model.cam(i).name for i in range(self.model.ncam)]
        if camera not in names:
            raise SimulationError(f"there is no camera {camera!r}; cameras: {', '.join(names)}")
        mujoco.mj_camlight(self.model, self.data)
        return self._pictures.render(camera, width, height)

    def close(self) -> None:
        """Free what draws."""
        self._pictures.close()
