"""Strategies side by side: what happens where chunks meet, for each delay of the inference.

Run with `python -m bridle.deploy.execution.comparison`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from bridle.deploy.chunks import ActionChunk
from bridle.deploy.execution.delay import DelayConfig
from bridle.deploy.execution.guidance import guided_sample
from bridle.deploy.execution.merging import ExecutionConfig, Strategy
from bridle.deploy.execution.timeline import Timeline
from bridle.deploy.execution.toy import LANE, TwoLanes, lanes
from bridle.deploy.robot import JointLimits

DT = 0.05
"""Control period [s]."""
LIMITS = JointLimits(*(np.full(2, x) for x in (-1e3, 1e3, 4.0, 40.0, 4e3)))
"""Of an arm: from lane to lane takes it several steps."""


@dataclass(frozen=True)
class Comparison:
    """What one strategy did at one delay."""

    strategy: Strategy
    delay: int
    """Control steps from an observation to the first use of its chunk."""
    seam_error: float
    """Mean distance between the new plan and the running one where it takes over [rad]."""
    switches: float
    """Share of chunks of another mode than the chunk before."""
    astray: float
    """Share of commands that are in no lane: nearer to the middle than to either."""


def run(
    strategy: Strategy,
    delay: int,
    *,
    vary: bool = False,
    chunks: int = 200,
    every: int = 8,
    seed: int = 0,
) -> Comparison:
    """Drive in `TwoLanes` for some chunks.

    Args:
        strategy: how chunks follow each other.
        delay: control steps that an inference takes, at most `every`.
        vary: whether some inferences take less, down to none at all.
        chunks: how many.
        every: control steps between observations.
        seed: of the noise.
    """
    if not 0 <= delay <= every:
        raise ValueError(f"the delay must lie in 0..{every}, the replanning interval, got {delay}")
    policy = TwoLanes()
    random, durations = np.random.default_rng(seed).spawn(2)
    position = lanes(np.zeros(1)).mean(axis=(0, 1))
    config = ExecutionConfig(strategy)
    timeline = Timeline(
        LIMITS, DT, position, 0.0, config=config, delay=DelayConfig(warm_up=0, initial=delay)
    )
    modes: list[float] = []
    errors: list[float] = []
    across: list[float] = []
    thinking: list[tuple[int, ActionChunk]] = []

    def deliver(step: int) -> None:
        while thinking and thinking[0][0] == step:
            running, _ = timeline.segment.at(step)
            chunk = thinking.pop(0)[1]
            timeline.accept(chunk, epoch=0, sequence=step, now=timeline.time(step))
            errors.append(float(np.linalg.norm(timeline.plan.positions[0] - running)))

    for step in range((chunks + 1) * every):
        now = timeline.time(step)
        deliver(step)
        if step % every == 0:
            observation = {"step": np.array([step]), "position": position[None]}
            previous = timeline.previous(now, policy.horizon) if strategy == "rtc" else None
            noise = random.standard_normal((1, policy.horizon, 2))
            sampled = guided_sample(policy, observation, noise, previous)
            positions = np.asarray(sampled.chunk[0], np.float64)
            times = DT * np.arange(policy.horizon, dtype=np.float64)
            takes = int(durations.integers(delay + 1)) if vary else delay
            thinking.append((step + takes, ActionChunk(now, times, positions)))
            modes.append(float(np.sign(positions[:, 1].mean())))
            deliver(step)
        taken = timeline.take(now)
        assert taken is not None
        position = taken
        across.append(float(position[1]))
    # Until the first chunks are carried out there is no lane to be in.
    settled = np.abs(across[2 * every :])
    return Comparison(
        strategy,
        delay,
        seam_error=float(np.mean(errors[1:])),
        switches=float(np.mean(np.diff(modes) != 0)),
        astray=float(np.mean(settled < LANE / 2)),
    )


def compare(
    strategies: Sequence[Strategy] = get_args(Strategy),
    delays: Iterable[int] = range(9),
    *,
    chunks: int = 200,
    seed: int = 0,
) -> list[Comparison]:
    """Every strategy at every delay."""
    return [run(s, d, chunks=chunks, seed=seed) for d in delays for s in strategies]


def as_table(results: Sequence[Comparison]) -> str:
    """One line per delay; seam error [mrad], switches [%] and commands astray [%] per strategy."""
    strategies = list(dict.fromkeys(r.strategy for r in results))
    found = {(r.strategy, r.delay): r for r in results}
    lines = [
        "| delay | " + " | ".join(strategies) + " |",
        "|---|" + "---|" * len(strategies),
    ]
    for delay in dict.fromkeys(r.delay for r in results):
        row = (found[strategy, delay] for strategy in strategies)
        cells = (
            f"{1e3 * r.seam_error:.1f} · {100 * r.switches:.1f} · {100 * r.astray:.1f}" for r in row
        )
        lines.append(f"| {delay} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(as_table(compare()))
