"""How episodes went, counted: over all, by the way that was taken, by instruction, by milestone."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dacite
import numpy as np
from scipy.stats import binomtest

from bridle.training.exceptions import TrainingError

EVALUATION = "evaluation.json"
"""Where a run folder keeps its last evaluation."""


@dataclass(frozen=True)
class EpisodeResult:
    """How one episode went."""

    seed: int
    success: bool
    steps: int
    cost: float
    """Sum of the costs of its steps."""
    mode: str
    """The way that was taken, "" for none."""
    instruction: str
    """What was to be done."""
    passed: tuple[str, ...]
    """Milestones that were passed, in the order of the task."""


@dataclass(frozen=True)
class Share:
    """Episodes of one kind, and how many of them succeeded."""

    name: str
    episodes: int
    successes: int
    success_rate: float
    success_interval: tuple[float, float]
    """Wilson score interval, 95 %."""


@dataclass(frozen=True)
class Milestone:
    """How many episodes came so far."""

    name: str
    passed: int
    """Episodes that passed it."""
    passed_rate: float
    passed_interval: tuple[float, float]
    """Wilson score interval, 95 %."""
    failed: int
    """Failed episodes of which it is the first milestone that they did not pass."""


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
    mean_cost: float
    """Cost per episode."""
    episodes_with_cost: int
    seconds: float
    by_mode: tuple[Share, ...]
    """By the way that was taken; empty where a task has one."""
    by_instruction: tuple[Share, ...]
    """By what was to be done; empty where a task has one instruction."""
    milestones: tuple[Milestone, ...]
    """How far episodes came, success last; empty where a task names none."""
    per_episode: tuple[EpisodeResult, ...]


SUCCESS = "success"
"""Name of the last milestone."""
NO_MODE = "none"
"""Name of the mode of episodes that took no way."""


def wilson_interval(successes: int, episodes: int) -> tuple[float, float]:
    """Wilson score interval of a success rate at 95 % (Wilson 1927)."""
    interval = binomtest(successes, episodes).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def count(
    task: str,
    results: Sequence[EpisodeResult],
    *,
    modes: Sequence[str],
    instructions: Sequence[str],
    milestones: Sequence[str],
    seconds: float,
) -> Evaluation:
    """Count how episodes went.

    Args:
        task: what was played.
        results: at least one episode.
        modes: the ways that the task has.
        instructions: what may be asked for.
        milestones: what is passed on the way to success, in order.
        seconds: how long it took [s].
    """
    successes = sum(result.success for result in results)
    return Evaluation(
        task=task,
        episodes=len(results),
        successes=successes,
        success_rate=successes / len(results),
        success_interval=wilson_interval(successes, len(results)),
        mean_steps=float(np.mean([result.steps for result in results])),
        mean_cost=float(np.mean([result.cost for result in results])),
        episodes_with_cost=sum(result.cost > 0 for result in results),
        seconds=seconds,
        by_mode=_shares(results, (*modes, NO_MODE), lambda r: r.mode or NO_MODE) if modes else (),
        by_instruction=(
            _shares(results, instructions, lambda r: r.instruction) if len(instructions) > 1 else ()
        ),
        milestones=_milestones(results, milestones),
        per_episode=tuple(results),
    )


def _shares(
    results: Sequence[EpisodeResult], names: Sequence[str], name_of: Callable[[EpisodeResult], str]
) -> tuple[Share, ...]:
    """Episodes by a name, in the order of `names`; a name that did not occur is left out."""
    shares = []
    for name in names:
        some = [result.success for result in results if name_of(result) == name]
        if some:
            interval = wilson_interval(sum(some), len(some))
            shares.append(Share(name, len(some), sum(some), sum(some) / len(some), interval))
    return tuple(shares)


def _milestones(results: Sequence[EpisodeResult], names: Sequence[str]) -> tuple[Milestone, ...]:
    if not names:
        return ()
    reached = [{*r.passed, SUCCESS} if r.success else {*r.passed} for r in results]
    names = (*names, SUCCESS)
    first_missed = [next((n for n in names if n not in r), None) for r in reached]
    counted = []
    for name in names:
        passed = sum(name in r for r in reached)
        failed = sum(
            missed == name and not result.success
            for missed, result in zip(first_missed, results, strict=True)
        )
        rate, interval = passed / len(results), wilson_interval(passed, len(results))
        counted.append(Milestone(name, passed, rate, interval, failed))
    return tuple(counted)


def load(path: Path) -> Evaluation:
    """Read an evaluation that was written as JSON.

    Raises:
        TrainingError: the file cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text())
        return dacite.from_dict(Evaluation, content, dacite.Config(strict=True, cast=[tuple]))
    except (OSError, ValueError, TypeError, AttributeError, dacite.DaciteError) as error:
        raise TrainingError(f"{path} is no evaluation ({error}); evaluate the run again") from error
