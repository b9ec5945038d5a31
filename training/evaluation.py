"""Success in simulation: seeded, batched over environments, with an interval and videos."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import imageio.v2 as imageio
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress, track

from bridle import sim
from bridle.policies import Policy
from bridle.sim.adapters.interface import StepResult
from bridle.sim.stepping import Stepper
from bridle.training.exceptions import TrainingError
from bridle.training.observer import Observer
from bridle.training.outcomes import EpisodeResult, Evaluation, count

FIRST_SEED = 500
"""Evaluation seeds start here; demonstrations are drawn from 10 000 on."""
SELECTION_SEED = 300
"""Seeds by which training chooses among its checkpoints start here and end before `FIRST_SEED`, so
that what is chosen is not measured by what chose it."""
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


@runtime_checkable
class Observing(Protocol):
    """A policy that sees more than the numbers an environment gives of itself."""

    observer: Observer


@runtime_checkable
class Choosing(Protocol):
    """A policy that generates several chunks and chooses by what was done before."""

    n_candidates: int

    def best_of(
        self,
        observation: Mapping[str, NDArray[np.float32]],
        noise: NDArray[np.float32],
        executed: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """As a call, with noise (B, N, H, A) and the last actions (B, first_action, A), NaN where
        there was none yet.
        """
        ...


def _observer(policy: ChunkPolicy) -> Observer:
    return policy.observer if isinstance(policy, Observing) else Observer(policy.keys)


class TorchPolicy:
    """A `Policy` for evaluation."""

    def __init__(
        self,
        policy: Policy,
        task: str,
        n_steps: int | None = None,
        environment: Mapping[str, Any] | None = None,
    ) -> None:
        """Wrap a fitted policy, the task it was trained on, and the steps to generate in.

        `environment` is what one is asked for to be seen as in the data (`DataCard.environment`).

        Raises:
            PolicyError: the generator cannot take so many steps.
        """
        policy.generator.table(n_steps)
        self.task, self.n_steps = task, n_steps
        config = policy.config
        self.policy = policy.eval()
        self.n_obs_steps = config.encoder.n_obs_steps
        self.n_action_steps = config.n_action_steps
        self.first_action = config.first_action
        self.horizon = config.horizon
        self.action_size = config.action_size
        self.keys = tuple(config.encoder.inputs)
        self.observer = Observer.of(policy, environment or {})

    def __call__(
        self, observation: Mapping[str, NDArray[np.float32]], noise: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """See `ChunkPolicy`."""
        tensors = {key: torch.from_numpy(value) for key, value in observation.items()}
        chunk: NDArray[np.float32] = self.policy.sample(
            tensors, torch.from_numpy(noise), self.n_steps
        ).numpy()
        return chunk


class ChoosingPolicy(TorchPolicy):
    """A `Policy` that executes the one of several chunks whose past is most like what was done."""

    def __init__(
        self,
        policy: Policy,
        task: str,
        n_candidates: int,
        n_steps: int | None = None,
        environment: Mapping[str, Any] | None = None,
    ) -> None:
        """See `TorchPolicy`; `n_candidates` chunks are compared.

        Raises:
            TrainingError: nothing to choose among, or the policy predicts no past to choose by.
        """
        super().__init__(policy, task, n_steps, environment)
        if n_candidates < 2:
            raise TrainingError(f"candidates must be at least 2, got {n_candidates}")
        if not self.first_action:
            raise TrainingError(
                "candidates are compared by their past, and this policy predicts none; "
                "train it with --n-obs-steps above 1 and without --no-past"
            )
        self.n_candidates = n_candidates

    def best_of(
        self,
        observation: Mapping[str, NDArray[np.float32]],
        noise: NDArray[np.float32],
        executed: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """See `Choosing`."""
        tensors = {key: torch.from_numpy(value) for key, value in observation.items()}
        chunk: NDArray[np.float32] = self.policy.best_of(
            tensors, torch.from_numpy(noise), torch.from_numpy(executed), self.n_steps
        ).numpy()
        return chunk


class _Episode:
    """One environment under evaluation, with its own history and its own noise."""

    def __init__(self, env: Any, seed: int, policy: ChunkPolicy) -> None:
        self.env, self.seed, self.policy = env, seed, policy
        self.observer = _observer(policy)
        self.random = np.random.default_rng(seed)
        observation, info = env.reset(seed=seed)
        self.history = [self.observer.frame(observation, info)] * policy.n_obs_steps
        self.executed = np.full((policy.first_action, policy.action_size), np.nan, np.float32)
        self.steps, self.success, self.done = 0, False, False
        self.cost, self.mode, self.instruction = 0.0, "", info["instruction"]
        self.passed: set[str] = set()

    def noise(self) -> NDArray[np.float32]:
        shape: tuple[int, ...] = (self.policy.horizon, self.policy.action_size)
        if isinstance(self.policy, Choosing):
            shape = (self.policy.n_candidates, *shape)
        return self.random.standard_normal(shape, dtype=np.float32)

    def end_step(self, action: NDArray[np.float32], result: StepResult) -> None:
        """Note what was done in a control step, and what it gave."""
        self.executed = np.concatenate([self.executed[1:], action[None]])[: len(self.executed)]
        observation, _, terminated, truncated, info = result
        self.history = [*self.history[1:], self.observer.frame(observation, info)]
        self.steps += 1
        self.success = bool(info["success"])
        self.cost += float(info["cost"])
        self.mode = info["mode"]
        self.passed |= {name for name, holds in self.env.milestones().items() if holds}
        self.done = terminated or truncated

    def result(self) -> EpisodeResult:
        return EpisodeResult(
            seed=self.seed,
            success=self.success,
            steps=self.steps,
            cost=self.cost,
            mode=self.mode,
            instruction=self.instruction,
            passed=tuple(name for name in self.env.milestones() if name in self.passed),
        )


def _advance(
    episodes: Sequence[_Episode],
    policy: ChunkPolicy,
    stepper: Stepper,
    on_step: Callable[[Any], None] | None = None,
) -> None:
    """One chunk for every episode, executed step by step in all of them at once."""
    observation = _observer(policy).histories([e.history for e in episodes])
    noise = np.stack([e.noise() for e in episodes])
    if isinstance(policy, Choosing):
        chunks = policy.best_of(observation, noise, np.stack([e.executed for e in episodes]))
    else:
        chunks = policy(observation, noise)
    running = list(zip(episodes, chunks, strict=True))
    for k in range(policy.first_action, policy.first_action + policy.n_action_steps):
        steps = stepper.step([e.env for e, _ in running], [chunk[k] for _, chunk in running])
        for (episode, chunk), step in zip(running, steps, strict=True):
            episode.end_step(chunk[k], step)
            if on_step is not None:
                on_step(episode.env)
        running = [(episode, chunk) for episode, chunk in running if not episode.done]


def evaluate(
    policy: ChunkPolicy,
    task: str,
    *,
    episodes: int = 50,
    first_seed: int = FIRST_SEED,
    threads: int | None = None,
) -> Evaluation:
    """Run seeded episodes in lockstep and count how they went.

    Every episode draws from its own seed alone: the result does not depend on how many run, but for
    the last bits of what a network computes for a larger or smaller batch.

    Args:
        policy: what is evaluated.
        task: what it shall do.
        episodes: how many.
        first_seed: of the first; the others follow.
        threads: threads that run physics; None: one per core.

    Raises:
        TrainingError: no episode or no thread was asked for, or the policy does not fit the task.
    """
    for name, value in (("episodes", episodes), ("threads", threads)):
        if value is not None and value < 1:
            raise TrainingError(f"{name} must be at least 1, got {value}")
    began = time.monotonic()
    results: list[EpisodeResult] = []
    options = _observer(policy).environment
    with Progress() as progress, closing(Stepper(threads)) as stepper:
        bar = progress.add_task("evaluating", total=episodes)
        for first in range(0, episodes, AT_ONCE):
            seeds = range(first_seed + first, first_seed + min(first + AT_ONCE, episodes))
            runs = [_Episode(sim.make(task, **options), seed, policy) for seed in seeds]
            _check_fits(policy, task, runs[0])
            while active := [run for run in runs if not run.done]:
                _advance(active, policy, stepper)
                progress.update(bar, completed=first + sum(run.done for run in runs))
            results += [run.result() for run in runs]
            for run in runs:
                run.env.close()
    env = runs[0].env
    return count(
        task,
        results,
        modes=env.modes,
        instructions=env.goals,
        milestones=tuple(env.milestones()),
        seconds=time.monotonic() - began,
    )


def _check_fits(policy: ChunkPolicy, task: str, episode: _Episode) -> None:
    missing = [key for key in _observer(policy).seen if key not in episode.history[-1]]
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
    env = sim.make(evaluation.task, **_observer(policy).environment)
    env.reset(seed=0)
    env.render()  # what cannot draw says so before a file is there
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = round(1 / env.control_dt)
    writer: Any = imageio.get_writer(path, fps=rate, macro_block_size=1)
    with writer as video, closing(Stepper(1)) as stepper:
        for result in track(chosen, description="recording video"):
            episode = _Episode(env, result.seed, policy)
            while not episode.done:
                _advance([episode], policy, stepper, lambda env: video.append_data(env.render()))
    env.close()
