"""gym: any environment that Gymnasium knows, by its id, `gym:Hopper-v5`.

A flat observation is the key `state`, those of a Dict keep their names. What success is, the
environments of Gymnasium do not say, but for few; see `GymnasiumEnv`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from bridle.sim.adapters.base import AdaptedEnv, Advance, Meaning, Vector, one_line
from bridle.sim.adapters.pictures import View
from bridle.sim.adapters.spaces import Actions, NamedKeys, flag
from bridle.sim.exceptions import RenderingError, SimulationError

SUCCESS_KEYS = ("success", "is_success")


def make(task: str, **options: Any) -> "GymnasiumEnv":
    """An environment of Gymnasium.

    Raises:
        SimulationError: there is no such id, something it needs is missing, or an option is wrong.
    """
    return GymnasiumEnv(f"gym:{task}", task, **options)


class GymnasiumEnv(AdaptedEnv):
    """A Gymnasium environment in our terms.

    `info["success"]` is, the first of these that there is:

    1. with the option `success_return`: the episode has ended with at least that return;
    2. `success` or `is_success` in the suite's info;
    3. where the id has a `reward_threshold`: the episode has ended with at least that return;
    4. the episode has come to its last step and was not terminated before: it has survived.

    `info["cost"]` is the suite's `cost`, or 0. Actions are the suite's, see `Actions`.
    """

    def __init__(
        self,
        name: str,
        task: str,
        *,
        success_return: float | None = None,
        max_steps: int | None = None,
        control_dt: float | None = None,
        instruction: str = "",
        **options: Any,
    ) -> None:
        """Make the environment.

        Args:
            name: what a person calls it.
            task: Gymnasium's id.
            success_return: return of a successful episode; None leaves it to the suite.
            max_steps: steps of an episode; None takes the suite's.
            control_dt: time an action is held [s]; None takes the suite's.
            instruction: a sentence that says what to do.
            options: those of `View`, and what the environment itself takes.

        Raises:
            SimulationError: there is no such id, something it needs is missing, or the suite says
                nothing of what is asked for here.
        """
        view = View.take(options)
        self._suite = _made(name, task, max_steps, options)
        self._keys = NamedKeys(name, self._suite.observation_space)
        self._actions = Actions(name, self._suite.action_space)
        super().__init__(
            name,
            keys={key: (n, Meaning("", f"{key} of {task}")) for key, n in self._keys.sizes.items()},
            action_space=self._actions.space,
            action=Meaning("1", self._actions.text),
            control_dt=_control_dt(name, self._suite) if control_dt is None else control_dt,
            max_steps=_max_steps(name, self._suite, max_steps),
            view=view,
        )
        self.goals = (instruction,)
        spec = self._suite.spec
        self._threshold = success_return
        self._asks_suite = success_return is None
        if success_return is None and spec is not None:
            self._threshold = spec.reward_threshold
        self.success_rule = "the suite's own flag; where it has none, " * self._asks_suite + (
            "survival to the last step"
            if self._threshold is None
            else f"a return of at least {self._threshold:g} at the end of the episode"
        )
        self._pictures.usual = _usual_camera(self._suite.unwrapped)
        if not view.camera and "track" in self._cameras():
            self._pictures.standard = "track"
        self._return = 0.0

    def _begin(self, seed: int | None, options: Mapping[str, Any] | None) -> dict[str, Vector]:
        self._return = 0.0
        if seed is not None:
            self._suite.action_space.seed(seed)
        observation, _ = self._suite.reset(
            seed=seed, options=None if options is None else dict(options)
        )
        return self._keys(observation)

    def _advance(self, action: NDArray[np.float32]) -> Advance:
        observation, reward, terminated, truncated, info = self._suite.step(self._actions(action))
        self._return += float(reward)
        truncated = bool(truncated) or self._steps >= self.max_steps
        return Advance(
            seen=self._keys(observation),
            reward=float(reward),
            terminated=bool(terminated),
            truncated=truncated,
            success=self._succeeded(info, bool(terminated), truncated),
            cost=float(info.get("cost", 0.0)),
        )

    def _succeeded(self, info: Mapping[str, Any], terminated: bool, truncated: bool) -> bool:
        said = flag(info, *SUCCESS_KEYS) if self._asks_suite else None
        if said is not None:
            return said
        if self._threshold is not None:
            return (terminated or truncated) and self._return >= self._threshold
        return truncated and not terminated

    def _scene(self) -> tuple[Any, Any] | None:
        for env in _whole(self._suite):
            model, data = (getattr(env, name, None) for name in ("model", "data"))
            if isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData):
                return model, data
        return None

    def _cameras(self) -> tuple[str, ...]:
        scene = self._scene()
        return () if scene is None else tuple(scene[0].cam(i).name for i in range(scene[0].ncam))

    def _draw(self) -> NDArray[np.uint8]:
        try:
            picture = self._suite.render()
        except (DependencyNotInstalled, gymnasium.error.ResetNeeded, NotImplementedError) as error:
            raise RenderingError(f"{self.name} cannot be drawn: {one_line(error)}") from error
        if picture is None:
            raise RenderingError(f"{self.name} cannot be drawn: it knows no rgb_array")
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        """Free what draws."""
        super().close()
        self._suite.close()


def _made(
    name: str, task: str, max_steps: int | None, options: Mapping[str, Any]
) -> gymnasium.Env[Any, Any]:
    if max_steps is not None and max_steps < 1:
        raise SimulationError(f"{name}: max_steps must be at least 1, got {max_steps}")
    limit: dict[str, Any] = {} if max_steps is None else {"max_episode_steps": max_steps}
    try:
        spec = gymnasium.spec(task)
        # Its own renderer is only asked where there is no MuJoCo.
        drawn: dict[str, Any] = (
            {"render_mode": "rgb_array"} if "rgb_array" in _render_modes(spec) else {}
        )
        return gymnasium.make(task, disable_env_checker=True, **limit, **drawn, **options)
    except (gymnasium.error.Error, ImportError) as error:
        raise SimulationError(f"{name}: {one_line(error)}") from error


def _render_modes(spec: Any) -> tuple[str, ...]:
    creator = spec.entry_point
    if isinstance(creator, str):
        creator = gymnasium.envs.registration.load_env_creator(creator)
    return tuple(getattr(creator, "metadata", {}).get("render_modes", ()))


def _whole(suite: gymnasium.Env[Any, Any]) -> Iterator[Any]:
    """A suite's environment, and the one inside in which mazes and kitchens keep their robot."""
    outer = suite.unwrapped
    yield outer
    for name in ("point_env", "ant_env", "robot_env"):
        if hasattr(outer, name):
            yield getattr(outer, name)


def _control_dt(name: str, suite: gymnasium.Env[Any, Any]) -> float:
    """Time of a step [s], from `dt`, `tau` or the frame rate of the suite."""
    for env in _whole(suite):
        for said in ("dt", "tau"):
            seconds = getattr(env, said, None)
            if isinstance(seconds, float) and seconds > 0:
                return seconds
    rate = suite.metadata.get("render_fps")
    if not rate:
        raise SimulationError(f"{name} does not say how long an action is held; give control_dt")
    return 1 / float(rate)


def _max_steps(name: str, suite: gymnasium.Env[Any, Any], asked: int | None) -> int:
    limit = asked or (suite.spec.max_episode_steps if suite.spec is not None else None)
    if limit is None:
        raise SimulationError(f"{name} has no limit of steps; give max_steps")
    return int(limit)


def _usual_camera(env: Any) -> dict[str, Any]:
    """How a suite on MuJoCo places its free camera."""
    renderer = getattr(env, "mujoco_renderer", None)
    return dict(getattr(renderer, "default_cam_config", None) or {})
