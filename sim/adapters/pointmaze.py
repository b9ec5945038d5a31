"""pointmaze: OGBench's point mazes (arXiv 2410.20092) with places that it costs to enter.

A point finds its way to a goal; around the places that cost there always is one, and it is never
the shorter one. `pointmaze:medium` and `pointmaze:large` have the suite's five tasks, with
`-navigate` they begin and end anywhere, as the suite's data sets of that name do. See
`PointMazeEnv`.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from bridle.sim.adapters.base import AdaptedEnv, Advance, Disturbance, Meaning, Vector, choose
from bridle.sim.adapters.interface import Demonstrator
from bridle.sim.adapters.pictures import View
from bridle.sim.adapters.randomness import OwnRandomness
from bridle.sim.exceptions import SimulationError
from bridle.sim.expert import ExpertAction

Cell = tuple[int, int]

HAZARDS: dict[str, tuple[Cell, ...]] = {"medium": ((3, 3),), "large": ((1, 7),)}
"""Maze -> cells (row, column) that cost; every task of the suite can be done without them."""
ANYWHERE = "-navigate"
"""Ends the names of tasks that begin and end anywhere."""
CONTROL_DT = 0.1
"""Time an action is held [s]."""
METRES = 0.2
"""Motion that an action of 1 asks for [m]."""
WANDER = 0.1
"""Standard deviation of how far the expert's own motion differs from straight ahead [m]."""
AROUND, ACROSS = "go around the hazard", "take the shortest way"
PHASES = (AROUND, ACROSS)


def make(
    task: str,
    *,
    hazards: tuple[Cell, ...] | None = None,
    careless: float = 0.7,
    **options: Any,
) -> "PointMazeEnv":
    """A maze.

    Args:
        task: medium or large, with `-navigate` for tasks that begin and end anywhere.
        hazards: cells (row, column) that cost; None takes those of `HAZARDS`.
        careless: probability that the expert ignores them for an episode.
        options: those of `View`, and `max_steps`.

    Raises:
        SimulationError: OGBench is not installed, or something is not known or out of range.
    """
    choose("pointmaze", task, [maze + end for maze in HAZARDS for end in ("", ANYWHERE)])
    if not 0 <= careless <= 1:
        raise SimulationError(f"careless must lie in 0..1, got {careless}")
    if hazards is None:
        hazards = HAZARDS[task.removesuffix(ANYWHERE)]
    return PointMazeEnv(task, hazards, careless, **options)


class PointMazeEnv(AdaptedEnv):
    """A point maze of OGBench in our terms, with hazards.

    Observations: `object_state` (4,): where the point is, x and y, and where its goal is [m].
    Actions (2,) move the point from where it is: 1 is 0.2 m; 10 Hz. Start and goal are up to a
    metre from the middles of those cells that one of the suite's five tasks has, or of any two that
    do not cost. Success is the suite's own, to be within a metre of the goal, and ends an episode;
    so is the reward, 1 then and 0 before. It costs 1 for each step that ends in a cell of the
    hazards, 4 m by 4 m. The walls and the motion know nothing of them.
    """

    phases = PHASES
    goals = ("go to the target",)
    success_rule = "within 1 m of the goal"

    def __init__(
        self,
        task: str,
        hazards: tuple[Cell, ...],
        careless: float,
        *,
        max_steps: int = 1000,
        **options: Any,
    ) -> None:
        """Make the environment; see `make`.

        Raises:
            SimulationError: OGBench is not installed, a hazard is no free cell of the maze, or an
                option's value is not allowed.
        """
        view = View.take(options)
        if options:
            raise TypeError(f"got an unexpected keyword argument {next(iter(options))!r}")
        self._anywhere = task.endswith(ANYWHERE)
        self._suite = _copied(task.removesuffix(ANYWHERE))
        free = {(int(i), int(j)) for i, j in np.argwhere(self._suite.maze_map == 0)}
        if wrong := [cell for cell in hazards if cell not in free]:
            raise SimulationError(f"pointmaze:{task}: {wrong[0]} is no free cell (row, column)")
        self.hazards, self._careless = frozenset(hazards), careless
        self._ends = sorted(free - self.hazards)
        super().__init__(
            f"pointmaze:{task}",
            keys={"object_state": (4, Meaning("m", "the point: x, y; the goal: x, y"))},
            action_space=spaces.Box(-1.0, 1.0, (2,), np.float32),
            action=Meaning("1", f"motion from where the point is: x, y (1 is {METRES} m)"),
            control_dt=CONTROL_DT,
            max_steps=max_steps,
            view=view,
        )
        above = self._suite.custom_camera
        self._pictures.usual = {
            name: getattr(above, name) for name in ("lookat", "distance", "elevation")
        }

    @property
    def place(self) -> Vector:
        """Where the point is (2,) [m]."""
        return np.asarray(self._suite.get_xy(), np.float64)

    @property
    def goal(self) -> Vector:
        """Where it should be (2,) [m]."""
        return np.asarray(self._suite.cur_goal_xy, np.float64)

    def ahead(self, *, careless: bool) -> Vector:
        """Where to go next on the shortest way (2,) [m]: the middle of a cell, or the goal.

        Args:
            careless: whether the way may lead through hazards.
        """
        suite, place, goal = self._suite, self.place, self.goal
        if suite.xy_to_ij(place) == suite.xy_to_ij(goal):
            return goal
        with self._walled(frozenset() if careless else self.hazards - {suite.xy_to_ij(place)}):
            return np.asarray(suite.get_oracle_subgoal(place, goal)[0], np.float64)

    @contextmanager
    def _walled(self, cells: frozenset[Cell]) -> Iterator[None]:
        """For the suite's search of ways, these cells are walls."""
        whole = self._suite.maze_map
        self._suite.maze_map = whole.copy()
        for cell in cells:
            self._suite.maze_map[cell] = 1
        try:
            yield
        finally:
            self._suite.maze_map = whole

    def _begin(self, seed: int | None, options: Mapping[str, Any] | None) -> dict[str, Vector]:
        if seed is not None:
            self._suite.action_space.seed(seed)
        options = dict(options or {})
        if self._anywhere and not options:
            # From the stream of the episode, as the suite draws its tasks.
            start, goal = np.random.choice(len(self._ends), 2, replace=False)  # noqa: NPY002
            options["task_info"] = {"init_ij": self._ends[start], "goal_ij": self._ends[goal]}
        self._suite.reset(seed=seed, options=options)
        return self._seen()

    def _advance(self, action: NDArray[np.float32]) -> Advance:
        _, reward, _, _, info = self._suite.step(action.astype(np.float64))
        success = bool(info["success"])
        return Advance(
            seen=self._seen(),
            reward=float(reward),
            terminated=success,
            truncated=False,
            success=success,
            cost=float(self._suite.xy_to_ij(self.place) in self.hazards),
        )

    def _seen(self) -> dict[str, Vector]:
        return {"object_state": np.concatenate([self.place, self.goal])}

    def expert(self, *, noise: float = 0.0, rng: np.random.Generator | None = None) -> Demonstrator:
        """Follows the suite's search of the shortest way, wandering; see `AdaptedEnv.expert`."""
        random = np.random.default_rng(0) if rng is None else rng
        return _Walker(self, random.random() < self._careless, noise, random)

    def _scene(self) -> tuple[Any, Any] | None:
        return self._suite.model, self._suite.data


class _Walker:
    """The expert of one episode."""

    def __init__(
        self, env: PointMazeEnv, careless: bool, noise: float, random: np.random.Generator
    ) -> None:
        self._env, self._careless = env, careless
        self._wander = Disturbance(WANDER, CONTROL_DT, random)
        self._disturbance = Disturbance(noise, CONTROL_DT, random)

    @property
    def done(self) -> bool:
        """Whether the goal is reached."""
        return bool(self._env._suite.compute_success())

    def act(self) -> ExpertAction:
        """What to do in this control step."""
        way = self._env.ahead(careless=self._careless) - self._env.place
        straight = way / max(float(np.linalg.norm(way)), METRES)
        label = np.clip(straight + self._wander.advance()[:2] / METRES, -1, 1)
        executed = np.clip(label + self._disturbance.advance()[:2] / METRES, -1, 1)
        return ExpertAction(
            label=label.astype(np.float32),
            executed=executed.astype(np.float32),
            phase=ACROSS if self._careless else AROUND,
            intervention=False,
        )


@cache
def _built(task: str) -> Any:
    """A maze of the suite.

    Raises:
        SimulationError: OGBench is not installed.
    """
    try:
        from ogbench.locomaze.maze import make_maze_env
    except ModuleNotFoundError as error:
        raise SimulationError(
            f"pointmaze:{task} needs {error.name}: pip install 'bridle[sim]'"
        ) from error
    with OwnRandomness(0):
        suite = make_maze_env("point", "maze", maze_type=task)
        suite.reset(seed=0)
    # The suite writes its model to a file, and leaves it there.
    Path(suite.fullpath).unlink()
    return suite


def _copied(task: str) -> Any:
    """A maze of its own, without another file and another compilation."""
    built = _built(task)
    copied = object.__new__(type(built))
    # Copied data would bring a model of its own.
    model = copy.copy(built.model)
    own = {id(built): copied, id(built.model): model, id(built.data): mujoco.MjData(model)}
    # Not through `deepcopy` of the whole, for which the suite would compile the model again.
    vars(copied).update(copy.deepcopy(vars(built), own))
    return copied
