"""Success in simulation: seeded, batched over environments, with an interval and videos."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import imageio.v2 as imageio
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress, track
from scipy.stats import binomtest

from bridle import sim
from bridle.policies import Policy
from bridle.training.exceptions import TrainingError

FIRST_SEED = 500
"""Evaluation seeds start here; demonstrations are drawn from 10 000 on."""
AT_ONCE = 25
"""Episodes in lockstep: more would gain little, and some suites' environments are large."""


class ChunkPolicy(Protocol):
    """A policy as evaluation sees it, whatever runs it."""

    task: str
    n_obs_steps: int
    n_action_steps: int
    first_action: int
    horizon: int
    action_size: int
    keys: tuple[str, ...]

    def __call__(
        self, observation: Mapping[str, NDArray[np.float32]], noise: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Observations (B, To, d) and noise (B, H, A) -> chunks (B, H, A), physical units."""
        ...


class TorchPolicy:
    """A `Policy` for evaluation."""

    def __init__(self, policy: Policy, task: str) -> None:
        """Wrap a fitted policy and the task it was trained on."""
        self.task = task
        config = policy.config
        self.policy = policy.eval()
        self.n_obs_steps = config.encoder.n_obs_steps
        self.n_action_steps = config.n_action_steps
        self.first_action = config.first_action
        self.horizon = config.horizon
        self.action_size = config.action_size
        self.keys = tuple(config.encoder.keys)

    def __call__(
        self, observation: Mapping[str, NDArray[np.float32]], noise: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """See `ChunkPolicy`."""
        tensors = {key: torch.from_numpy(value) for key, value in observation.items()}
        chunk: NDArray[np.float32] = self.policy.sample(tensors, torch.from_numpy(noise)).numpy()
        return chunk


@dataclass(frozen=True)
class EpisodeResult:
    """How one episode went."""

    seed: int
    success: bool
    steps: int


@dataclass(frozen=True)
class Evaluation:
    """How a policy does on a task."""

    task: str
    episodes: int
    successes: int
    success_rate: float
    success_interval: tuple[float, float]
    """Wilson score interval, 95 %."""
    mean_steps: float
    seconds: float
    per_episode: tuple[EpisodeResult, ...]


def wilson_interval(successes: int, episodes: int) -> tuple[float, float]:
    """Wilson score interval of a success rate at 95 % (Wilson 1927)."""
    interval = binomtest(successes, episodes).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


class _Episode:
    """One environment under evaluation, with its own history and its own noise."""

    def __init__(self, env: Any, seed: int, policy: ChunkPolicy) -> None:
        self.env, self.seed, self.policy = env, seed, policy
        self.random = np.random.default_rng(seed)
        observation, _ = env.reset(seed=seed)
        self.history = [observation] * policy.n_obs_steps
        self.steps, self.success, self.done = 0, False, False

    def noise(self) -> NDArray[np.float32]:
        shape = (self.policy.horizon, self.policy.action_size)
        return self.random.standard_normal(shape, dtype=np.float32)

    def execute(self, actions: NDArray[np.float32], on_step: Callable[[Any], None] | None) -> None:
        for action in actions:
            observation, _, terminated, truncated, info = self.env.step(action)
            self.history = [*self.history[1:], observation]
            self.steps += 1
            self.success = bool(info["success"])
            self.done = terminated or truncated
            if on_step is not None:
                on_step(self.env)
            if self.done:
                return


def _advance(
    episodes: Sequence[_Episode],
    policy: ChunkPolicy,
    on_step: Callable[[Any], None] | None = None,
) -> None:
    """One chunk for every episode."""
    observation = {
        key: np.stack([[o[key] for o in e.history] for e in episodes]) for key in policy.keys
    }
    chunks = policy(observation, np.stack([e.noise() for e in episodes]))
    start = policy.first_action
    for episode, chunk in zip(episodes, chunks, strict=True):
        episode.execute(chunk[start : start + policy.n_action_steps], on_step)


def evaluate(
    policy: ChunkPolicy, task: str, *, episodes: int = 50, first_seed: int = FIRST_SEED
) -> Evaluation:
    """Run seeded episodes in lockstep and count successes.

    Every episode draws from its own seed alone: the result does not depend on how many run.

    Raises:
        TrainingError: no episode was asked for, or the policy does not fit the task.
    """
    if episodes < 1:
        raise TrainingError(f"episodes must be at least 1, got {episodes}")
    began = time.monotonic()
    results: list[EpisodeResult] = []
    with Progress() as progress:
        bar = progress.add_task("evaluating", total=episodes)
        for first in range(0, episodes, AT_ONCE):
            seeds = range(first_seed + first, first_seed + min(first + AT_ONCE, episodes))
            runs = [_Episode(sim.make(task), seed, policy) for seed in seeds]
            _check_fits(policy, task, runs[0])
            while active := [run for run in runs if not run.done]:
                _advance(active, policy)
                progress.update(bar, completed=first + sum(run.done for run in runs))
            results += [EpisodeResult(run.seed, run.success, run.steps) for run in runs]
            for run in runs:
                run.env.close()
    successes = sum(result.success for result in results)
    return Evaluation(
        task=task,
        episodes=episodes,
        successes=successes,
        success_rate=successes / episodes,
        success_interval=wilson_interval(successes, episodes),
        mean_steps=float(np.mean([result.steps for result in results])),
        seconds=time.monotonic() - began,
        per_episode=tuple(results),
    )


def _check_fits(policy: ChunkPolicy, task: str, episode: _Episode) -> None:
    observation = episode.history[-1]
    missing = [key for key in policy.keys if key not in observation]
    if missing:
        raise TrainingError(f"the policy observes {', '.join(missing)}, which {task} does not give")
    shape = episode.env.action_space.shape
    if shape != (policy.action_size,):
        raise TrainingError(f"{task} takes actions {shape}, the policy gives {policy.action_size}")


def record_video(
    policy: ChunkPolicy, evaluation: Evaluation, path: Path, *, episodes: int = 4
) -> None:
    """Play episodes of an evaluation again, failures first, into one video.

    Raises:
        RuntimeError: nothing on this machine can render.
    """
    chosen = sorted(evaluation.per_episode, key=lambda e: e.success)[:episodes]
    env = sim.make(evaluation.task)
    env.reset(seed=0)
    env.render()  # what cannot draw says so before a file is there
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = round(1 / env.control_dt)
    writer: Any = imageio.get_writer(path, fps=rate, macro_block_size=1)
    with writer as video:
        for result in track(chosen, description="recording video"):
            episode = _Episode(env, result.seed, policy)
            while not episode.done:
                _advance([episode], policy, lambda env: video.append_data(env.render()))
    env.close()
