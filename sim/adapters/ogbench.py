"""ogbench: OGBench's manipulation tasks (arXiv 2410.20092), `ogbench:cube-single-v0`, with experts.

A UR5e with a Robotiq 2F-85 moves cubes, presses buttons, and opens and closes a drawer and a
window. See `OGBenchEnv`.
"""

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator
from numpy.typing import NDArray

from bridle.sim.adapters.base import (
    TOOL_POSE,
    AdaptedEnv,
    Advance,
    Meaning,
    Vector,
    choose,
    pose,
)
from bridle.sim.adapters.interface import Demonstrator
from bridle.sim.adapters.ogbench_oracles import ORACLES, Kind, OracleExpert, Thing, phases_of
from bridle.sim.adapters.pictures import View
from bridle.sim.adapters.randomness import OwnRandomness
from bridle.sim.exceptions import SimulationError

Mode = Literal["data_collection", "task"]

CONTROL_DT = 0.05
"""Time an action is held [s]."""
COLOURS = ("red", "blue", "orange", "green", "purple", "yellow", "magenta", "grey")
"""Of the suite's cubes, in order."""
ACTION = Meaning(
    "1",
    "motion of the tool from where it is: x, y, z (1 is 0.05 m), yaw (1 is 0.3 rad), and of the "
    "gripper (1 closes it wholly)",
)


def make(
    task: str, *, mode: Mode | None = None, oracle: Kind = "plan", **options: Any
) -> "OGBenchEnv":
    """An environment of OGBench.

    Args:
        task: cube-*, scene-* or puzzle-*, also *-singletask-*.
        mode: `data_collection` sets one thing a goal, anywhere, and has experts; `task` sets all of
            them one of five goals, as for evaluation. By default the first, for single tasks the
            second.
        oracle: expert: `plan` follows a planned way, `markov` decides anew in every step.
        options: those of `View`, `max_steps`, and what the suite's environment takes.

    Raises:
        SimulationError: OGBench is not installed, or something is not known.
    """
    try:
        with _quiet():
            import ogbench  # noqa: F401  (registers its environments)
    except ModuleNotFoundError as error:
        raise SimulationError(
            f"ogbench:{task} needs {error.name}: pip install 'bridle[sim]'"
        ) from error
    known = [
        name
        for name, spec in gymnasium.registry.items()
        if str(spec.entry_point).startswith("ogbench.manipspace")
    ]
    choose("ogbench", task, [name for name in known if not name.startswith("visual-")])
    mode = mode or ("task" if "singletask" in task else "data_collection")
    if mode not in ("data_collection", "task"):
        raise SimulationError(f"mode must be data_collection or task, got {mode!r}")
    if "singletask" in task and mode != "task":
        raise SimulationError(f"ogbench:{task} has a goal of its own: its mode is task")
    if oracle not in ORACLES:
        raise SimulationError(f"oracle must be one of {', '.join(ORACLES)}, got {oracle!r}")
    return OGBenchEnv(task, mode, oracle, **options)


class OGBenchEnv(AdaptedEnv):
    """An OGBench environment in our terms.

    Observations: `joint_position` (6,) [rad], `joint_velocity` (6,) [rad/s], `gripper` (1,)
    knuckle [rad], `tcp_pose` (9,), and `object_state`: how hard the fingers touch something (1,)
    0..1; for each cube x, y, z [m], its quaternion, and cos and sin of its yaw; for each button
    what it shows, one-hot (2,), its position [m] and velocity [m/s]; for drawer and window
    position [m] and velocity [m/s]; and then the goal.

    In the mode `data_collection` the goal is: which thing is meant, one-hot (cubes, buttons,
    drawer, window), where it should be x, y, z [m], cos and sin of the yaw it should have (cubes),
    and what it should be (button: the state to show; drawer, window: position [m]). In the mode
    `task` it is where every cube should be, x, y, z [m], what every button should show, and the
    positions of drawer and window [m].

    Actions (5,) move the tool relative to where it is; 20 Hz. Success is the suite's own (a cube
    within 4 cm of its goal, and so on), and ends an episode. There is no cost.
    """

    robot = "ur5e_2f85"

    def __init__(
        self, task: str, mode: Mode, oracle: Kind, *, max_steps: int | None = None, **options: Any
    ) -> None:
        """Make the environment; see `make`.

        Raises:
            SimulationError: an option's value is not allowed.
        """
        view = View.take(options)
        self._mode, self._oracle = mode, oracle
        spec = gymnasium.spec(task)
        self._info_now: dict[str, Any] = {}
        with OwnRandomness(0):
            self._suite = _copied(task, mode, tuple(sorted(options.items())))
            self.things = _things(self._suite)
            """What can be meant."""
            seen = self._begin(0, None)
        meanings = {
            "joint_position": Meaning("rad", "measured joint positions of the arm"),
            "joint_velocity": Meaning("rad/s", "measured joint velocities of the arm"),
            "gripper": Meaning("rad", "measured knuckle joint of the gripper, 0 is open"),
            "tcp_pose": TOOL_POSE,
            "object_state": Meaning("m, m/s, 1", "touch, objects and goal; see OGBenchEnv"),
        }
        super().__init__(
            f"ogbench:{task}",
            keys={key: (len(seen[key]), meaning) for key, meaning in meanings.items()},
            action_space=spaces.Box(-1.0, 1.0, (5,), np.float32),
            action=ACTION,
            control_dt=CONTROL_DT,
            max_steps=int(spec.max_episode_steps or 200) if max_steps is None else max_steps,
            view=view,
        )
        self._pictures.standard = view.camera or "front"
        if mode == "data_collection":
            self.goals = tuple(dict.fromkeys(s for thing in self.things for s in thing.goals))
            self.phases = phases_of(self.things)
        else:
            self.goals = tuple(_task_words(info) for info in self._suite.task_infos)

    def _begin(self, seed: int | None, options: Mapping[str, Any] | None) -> dict[str, Vector]:
        if seed is not None:
            self._suite.action_space.seed(seed)
        _, self._info_now = self._suite.reset(seed=seed, options=dict(options or {}))
        return self._seen()

    def _advance(self, action: NDArray[np.float32]) -> Advance:
        _, reward, _, _, self._info_now = self._suite.step(action)
        success = bool(self._info_now["success"])
        return Advance(
            seen=self._seen(),
            reward=float(reward),
            terminated=success,
            truncated=False,
            success=success,
        )

    def _seen(self) -> dict[str, Vector]:
        info, suite = self._info_now, self._suite
        matrix = suite.data.site_xmat[suite._pinch_site_id]
        knuckle = suite.model.jnt_qposadr[suite._gripper_opening_joint_id]
        return {
            "joint_position": info["proprio/joint_pos"],
            "joint_velocity": info["proprio/joint_vel"],
            "gripper": suite.data.qpos[[knuckle]],
            "tcp_pose": pose(info["proprio/effector_pos"], matrix),
            "object_state": np.concatenate(
                [
                    info["proprio/gripper_contact"],
                    *map(self._thing_state, self.things),
                    self._goal(),
                ]
            ),
        }

    def _thing_state(self, thing: Thing) -> Vector:
        info, i = self._info_now, thing.index
        if thing.kind == "cube":
            key = f"privileged/block_{i}"
            return np.concatenate(
                [info[f"{key}_pos"], info[f"{key}_quat"], _heading(info[f"{key}_yaw"])]
            )
        if thing.kind == "button":
            key = f"privileged/button_{i}"
            shown = np.eye(self._suite._num_button_states)[info[f"{key}_state"]]
            return np.concatenate([shown, info[f"{key}_pos"], info[f"{key}_vel"]])
        key = f"privileged/{thing.kind}"
        return np.concatenate([info[f"{key}_pos"], info[f"{key}_vel"]])

    def target(self) -> Thing:
        """What the episode is about, in the mode `data_collection`."""
        info = self._info_now
        kind = info["privileged/target_task"]
        key = {"cube": "privileged/target_block", "button": "privileged/target_button"}.get(kind)
        index = 0 if key is None else int(info[key])
        return next(t for t in self.things if t.kind == kind and t.index == index)

    def _goal(self) -> Vector:
        info = self._info_now
        if self._mode == "task":
            return self._task_goal()
        thing = self.target()
        meant = np.array([float(thing is other) for other in self.things])
        heading, value = np.zeros(2), np.zeros(1)
        if thing.kind == "cube":
            where = info["privileged/target_block_pos"]
            heading = _heading(info["privileged/target_block_yaw"])
        elif thing.kind == "button":
            where = info["privileged/target_button_top_pos"]
            value = np.atleast_1d(info["privileged/target_button_state"])
        else:
            where = info[f"privileged/target_{thing.kind}_handle_pos"]
            value = info[f"privileged/target_{thing.kind}_pos"]
        return np.concatenate([meant, where, heading, value])

    def _task_goal(self) -> Vector:
        suite = self._suite
        parts = [suite.data.mocap_pos[i] for i in getattr(suite, "_cube_target_mocap_ids", ())]
        parts.append(np.asarray(getattr(suite, "_target_button_states", ())))
        for name in ("_target_drawer_pos", "_target_window_pos"):
            if hasattr(suite, name):
                parts.append(np.array([getattr(suite, name)]))
        return np.concatenate([np.asarray(part, np.float64) for part in parts])

    @property
    def instruction(self) -> str:
        """What to do in this episode, one of `goals`."""
        if self._mode == "task":
            return _task_words(self._suite.cur_task_info)
        thing = self.target()
        if thing.kind in ("cube", "button"):
            return thing.goals[0]
        opens = abs(float(self._info_now[f"privileged/target_{thing.kind}_pos"][0])) > 0.05
        return thing.goals[0 if opens else 1]

    def expert(self, *, noise: float = 0.0, rng: np.random.Generator | None = None) -> Demonstrator:
        """The suite's oracle for what this episode is about; see `AdaptedEnv.expert`.

        Raises:
            SimulationError: the mode is `task`, which has none, or the noise is out of range.
        """
        if self._mode == "task":
            raise SimulationError(
                f"{self.name} has an expert in the mode data_collection only, and this one is task"
            )
        return OracleExpert(
            self, self._oracle, noise, np.random.default_rng(0) if rng is None else rng
        )

    @property
    def suite(self) -> Any:
        """The suite's own environment."""
        return self._suite

    @property
    def suite_info(self) -> Mapping[str, Any]:
        """What the suite said last."""
        return self._info_now

    def _scene(self) -> tuple[Any, Any] | None:
        return self._suite.model, self._suite.data


def _heading(yaw: Vector) -> Vector:
    return np.array([np.cos(yaw[0]), np.sin(yaw[0])])


def _task_words(info: Mapping[str, Any]) -> str:
    return str(info["task_name"]).replace("_", " ")


def _things(suite: Any) -> tuple[Thing, ...]:
    cubes = getattr(suite, "_num_cubes", 0)
    buttons = getattr(suite, "_num_buttons", 0)
    slides = hasattr(suite, "_target_drawer_pos")
    things = []
    for i in range(cubes):
        name = f"the {COLOURS[i]} cube"
        things.append(Thing("cube", i, name, (f"put {name} on its target",)))
    for i in range(buttons):
        # In a scene the first button locks the drawer, the second the window.
        name = f"the lock of the {('drawer', 'window')[i]}" if slides else f"button {i + 1}"
        things.append(Thing("button", i, name, (f"press {name}",)))
    for name in ("drawer", "window") if slides else ():
        goals = (f"open the {name}", f"close the {name}")
        things.append(Thing(name, 0, f"the handle of the {name}", goals))
    return tuple(things)


@cache
def _built(task: str, mode: Mode, options: tuple[tuple[str, Any], ...]) -> Any:
    """An environment of the suite that has been reset once, so that its model is compiled."""
    spec = gymnasium.spec(task)
    with _quiet():
        creator: Any = load_env_creator(str(spec.entry_point))

    class Seeded(creator):  # type: ignore[misc]
        """The suite's, with one space of actions: it draws from a new, unseeded one each time."""

        def __init__(self, **kwargs: Any) -> None:
            self._space = spaces.Box(-1.0, 1.0, (5,), np.float32)
            super().__init__(**kwargs)

        @property
        def action_space(self) -> spaces.Box:
            return self._space

    settings = {"terminate_at_goal": False, **dict(spec.kwargs), **dict(options), "mode": mode}
    suite = Seeded(**settings)
    with _quiet():
        suite.reset(seed=0)
    return suite


def _copied(task: str, mode: Mode, options: tuple[tuple[str, Any], ...]) -> Any:
    """An environment of the suite. Building one takes a second, copying a tenth of that."""
    built = _built(task, mode, options)
    # The description that the model was compiled from is only read, and what inverse kinematics
    # writes it reads in the same call; both are large.
    shared = {id(value): value for value in vars(built).values() if _is_description(value)}
    shared[id(built._ik)] = built._ik
    # Copied data would bring a model of its own.
    model = copy.copy(built._model)
    shared |= {id(built._model): model, id(built._data): mujoco.MjData(model)}
    return copy.deepcopy(built, shared)


@contextmanager
def _quiet() -> Iterator[None]:
    """Where there is no screen, what the suite imports warns of that, and nobody asked for one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _is_description(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_is_description, value))
    return type(value).__module__.startswith("dm_control")
