"""metaworld: Meta-World's fifty tasks on a Sawyer (arXiv 1910.10897), `metaworld:pick-place-v3`.

Meta-World does not run on the MuJoCo that Bridle is tested with; see `make`.
"""

import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from bridle.sim.adapters.base import (
    TOOL_POSE,
    AdaptedEnv,
    Advance,
    Disturbance,
    Meaning,
    Vector,
    choose,
    one_line,
    pose,
)
from bridle.sim.adapters.interface import Demonstrator
from bridle.sim.adapters.pictures import View
from bridle.sim.adapters.versions import require_mujoco_below
from bridle.sim.exceptions import SimulationError
from bridle.sim.expert import ExpertAction

TOO_NEW = (3, 17)
"""The first MuJoCo with which Meta-World fails: it has more numbers per equality constraint."""
JOINTS = tuple(f"right_j{i}" for i in range(7))
CURRENT, GOAL = slice(0, 18), slice(36, 39)
"""Of the suite's observation: this instant, without the one before, and the goal."""
STAY = 5
"""Control steps for which an expert stays once it has succeeded."""
INSTALL = (
    "in an environment of its own, pip install 'bridle[sim]' 'mujoco<3.17' and then "
    "pip install --no-deps metaworld"
)


def make(task: str, **options: Any) -> "MetaWorldEnv":
    """An environment of Meta-World.

    Args:
        task: its name, such as `pick-place-v3`.
        options: those of `View`, and `max_steps`.

    Raises:
        SimulationError: Meta-World is not installed or does not fit the installed MuJoCo, or it has
            no such task.
    """
    name = f"metaworld:{task}"
    try:
        kinds = import_module("metaworld.env_dict").ALL_V3_ENVIRONMENTS
        policies = import_module("metaworld.policies").ENV_POLICY_MAP
    except ModuleNotFoundError as error:
        raise SimulationError(f"{name} needs {error.name}: {INSTALL}") from error
    require_mujoco_below(TOO_NEW, name, INSTALL)
    choose("metaworld", task, list(kinds))
    return MetaWorldEnv(task, kinds[task], policies.get(task), **options)


class MetaWorldEnv(AdaptedEnv):
    """A Meta-World environment in our terms.

    Observations: `joint_position` (7,) [rad], `joint_velocity` (7,) [rad/s], `gripper` (1,)
    distance of the fingers [m], `tcp_pose` (9,), and `object_state` (17,): position [m] and
    quaternion of up to two things, as the suite has them, and the goal x, y, z [m].

    Actions (4,): motion of the tool x, y, z (1 is 0.01 m) and effort of the fingers (1 closes);
    80 Hz. Objects and goal are anywhere in the suite's ranges. Success is the suite's own, and ends
    an episode. There is no cost.
    """

    robot = "sawyer"

    def __init__(
        self, task: str, kind: Any, policy: Any, *, max_steps: int | None = None, **options: Any
    ) -> None:
        """Make the environment; see `make`.

        Raises:
            SimulationError: the suite's environment cannot be made.
        """
        view = View.take(options)
        try:
            self._suite = kind(**options)
        except (ValueError, AttributeError, AssertionError) as error:
            raise SimulationError(f"metaworld:{task} cannot be made: {one_line(error)}") from error
        # As the suite's goal-observable classes do, but with a new goal in every episode.
        self._suite._partially_observable = False
        self._suite._freeze_rand_vec = False
        self._suite.seeded_rand_vec = True
        self._suite._set_task_called = True
        self._suite.__dict__.pop("sawyer_observation_space", None)
        self._policy, self._seen_now = policy, np.zeros(39)
        self.succeeded = False
        """Whether the last step did."""
        keys = {
            "joint_position": (7, Meaning("rad", "measured joint positions of the arm")),
            "joint_velocity": (7, Meaning("rad/s", "measured joint velocities of the arm")),
            "gripper": (1, Meaning("m", "distance of the fingers")),
            "tcp_pose": (9, TOOL_POSE),
            "object_state": (17, Meaning("m, 1", "two things and the goal; see MetaWorldEnv")),
        }
        super().__init__(
            f"metaworld:{task}",
            keys=keys,
            action_space=spaces.Box(-1.0, 1.0, (4,), np.float32),
            action=Meaning("1", "motion of the tool x, y, z (1 is 0.01 m), effort of the fingers"),
            control_dt=float(self._suite.dt),
            max_steps=int(self._suite.max_path_length) if max_steps is None else max_steps,
            view=view,
        )
        self._suite.max_path_length = max(self.max_steps, self._suite.max_path_length)
        self._pictures.standard = view.camera or "corner3"
        self.phases = self.goals = (task.rsplit("-v", 1)[0].replace("-", " "),)

    def _begin(self, seed: int | None, options: Mapping[str, Any] | None) -> dict[str, Vector]:
        if seed is not None:
            self._suite.seed(seed)
        # What an episode leaves behind, such as a moved door, must not reach the next one.
        mujoco.mj_resetData(self._suite.model, self._suite.data)
        observation, _ = self._suite.reset()
        self._seen_now, self.succeeded = np.asarray(observation), False
        return self._seen()

    def _advance(self, action: NDArray[np.float32]) -> Advance:
        observation, reward, _, truncated, info = self._suite.step(action)
        self._seen_now = np.asarray(observation)
        self.succeeded = bool(info["success"])
        return Advance(
            seen=self._seen(),
            reward=float(reward),
            terminated=self.succeeded,
            truncated=bool(truncated),
            success=self.succeeded,
        )

    def _seen(self) -> dict[str, Vector]:
        data, now = self._suite.data, self._seen_now
        joints = [data.joint(name) for name in JOINTS]
        return {
            "joint_position": np.concatenate([joint.qpos for joint in joints]),
            "joint_velocity": np.concatenate([joint.qvel for joint in joints]),
            # The suite gives it as a share of 0.1 m.
            "gripper": 0.1 * now[3:4],
            "tcp_pose": pose(now[:3], data.body("hand").xmat),
            "object_state": np.concatenate([now[CURRENT][4:], now[GOAL]]),
        }

    def expert(self, *, noise: float = 0.0, rng: np.random.Generator | None = None) -> Demonstrator:
        """The suite's scripted policy; see `AdaptedEnv.expert`.

        Raises:
            SimulationError: there is none for this task, or the noise is out of range.
        """
        if self._policy is None:
            raise SimulationError(f"{self.name} has no expert")
        random = np.random.default_rng(0) if rng is None else rng
        return _Scripted(self, self._policy(), Disturbance(noise, self.control_dt, random))

    @property
    def suite_observation(self) -> Vector:
        """What the suite observed last (39,)."""
        return self._seen_now

    @property
    def metres_per_action(self) -> float:
        """Motion of the tool that an action of 1 asks for [m]."""
        return float(self._suite.action_scale)

    def _scene(self) -> tuple[Any, Any] | None:
        return self._suite.model, self._suite.data

    def close(self) -> None:
        """Free what draws."""
        super().close()
        self._suite.close()


class _Scripted:
    """Plays one of the suite's policies; its one phase is what the task is called."""

    def __init__(self, env: MetaWorldEnv, policy: Any, disturbance: Disturbance) -> None:
        self._env, self._policy, self._disturbance = env, policy, disturbance
        self._succeeded = 0

    @property
    def done(self) -> bool:
        """Whether it has succeeded and stayed for a moment."""
        return self._succeeded >= STAY

    def act(self) -> ExpertAction:
        """What to do in this control step."""
        self._succeeded += int(self._env.succeeded)
        with warnings.catch_warnings():
            # That actions are clipped is what the policies are made for.
            warnings.simplefilter("ignore")
            wanted = np.asarray(self._policy.get_action(self._env.suite_observation), np.float64)
        wanted = np.clip(wanted, -1, 1)
        # Motions add up: what is added is how far the disturbance wanders in this step.
        before = self._disturbance.offset
        step = (self._disturbance.advance() - before) / self._env.metres_per_action
        executed = np.append(np.clip(wanted[:3] + step, -1, 1), wanted[3:])
        return ExpertAction(
            label=wanted.astype(np.float32),
            executed=executed.astype(np.float32),
            phase=self._env.goals[0],
            intervention=False,
        )
