"""How fast the table-top tasks run, beside the same physics in bare C.

Environments replay the commands of an expert, contacts and all, and `mujoco.rollout` replays the
same controls from the same states. They take turns of a few control steps, every turn is played
several times, and the fastest time of each counts: what else runs on the machine slows all of them
alike, and most of that is left out.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import Any

import mujoco
import numpy as np
from mujoco.rollout import Rollout
from numpy.typing import NDArray

from bridle.sim.exceptions import RenderingError, SimulationError
from bridle.sim.expert import Expert
from bridle.sim.tabletop import PHYSICS_STEPS, TabletopEnv
from bridle.sim.tasks import TASKS
from bridle.sim.vector import TabletopVectorEnv

Vector = NDArray[np.float64]

THREADS = (1, 2)
"""Threads of the batched environments and of the bound."""
NOISE = 0.01
"""Disturbance of the expert whose commands are replayed [m]."""
DRAWS = 10
"""Times every picture is drawn; the fastest counts."""
PICTURE = 96
"""Width and height of a picture [px]."""
_STATE = int(mujoco.mjtState.mjSTATE_FULLPHYSICS)
# Objects that are put in their place, such as bins, are mocap bodies: a rollout must be told where.
_CONTROL = int(
    mujoco.mjtState.mjSTATE_CTRL
    | mujoco.mjtState.mjSTATE_MOCAP_POS
    | mujoco.mjtState.mjSTATE_MOCAP_QUAT
)


@dataclass(frozen=True)
class SimBenchmarkConfig:
    """Sizes of the measurement."""

    envs: int = 8
    """Environments of a batch."""
    steps: int = 500
    """Control steps of an episode at most; it ends with the first success."""
    turn: int = 4
    """Control steps of a turn: short, for a busy machine lets few long ones pass undisturbed."""
    rounds: int = 4
    """Times every turn is played at least; the fastest counts."""
    seconds: float = 8.0
    """Time to play a task at least [s], so that short episodes are played often."""
    pictures: int = 50
    """States of which pictures are drawn; 0 for none."""
    seed: int = 0
    """Seed of the first episode."""

    def __post_init__(self) -> None:
        for name in ("envs", "steps", "turn", "rounds"):
            if getattr(self, name) < 1:
                raise SimulationError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("seconds", "pictures"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise SimulationError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class StepRate:
    """One way to step environments."""

    envs: int
    threads: int
    steps_per_second: float
    """Control steps of one environment."""
    bound_steps_per_second: float
    """The same of `mujoco.rollout` with as many threads."""
    step_fraction: float
    """The first as a fraction of the second."""


@dataclass(frozen=True)
class TaskBenchmark:
    """What was measured of a task."""

    step_fraction: float
    """The least of the three ways."""
    steps_per_second: float
    """Of one environment."""
    bound_steps_per_second: float
    """Of `mujoco.rollout` on one thread."""
    single: StepRate
    """One environment, `env.step`."""
    batched_1_thread: StepRate
    """`TabletopVectorEnv`, `threads=1`."""
    batched_2_threads: StepRate
    """`TabletopVectorEnv`, `threads=2`."""
    control_steps: int
    """Length of the episodes that were replayed."""
    mean_contacts: float
    """Contacts in the states that were visited."""
    same_states: bool
    """Whether environments and bound were in the same states at the end of every turn."""
    render_fps_96: float | None
    """96 x 96 pictures per second from the camera `front`; None where nothing can draw."""


def measure(task: str, config: SimBenchmarkConfig) -> TaskBenchmark:
    """Measure one of our own tasks, state only.

    Raises:
        SimulationError: there is no such task.
    """
    require_own(task)
    turns = _Turns(task, config)
    try:
        return _measured(turns, config)
    finally:
        turns.close()


def require_own(task: str) -> None:
    """Refuse what is not measured.

    Raises:
        SimulationError: it is none of our own tasks.
    """
    if task not in TASKS:
        raise SimulationError(f"{task!r} is none of our own tasks: {', '.join(TASKS)}")


def _measured(turns: "_Turns", config: SimBenchmarkConfig) -> TaskBenchmark:
    began, rounds = time.monotonic(), 0
    while rounds < config.rounds or time.monotonic() - began < config.seconds:
        turns.play()
        rounds += 1
    steps = turns.length * config.envs
    seconds = {contender: float(times.sum()) for contender, times in turns.seconds.items()}
    ways = [("single", 1, 1), *(("batched", config.envs, threads) for threads in THREADS)]
    single, *batched = (
        _rate(seconds[name, threads], seconds["bound", threads], steps, envs, threads)
        for name, envs, threads in ways
    )
    return TaskBenchmark(
        step_fraction=min(rate.step_fraction for rate in (single, *batched)),
        steps_per_second=single.steps_per_second,
        bound_steps_per_second=single.bound_steps_per_second,
        single=single,
        batched_1_thread=batched[0],
        batched_2_threads=batched[1],
        control_steps=turns.length,
        mean_contacts=float(np.mean(turns.contacts)),
        same_states=turns.same_states,
        render_fps_96=turns.picture_rate() if config.pictures else None,
    )


def _rate(seconds: float, bound_seconds: float, steps: int, envs: int, threads: int) -> StepRate:
    ours, theirs = steps / seconds, steps / bound_seconds
    return StepRate(envs, threads, ours, theirs, ours / theirs)


class _Turns:
    """Environments and bounds that replay the same episodes in turns."""

    def __init__(self, task: str, config: SimBenchmarkConfig) -> None:
        self._config = config
        makers = [TASKS[task]] * config.envs
        self.envs: Sequence[TabletopEnv] = [make() for make in makers]
        self._batched = {
            n: TabletopVectorEnv(makers, threads=n, autoreset_mode="Disabled", copy=False)
            for n in THREADS
        }
        self._rollouts = {n: Rollout(nthread=n if n > 1 else 0) for n in THREADS}
        model = self.envs[0].model
        self._models = [model] * config.envs
        self._data = [mujoco.MjData(model) for _ in range(max(THREADS))]
        self._seeds = [config.seed + i for i in range(config.envs)]
        played = [_record(self.envs[0], seed, config.steps) for seed in self._seeds]
        self.length = min(map(len, played))
        # (steps, envs, 7): every episode up to the first success of any.
        self._commands = np.stack([commands[: self.length] for commands in played], axis=1)
        contenders = [("single", 1), *((w, n) for n in THREADS for w in ("bound", "batched"))]
        n_turns = len(range(0, self.length, config.turn))
        self.seconds = {contender: np.full(n_turns, np.inf) for contender in contenders}
        """Contender -> the fastest time of every turn [s]."""
        self.contacts: list[int] = []
        self.same_states = True

    def _reset(self) -> None:
        for env, seed in zip(self.envs, self._seeds, strict=True):
            env.reset(seed=seed)

    def play(self) -> None:
        """All episodes once."""
        self._reset()
        for batch in self._batched.values():
            batch.reset(seed=list(self._seeds))
        order = cycle(self.seconds)
        for turn, begin in enumerate(range(0, self.length, self._config.turn)):
            # Who comes first changes from turn to turn.
            next(order)
            commands = self._commands[begin : begin + self._config.turn]
            self._turn(turn, commands, list(islice(order, len(self.seconds))))

    def _turn(
        self, turn: int, commands: NDArray[np.float32], order: Sequence[tuple[str, int]]
    ) -> None:
        bound = self._bound(commands)
        work: dict[tuple[str, int], Callable[[], Any]] = {
            ("single", 1): partial(_step_each, self.envs, commands)
        }
        for n in THREADS:
            work["batched", n] = partial(_step_all, self._batched[n], commands)
            work["bound", n] = partial(bound, n)
        for contender in order:
            seconds = self.seconds[contender]
            seconds[turn] = min(seconds[turn], _seconds(work[contender]))
        self.contacts += [int(env.data.ncon) for env in self.envs]
        ends = [bound.last, *(_states(batch.tabletops) for batch in self._batched.values())]
        mine = _states(self.envs)
        self.same_states &= all(np.array_equal(mine, end) for end in ends)

    def picture_rate(self) -> float | None:
        """Pictures per second of states along the first episode; None if nothing can draw."""
        self._reset()
        env = self.envs[0]
        draw = partial(env.render_camera, "front", PICTURE, PICTURE)
        seen = np.linspace(0, self.length - 1, self._config.pictures).astype(int)
        try:
            draw()
        except RenderingError:
            return None
        total = 0.0
        for step, command in enumerate(self._commands[:, 0]):
            env.step(command)
            if drawn := int((seen == step).sum()):
                total += drawn * min(_seconds(draw) for _ in range(DRAWS))
        return self._config.pictures / total

    def close(self) -> None:
        """Stop threads and free what draws."""
        for rollout in self._rollouts.values():
            rollout.close()
        for batch in self._batched.values():
            batch.close()
        for env in self.envs:
            env.close()

    def _bound(self, commands: NDArray[np.float32]) -> "_Bound":
        return _Bound(self._rollouts, self._models, self._data, self.envs, commands)


class _Bound:
    """The physics of a turn as `mujoco.rollout` runs it; nothing is prepared while it is timed."""

    def __init__(
        self,
        rollouts: dict[int, Rollout],
        models: list[mujoco.MjModel],
        data: list[mujoco.MjData],
        envs: Sequence[TabletopEnv],
        commands: NDArray[np.float32],
    ) -> None:
        self._rollouts, self._models, self._data = rollouts, models, data
        self._steps = PHYSICS_STEPS * len(commands)
        self._initial = _states(envs)
        self._warmstart = np.array([env.data.qacc_warmstart for env in envs])
        # A control step is so many equal physics steps.
        self._control = np.repeat(_controls(envs, commands), PHYSICS_STEPS, axis=1)
        n, model = len(envs), models[0]
        self._states = np.zeros((n, self._steps, self._initial.shape[1]))
        self._sensors = np.zeros((n, self._steps, model.nsensordata))

    def __call__(self, threads: int) -> None:
        self._rollouts[threads].rollout(
            self._models,
            self._data[:threads],
            self._initial,
            self._control,
            control_spec=_CONTROL,
            skip_checks=True,
            nstep=self._steps,
            initial_warmstart=self._warmstart,
            state=self._states,
            sensordata=self._sensors,
        )

    @property
    def last(self) -> Vector:
        """States at the end (envs, n)."""
        end: Vector = self._states[:, -1]
        return end


def _record(env: TabletopEnv, seed: int, steps: int) -> NDArray[np.float32]:
    """Commands (T, 7) of an expert until it succeeds, for at most `steps` control steps."""
    env.reset(seed=seed)
    expert = Expert(env, noise=NOISE, rng=np.random.default_rng(seed))
    commands: list[NDArray[np.float32]] = []
    ended = False
    while not (ended or expert.done) and len(commands) < steps:
        commands.append(expert.act().executed)
        _, _, terminated, truncated, _ = env.step(commands[-1])
        ended = terminated or truncated
    return np.array(commands)


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _step_each(envs: Sequence[TabletopEnv], commands: NDArray[np.float32]) -> None:
    for i, env in enumerate(envs):
        for command in commands[:, i]:
            env.step(command)


def _step_all(batch: TabletopVectorEnv, commands: NDArray[np.float32]) -> None:
    for command in commands:
        batch.step(command)


def _states(envs: Sequence[TabletopEnv]) -> Vector:
    """Full states of physics (envs, n)."""
    states = np.empty((len(envs), mujoco.mj_stateSize(envs[0].model, _STATE)))
    for env, state in zip(envs, states, strict=True):
        mujoco.mj_getState(env.model, env.data, state, _STATE)
    return states


def _controls(envs: Sequence[TabletopEnv], commands: NDArray[np.float32]) -> Vector:
    """What a rollout is told in every control step (envs, steps, n)."""
    size = mujoco.mj_stateSize(envs[0].model, _CONTROL)
    controls = np.empty((len(envs), len(commands), size))
    for i, env in enumerate(envs):
        before = env.data.ctrl.copy()
        for command, control in zip(commands[:, i], controls[i], strict=True):
            env.set_command(command)
            mujoco.mj_getState(env.model, env.data, control, _CONTROL)
        env.data.ctrl[:] = before
    return controls
