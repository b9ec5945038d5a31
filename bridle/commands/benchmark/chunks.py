"""Measure what happens where chunks meet: for each strategy, and each delay of the inference.

First on a policy of two lanes whose flow is known in closed form; then, for every bundle given, on
its task in simulation, as it is deployed: server and guard are the robot's, an inference takes as
many control steps as is said, whatever this machine needs for it. In tasks with the modes left and
right, as pick-place-post, switches are counted: chunks that plan to pass on the other side than the
chunk before.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from bridle import sim
from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.benchmark import machine
from bridle.commands.evaluate import environment_for
from bridle.deploy.bundle import load_bundle
from bridle.deploy.confinement import verify_confined
from bridle.deploy.exceptions import InferenceError
from bridle.deploy.execution import ExecutionConfig, Mask, Strategy
from bridle.deploy.execution.comparison import compare
from bridle.deploy.rehearsal import Episode, Rehearsal, RehearsalConfig
from bridle.training.evaluation import FIRST_SEED
from bridle.training.outcomes import wilson_interval

DECIDED = 0.05
"""A tool path this far to a side has decided for it [m]."""


@dataclass(frozen=True)
class Options:
    """Options of `bridle benchmark chunks`."""

    bundle: tuple[Path, ...] = ()
    """Bundles to drive in simulation."""
    strategies: tuple[Strategy, ...] = get_args(Strategy)
    """How a chunk follows the one before."""
    delays: tuple[int, ...] = tuple(range(9))
    """Control steps that an inference takes."""
    every: int | None = None
    """Control steps between observations that are planned from; by default as often as on the
    robot."""
    candidates: int = ExecutionConfig.candidates
    """Chunks sampled at once with rtc, of which one is executed."""
    mask: Mask = ExecutionConfig.mask
    """What rtc guides a chunk by."""
    safest: int = ExecutionConfig.safest
    """Chunks sampled at once by bundles that have a critic of feasibility, of which a safe one is
    executed."""
    episodes: int = 50
    """Episodes of each bundle, strategy and delay."""
    first_seed: int = FIRST_SEED
    """Seed of the first episode."""
    json: Path | None = None
    """Write the result here."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ValueError(f"episodes must be at least 1, got {self.episodes}")
        if not self.delays or min(self.delays) < 0 or not self.strategies:
            raise ValueError(f"delays must not be negative, got {self.delays}")


@dataclass(frozen=True)
class Row:
    """One policy by one strategy at one delay."""

    policy: str
    strategy: str
    delay: int
    """Control steps that an inference takes."""
    chunks: int
    seam_mrad: float | None
    """Mean distance between a new plan and the running one where it takes over; None where every
    chunk was over before the next one came."""
    switches: float | None
    """Share of chunks of another mode than the chunk before; None in a task without modes."""
    success: float | None = None
    """Share of episodes, for a bundle."""
    success_interval: tuple[float, float] | None = None
    """95 %, Wilson."""
    episodes_with_cost: int | None = None
    """Episodes in which something was touched."""
    mean_cost: float | None = None
    """Control steps an episode at which it was."""
    holds: int | None = None
    """Times that the guard stopped the robot."""
    refused: int | None = None
    """Chunks that the guard refused."""
    mean_steps: float | None = None


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Options, "benchmark chunks", arguments, __doc__)
    rows = list(_lanes(options))
    with Progress() as progress:
        n = len(options.strategies) * len(options.delays) * options.episodes
        bar = progress.add_task("driving", total=len(options.bundle) * n)
        for path in options.bundle:
            for row in _driven(path, options, lambda: progress.advance(bar)):
                rows.append(row)
                progress.console.print(_sentence(row), soft_wrap=True)
    for policy in dict.fromkeys(row.policy for row in rows):
        _show(policy, [row for row in rows if row.policy == policy])
    write_json(
        options.json,
        {
            "rows": [asdict(row) for row in rows],
            "episodes": options.episodes,
            "every": options.every,
            "candidates": options.candidates,
            "mask": options.mask,
            "safest": options.safest,
            "machine": machine("onnxruntime", "mujoco", "numpy"),
        },
    )
    return 0


def _lanes(options: Options) -> Iterator[Row]:
    # A new chunk every 8 steps; none can take longer.
    delays = [delay for delay in options.delays if delay <= 8]
    chunks = 200
    for each in compare(options.strategies, delays, chunks=chunks):
        yield Row(
            "two lanes",
            each.strategy,
            each.delay,
            chunks,
            seam_mrad=1e3 * each.seam_error,
            switches=each.switches,
        )


def _driven(path: Path, options: Options, tick: Callable[[], None]) -> Iterator[Row]:
    """All strategies and delays of one bundle."""
    bundle = load_bundle(path)
    verify_confined(bundle)
    manifest = bundle.manifest
    with closing(sim.make(manifest.task, **environment_for(manifest))) as env:
        has_sides = set(env.modes) == {"left", "right"}
        for delay in options.delays:
            for strategy in options.strategies:
                execution = ExecutionConfig(
                    strategy,
                    candidates=options.candidates,
                    mask=options.mask,
                    safest=options.safest,
                )
                every = None if options.every is None else max(delay, options.every)
                config = RehearsalConfig(execution, delay, every)
                try:
                    rehearsal = Rehearsal(bundle, config)
                except InferenceError as error:
                    raise ValueError(f"{path}: {error}") from error
                episodes = []
                for seed in range(options.first_seed, options.first_seed + options.episodes):
                    _, info = env.reset(seed=seed)
                    episodes.append(rehearsal.run(env, seed, info["instruction"]))
                    tick()
                yield _row(path.name, config, rehearsal, episodes, has_sides=has_sides)


def _row(
    policy: str,
    config: RehearsalConfig,
    rehearsal: Rehearsal,
    episodes: Sequence[Episode],
    *,
    has_sides: bool,
) -> Row:
    pairs = []
    for episode in episodes if has_sides else ():
        sides = [_side(rehearsal, chunk.positions) for chunk in episode.chunks]
        pairs += [(a, b) for a, b in pairwise(sides) if a and b]
    chunks = [chunk for episode in episodes for chunk in episode.chunks]
    seams = [chunk.seam for chunk in chunks if np.isfinite(chunk.seam)]
    successes = sum(episode.success for episode in episodes)
    return Row(
        policy,
        config.execution.strategy,
        config.delay,
        len(chunks),
        seam_mrad=1e3 * float(np.mean(seams)) if seams else None,
        switches=_switches(pairs) if has_sides else None,
        success=successes / len(episodes),
        success_interval=wilson_interval(successes, len(episodes)),
        episodes_with_cost=sum(episode.cost > 0 for episode in episodes),
        mean_cost=float(np.mean([episode.cost for episode in episodes])),
        holds=sum(episode.holds for episode in episodes),
        refused=sum(episode.refused for episode in episodes),
        mean_steps=float(np.mean([episode.steps for episode in episodes])),
    )


def _switches(pairs: Sequence[tuple[int, int]]) -> float:
    return float(np.mean([a != b for a, b in pairs])) if pairs else 0.0


def _side(rehearsal: Rehearsal, positions: NDArray[np.float64]) -> int:
    """The side that a path is on where it is furthest from the middle; 0 for undecided."""
    across = np.array([rehearsal.kinematics.tool_position(q)[1] for q in positions])
    furthest = across[np.abs(across).argmax()]
    return 0 if abs(furthest) < DECIDED else int(np.sign(furthest))


def _seam(row: Row) -> str:
    return "-" if row.seam_mrad is None else f"{row.seam_mrad:.1f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _sentence(row: Row) -> str:
    return (
        f"{row.policy}, {row.strategy}, delay {row.delay}: success {row.success:.0%}, "
        f"cost {row.mean_cost:.2f} an episode, seam {_seam(row)} mrad, "
        f"switches {_percent(row.switches)}, holds {row.holds}"
    )


def _show(policy: str, rows: Sequence[Row]) -> None:
    driven = rows[0].success is not None
    heads = ["delay", "strategy", "seam mrad", "switches", "success", "touched", "held", "steps"]
    table = Table(
        *(
            Column(head, justify="left" if i == 1 else "right", no_wrap=True)
            for i, head in enumerate(heads if driven else heads[:4])
        ),
        title=policy,
    )
    for i, row in enumerate(rows):
        cells = [
            str(row.delay) if i == 0 or rows[i - 1].delay != row.delay else "",
            row.strategy,
            _seam(row),
            _percent(row.switches),
        ]
        if driven:
            cells += [
                f"{row.success:.0%}",
                str(row.episodes_with_cost or ""),
                str(row.holds or ""),
                f"{row.mean_steps:.0f}",
            ]
        last = i == len(rows) - 1 or rows[i + 1].delay != row.delay
        table.add_row(*cells, end_section=last)
    Console().print(table)
