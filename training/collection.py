"""Demonstrations from a task's expert, in parallel, in the order of their seeds."""

import itertools
import os
import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from bridle import sim
from bridle.training.demonstrations import DemonstrationWriter, known_key
from bridle.training.evaluation import wilson_interval
from bridle.training.exceptions import TrainingError

SEED_BASE, SEED_STRIDE = 10_000, 1_000_000
"""Episode i of `--seed s` is the environment's seed SEED_BASE + s * SEED_STRIDE + i."""

Episode = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class CollectConfig:
    """Settings of a collection."""

    out: Path
    """Demonstration set to create (a zarr folder that does not exist yet)."""
    task: str = "pick-place"
    """Task whose expert demonstrates."""
    episodes: int = 400
    """Successful episodes to keep."""
    noise: float = 0.01
    """Standard deviation [m] of the disturbance that is executed but not recorded as the action,
    so that the set shows how to come back (DART, arXiv 1703.09327)."""
    seed: int = 0
    """Seed of the whole set."""
    workers: int = 0
    """Processes; 0 takes one per core."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise TrainingError(f"episodes must be at least 1, got {self.episodes}")
        if not 0 <= self.noise <= 0.05:
            raise TrainingError(f"noise must lie in 0..0.05 m, got {self.noise}")
        if not 0 <= self.seed < 2**31 or self.workers < 0:
            raise TrainingError(
                f"seed and workers must not be negative: {self.seed}, {self.workers}"
            )


@dataclass(frozen=True)
class CollectResult:
    """What a collection gave."""

    path: str
    task: str
    episodes: int
    attempts: int
    success_rate: float
    success_interval: tuple[float, float]
    steps: int
    seconds: float


def demonstrate(task: str, seed: int, noise: float) -> tuple[bool, Episode]:
    """One episode of the expert.

    Returns:
        Whether it succeeded, and every recorded key (T, ...); `phase` holds the words of each step.
    """
    env = sim.make(task)
    observation, _ = env.reset(seed=seed)
    expert = sim.Expert(env, noise=noise, rng=np.random.default_rng(seed))
    rows: dict[str, list[object]] = {}
    success = truncated = False
    # The expert stays a moment after success: a policy must know to stay, too.
    while not (truncated or expert.done):
        act = expert.act()
        for key, value in observation.items():
            rows.setdefault(key, []).append(value)
        observation, reward, _, truncated, info = env.step(act.executed)
        rows.setdefault("action", []).append(act.label)
        rows.setdefault("phase", []).append(act.phase)
        rows.setdefault("reward", []).append(np.float32(reward))
        rows.setdefault("cost", []).append(np.float32(info["cost"]))
        success = bool(info["success"])
    episode = {key: np.asarray(value) for key, value in rows.items()}
    episode["timestamp"] = np.arange(len(episode["action"])) * env.control_dt
    return success, episode


def _episodes(config: CollectConfig, workers: int) -> Generator[tuple[bool, Episode]]:
    """Episodes in the order of their seeds, whichever worker is done first."""
    first = SEED_BASE + config.seed * SEED_STRIDE
    seeds = itertools.count(first)
    # Workers start from a clean interpreter: a forked one inherits locks of running threads.
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        pending: deque[Future[tuple[bool, Episode]]] = deque()
        try:
            while True:
                while len(pending) < 4 * workers:
                    pending.append(pool.submit(demonstrate, config.task, next(seeds), config.noise))
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _create(
    config: CollectConfig, episode: Episode, instructions: Sequence[str]
) -> DemonstrationWriter:
    keys = {
        key: known_key(key, value.shape[1:]) for key, value in episode.items() if key != "phase"
    }
    keys["instruction_id"] = known_key("instruction_id", ())
    return DemonstrationWriter.create(
        config.out,
        robot="ur5e_2f85",
        task=config.task,
        control_rate=float(1 / np.diff(episode["timestamp"]).mean().round(9)),
        keys=keys,
        instructions=instructions,
    )


def collect(config: CollectConfig) -> CollectResult:
    """Collect demonstrations until enough have succeeded.

    Raises:
        TrainingError: the set exists already, or the expert fails nearly always.
        DemonstrationError: an episode cannot be recorded.
    """
    if config.out.exists():
        raise TrainingError(f"{config.out} exists; choose another --out or remove it")
    began = time.monotonic()
    instructions = sim.make(config.task).phases
    workers = config.workers or os.cpu_count() or 1
    writer: DemonstrationWriter | None = None
    kept = attempts = steps = 0
    episodes = _episodes(config, workers)
    with Progress() as progress, closing(episodes), ExitStack() as stack:
        bar = progress.add_task(f"collecting {config.task}", total=config.episodes)
        for success, episode in episodes:
            attempts += 1
            if success:
                if writer is None:
                    writer = stack.enter_context(_create(config, episode, instructions))
                phases = episode.pop("phase")
                episode["instruction_id"] = np.array(
                    [instructions.index(phase) for phase in phases], np.int32
                )
                writer.append(episode)
                kept += 1
                steps += len(phases)
                progress.update(bar, completed=kept)
            if kept == config.episodes:
                break
            if attempts >= 20 and kept < attempts // 4:
                raise TrainingError(
                    f"the expert of {config.task} succeeded in only {kept} of {attempts} episodes"
                )
    return CollectResult(
        path=str(config.out),
        task=config.task,
        episodes=kept,
        attempts=attempts,
        success_rate=kept / attempts,
        success_interval=wilson_interval(kept, attempts),
        steps=steps,
        seconds=time.monotonic() - began,
    )
