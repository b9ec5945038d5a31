"""Demonstrations from a task's expert, in parallel, in the order of their seeds."""

import itertools
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from bridle import sim
from bridle.training.cluster import connect
from bridle.training.demonstrations import (
    DemonstrationWriter,
    KeySpec,
    create_or_resume,
    known_key,
)
from bridle.training.exceptions import TrainingError
from bridle.training.outcomes import wilson_interval

SEED_BASE, SEED_STRIDE = 10_000, 1_000_000
"""Episode i of `--seed s` is the environment's seed SEED_BASE + s * SEED_STRIDE + i."""
MAX_NOISE = 0.05

Rows = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class CollectConfig:
    """Settings of a collection."""

    out: Path
    """Demonstration set to create, a zarr folder. One that a collection with the same settings has
    begun is continued."""
    task: str = "pick-place"
    """Task whose expert demonstrates; bridle collect --help lists them."""
    episodes: int = 400
    """Successful episodes to keep."""
    noise: float = 0.01
    """Standard deviation [m] of the disturbance that is executed but not recorded as the action,
    so that the set shows how to come back (DART, arXiv 1703.09327)."""
    recovery: float = 0.1
    """Probability of a mistake in each phase that has room for one. It is corrected, in the words
    of a person who says how ("a bit to the left"); those steps are marked as `intervention`."""
    seed: int = 0
    """Seed of the whole set."""
    workers: int | Literal["ray"] = 0
    """Processes; 0 takes one per core, `ray` all cores of a Ray cluster (RAY_ADDRESS, or this
    machine). The set is the same whatever is chosen."""
    cameras: tuple[str, ...] = ()
    """Cameras to record: front, wrist."""
    image_size: tuple[int, int] = (96, 96)
    """Width and height of the pictures [px]."""
    depth: bool = False
    """Whether to record the depth of these cameras."""
    points: int = 0
    """Points to record of the cloud that these cameras see; 0 for none."""
    randomise: tuple[str, ...] = ()
    """What differs from episode to episode beside the layout: physics, colours, lights, cameras."""
    distractors: int = 0
    """Things on the table that are not meant."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise TrainingError(f"episodes must be at least 1, got {self.episodes}")
        if not 0 <= self.noise <= MAX_NOISE:
            raise TrainingError(f"noise must lie in 0..{MAX_NOISE} m, got {self.noise}")
        if not 0 <= self.recovery <= 1:
            raise TrainingError(f"recovery must lie in 0..1, got {self.recovery}")
        if not 0 <= self.seed < 2**31:
            raise TrainingError(f"seed must lie in 0..2^31-1, got {self.seed}")
        if self.workers != "ray" and self.workers < 0:
            raise TrainingError(f"workers must not be negative, got {self.workers}")

    @property
    def first_seed(self) -> int:
        """Seed of the first episode."""
        return SEED_BASE + self.seed * SEED_STRIDE

    def environment_options(self) -> dict[str, Any]:
        """What the environment is asked for beside its defaults."""
        options: dict[str, Any] = {}
        if self.cameras:
            width, height = self.image_size
            options |= {"cameras": self.cameras, "image_width": width, "image_height": height}
        for name in ("depth", "points", "randomise", "distractors"):
            if getattr(self, name):
                options[name] = getattr(self, name)
        return options

    def source(self) -> dict[str, Any]:
        """What the set says about where it comes from: all that its content depends on."""
        return {
            "command": "collect",
            "noise": self.noise,
            "recovery": self.recovery,
            "seed": self.seed,
            "environment": {
                k: list(v) if isinstance(v, tuple) else v
                for k, v in self.environment_options().items()
            },
        }


@dataclass(frozen=True)
class CollectResult:
    """What a collection gave."""

    path: str
    task: str
    episodes: int
    attempts: int
    success_rate: float
    success_interval: tuple[float, float]
    modes: dict[str, int]
    """Episodes by the way that was taken, for tasks with several."""
    steps: int
    resumed: int
    """Episodes that were there before."""
    seconds: float


@dataclass(frozen=True)
class Episode:
    """What an expert did."""

    seed: int
    success: bool
    mode: str
    rows: Rows
    """Every recorded key (T, ...); `phase` and `goal` hold sentences."""


def demonstrate(
    task: str, seed: int, noise: float, recovery: float, options: Mapping[str, Any]
) -> Episode:
    """One episode of the expert; it depends on the arguments alone."""
    env = sim.make(task, **options)
    try:
        observation, info = env.reset(seed=seed)
        expert = sim.make_expert(
            env, noise=noise, recovery=recovery, rng=np.random.default_rng(seed)
        )
        rows: dict[str, list[Any]] = {}
        truncated = False
        # The expert stays a moment after success: a policy must know to stay, too.
        while not (truncated or expert.done):
            act = expert.act()
            recorded = {
                **observation,
                "action": act.label,
                "phase": act.phase,
                "goal": info["instruction"],
                "intervention": act.intervention,
            }
            observation, reward, _, truncated, info = env.step(act.executed)
            recorded |= {"reward": np.float32(reward), "cost": np.float32(info["cost"])}
            for key, value in recorded.items():
                rows.setdefault(key, []).append(value)
        arrays = {key: np.asarray(value) for key, value in rows.items()}
        arrays["timestamp"] = np.arange(len(arrays["action"])) * env.control_dt
        return Episode(seed, bool(info["success"]), info["mode"], arrays)
    finally:
        env.close()


class _Pool:
    """Runs `demonstrate` on this machine or on a Ray cluster."""

    def __init__(self, config: CollectConfig) -> None:
        self._settings = (config.noise, config.recovery, config.environment_options())
        self._task = config.task
        self._pool: ProcessPoolExecutor | None = None
        if config.workers == "ray":
            ray = connect("--workers ray")
            self.size = max(1, int(ray.cluster_resources().get("CPU", 1)))
            self._submit: Callable[..., Any] = ray.remote(demonstrate).remote
            self.result: Callable[[Any], Episode] = ray.get
        else:
            self.size = config.workers or os.cpu_count() or 1
            # Workers start from a clean interpreter: a forked one inherits locks of threads.
            self._pool = ProcessPoolExecutor(self.size, get_context("spawn"))
            self._submit = self._submit_here
            self.result = lambda future: future.result()

    def _submit_here(self, *arguments: Any) -> Any:
        assert self._pool is not None
        return self._pool.submit(demonstrate, *arguments)

    def submit(self, seed: int) -> Any:
        """Begin an episode; `result` gives it."""
        return self._submit(self._task, seed, *self._settings)

    def close(self) -> None:
        """Stop the workers of this machine; a cluster's go on."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _episodes(config: CollectConfig, first: int) -> Generator[Episode]:
    """Episodes in the order of their seeds, whichever worker is done first."""
    pool = _Pool(config)
    seeds = itertools.count(first)
    pending: deque[Any] = deque()
    try:
        while True:
            while len(pending) < 4 * pool.size:
                pending.append(pool.submit(next(seeds)))
            yield pool.result(pending.popleft())
    finally:
        pool.close()


def _spec(key: str, value: NDArray[np.generic], meanings: Mapping[str, Any]) -> KeySpec:
    """What a key is: as the environment says, or as it is throughout Bridle."""
    if key in meanings:
        meaning = meanings[key]
        return KeySpec(value.shape, str(value.dtype), meaning.unit, meaning.text)
    return known_key(key, value.shape)


def _open(config: CollectConfig, env: Any) -> DemonstrationWriter:
    """The set, created or continued; its keys are those of a first observation."""
    observation, _ = env.reset(seed=config.first_seed)
    meanings = getattr(env, "meanings", {})
    keys = {key: _spec(key, value, meanings) for key, value in observation.items()}
    action = np.zeros(env.action_space.shape, np.float32)
    keys["action"] = _spec("action", action, meanings)
    for key in (
        "reward", "cost", "instruction_id", "goal_id", "intervention", "timestamp",
    ):  # fmt: skip
        keys[key] = known_key(key)
    return create_or_resume(
        config.out,
        robot=env.robot,
        task=config.task,
        control_rate=round(1 / env.control_dt, 6),
        keys=keys,
        instructions=env.sentences(),
        source=config.source(),
        episode_keys={"seed": "int64", "mode": "int16"},
    )


def _labelled(episode: Episode, instructions: Sequence[str]) -> Rows:
    """Sentences as indices into the set's instructions."""
    rows = dict(episode.rows)
    for key, name in (("phase", "instruction_id"), ("goal", "goal_id")):
        rows[name] = np.array([instructions.index(words) for words in rows.pop(key)], np.int32)
    return rows


def collect(config: CollectConfig) -> CollectResult:
    """Collect demonstrations until enough have succeeded.

    A set that was begun with the same settings is continued, and comes out the same.

    Raises:
        TrainingError: the expert fails nearly always.
        SimulationError: there is no such task, or it does not know an option.
        DemonstrationError: another set is there, or an episode cannot be recorded.
    """
    began = time.monotonic()
    env = sim.make(config.task, **config.environment_options())
    instructions, modes = env.sentences(), ("", *env.modes)
    with closing(env), _open(config, env) as writer:
        resumed = writer.n_episodes
        done = writer.episode_values("seed")
        last = int(done[-1]) if len(done) else config.first_seed - 1
        kept, attempts = resumed, last - config.first_seed + 1
        taken = [int(mode) for mode in writer.episode_values("mode")]
        with Progress() as progress, closing(_episodes(config, last + 1)) as episodes:
            bar = progress.add_task(f"collecting {config.task}", total=config.episodes)
            progress.update(bar, completed=kept)
            while kept < config.episodes:
                episode = next(episodes)
                attempts += 1
                if episode.success:
                    mode = modes.index(episode.mode)
                    writer.append(
                        _labelled(episode, instructions), {"seed": episode.seed, "mode": mode}
                    )
                    taken.append(mode)
                    kept += 1
                    progress.update(bar, completed=kept)
                if attempts >= 20 and kept < attempts // 4:
                    raise TrainingError(
                        f"the expert of {config.task} succeeded in only {kept} of {attempts} "
                        "episodes"
                    )
        counts = Counter(modes[mode] for mode in taken)
        return CollectResult(
            path=str(config.out),
            task=config.task,
            episodes=kept,
            attempts=attempts,
            success_rate=kept / attempts,
            success_interval=wilson_interval(kept, attempts),
            modes={mode: counts[mode] for mode in env.modes},
            steps=writer.n_steps,
            resumed=resumed,
            seconds=time.monotonic() - began,
        )
