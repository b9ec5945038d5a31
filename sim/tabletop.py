"""What every table-top task shares: the robot, the table, its observations and its clock."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from bridle.sim.exceptions import SimulationError
from bridle.sim.rendering import Renderer
from bridle.sim.robots import ur5e
from bridle.sim.script import Phase

Vector = NDArray[np.float64]

PHYSICS_STEPS = 10
"""Physics steps per control step: 50 ms, 20 Hz."""


def add_table(spec: mujoco.MjSpec) -> None:
    """A table whose top is the plane z = 0, light, and the camera `front`."""
    world = spec.worldbody
    world.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(0.45, 0.60, 0.02),
        pos=(0.45, 0, -0.02),
        rgba=(0.80, 0.74, 0.64, 1),
        friction=(1, 0.005, 0.0001),
    )
    world.add_geom(
        name="pedestal",
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=(0.09, 0.05, 0),
        pos=(0, 0, -0.049),
        rgba=(0.35, 0.37, 0.40, 1),
        contype=0,
        conaffinity=0,
    )
    world.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=(4, 4, 0.1),
        pos=(0, 0, -0.5),
        rgba=(0.92, 0.93, 0.95, 1),
        contype=0,
        conaffinity=0,
    )
    world.add_light(
        pos=(0.3, -0.8, 2.0),
        dir=(0.1, 0.4, -1),
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        diffuse=(0.40, 0.40, 0.40),
    )
    world.add_light(
        pos=(1.5, 0.8, 1.5),
        dir=(-1, -0.5, -1),
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        diffuse=(0.20, 0.20, 0.22),
    )
    # Looks at the middle of the table from in front of the robot, a little from the side.
    eye, target = np.array([1.25, -0.55, 0.75]), np.array([0.40, 0.0, 0.08])
    backward = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross([0, 0, 1], backward)
    right /= np.linalg.norm(right)
    up = np.cross(backward, right)
    world.add_camera(name="front", pos=eye, xyaxes=[*right, *up], fovy=45)
    spec.visual.headlight.ambient = (0.35, 0.35, 0.35)
    spec.visual.headlight.diffuse = (0.15, 0.15, 0.15)
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=(0.75, 0.82, 0.90),
        rgb2=(0.95, 0.96, 0.98),
        width=64,
        height=384,
    )
    spec.visual.quality.offsamples = 0
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960


@cache
def _compiled(task: type["TabletopEnv"]) -> mujoco.MjModel:
    spec = ur5e.build()
    add_table(spec)
    task.add_objects(spec)
    return spec.compile()


class TabletopEnv(gym.Env[Any, NDArray[np.float32]], ABC):
    """A UR5e over a table, commanded by absolute joint positions at 20 Hz.

    Observations (float32): `joint_position` (6,) [rad], `joint_velocity` (6,) [rad/s], `gripper`
    (1,) knuckle [rad], `tcp_pose` (9,) position [m] and the first two columns of the rotation
    matrix (Zhou et al. 2019, arXiv 1812.07035), and `object_state`, which the task defines.
    Actions: (7,) joint targets [rad] in the order of `JOINT_NAMES`, held for 50 ms.

    `info` holds `success` (bool) and `cost` (1 when the robot touches the table, else 0). Episodes
    depend on their seed alone. All environments of a task share one compiled model.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    n_object_state: int
    """Channels of `object_state`."""
    phases: tuple[str, ...]
    """What an expert does, in words and in order."""
    max_steps = 200

    def __init__(self, *, render_width: int = 320, render_height: int = 240) -> None:
        """Load the task's model; pictures are `render_width` x `render_height`."""
        self.render_mode = "rgb_array"
        self.model = _compiled(type(self))
        self.data = mujoco.MjData(self.model)
        self._index = ur5e.RobotIndex(self.model)
        self._size = (render_width, render_height)
        self._renderer: Renderer | None = None
        low, high = self.model.actuator_ctrlrange[self._index.ctrl].T.copy()
        low, high = (x / self._index.control_per_radian for x in (low, high))
        self.action_space = spaces.Box(low.astype(np.float32), high.astype(np.float32))
        sizes = {
            "joint_position": 6,
            "joint_velocity": 6,
            "gripper": 1,
            "tcp_pose": 9,
            "object_state": self.n_object_state,
        }
        self.observation_space = spaces.Dict(
            {key: spaces.Box(-np.inf, np.inf, (n,), np.float32) for key, n in sizes.items()}
        )
        self._table = self.model.geom("table").id
        robot = self.model.body("base").id
        self._is_robot = self.model.body_rootid[self.model.geom_bodyid] == robot
        self._steps = 0

    # -- what a task defines -----------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def add_objects(cls, spec: mujoco.MjSpec) -> None:
        """Add the task's objects to the scene."""

    @abstractmethod
    def place_objects(self, random: np.random.Generator) -> None:
        """Put the objects where an episode begins."""

    @abstractmethod
    def object_state(self) -> Vector:
        """The objects' part of the observation."""

    @abstractmethod
    def is_success(self) -> bool:
        """Whether the task is done now."""

    @abstractmethod
    def script(self) -> list[Phase]:
        """What an expert does, phase by phase."""

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

    # -- the robot ---------------------------------------------------------------------------------

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

    def tool_position(self) -> Vector:
        """Position of the tool centre point [m], as of the last kinematics."""
        position: Vector = self.data.site_xpos[self._index.tcp]
        return position

    # -- Gymnasium ---------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        """Begin an episode; the same seed gives the same episode."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.place_objects(self.np_random)
        mujoco.mj_forward(self.model, self.data)
        self._steps = 0
        return self.observe(), self._info()

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, NDArray[np.float32]], float, bool, bool, dict[str, Any]]:
        """Hold joint targets (7,) [rad] for one control step; the reward is 1 on success."""
        self.set_command(action)
        self.advance(PHYSICS_STEPS)
        return self.end_step()

    def end_step(
        self,
    ) -> tuple[dict[str, NDArray[np.float32]], float, bool, bool, dict[str, Any]]:
        """What `step` returns, once its physics has run."""
        self._steps += 1
        observation, info = self.observe(), self._info()
        success = info["success"]
        return observation, float(success), success, self._steps >= self.max_steps, info

    def observe(self) -> dict[str, NDArray[np.float32]]:
        """The observation of this instant."""
        mujoco.mj_kinematics(self.model, self.data)
        position, velocity = self.joint_state()
        rotation = self.data.site_xmat[self._index.tcp].reshape(3, 3)
        pose = np.concatenate([self.tool_position(), rotation[:, 0], rotation[:, 1]])
        return {
            "joint_position": position[:6].astype(np.float32),
            "joint_velocity": velocity[:6].astype(np.float32),
            "gripper": position[6:].astype(np.float32),
            "tcp_pose": pose.astype(np.float32),
            "object_state": self.object_state().astype(np.float32),
        }

    def _info(self) -> dict[str, Any]:
        pairs = self.data.contact.geom
        touching = (pairs == self._table).any(1) & self._is_robot[pairs].any(1)
        return {"success": self.is_success(), "cost": float(touching.any())}

    def render(self) -> NDArray[np.uint8]:
        """A picture (height, width, 3) from the camera `front`."""
        if self._renderer is None:
            self._renderer = Renderer(self.model, *self._size)
        return self._renderer.render(self.data, "front")

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
