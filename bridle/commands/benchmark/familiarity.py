"""Measure what a calibrated bundle notices: false alarms, and changes that it has not seen.

Runs pick-place as it is deployed, first as it was demonstrated, then with each of the shifts of
`bridle.sim.shifts`, swapped colours among them if the policy sees pictures. Each episode is run
with nothing that acts on an alarm, so that it can be seen what would have happened. One in which an
alarm was raised is run once more as on the robot, which goes slower and stops; any other would be
the same.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from bridle import sim
from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.benchmark import machine
from bridle.commands.evaluate import environment_for
from bridle.deploy.bundle import GUARD, SUPPORT, load_bundle
from bridle.deploy.confinement import verify_confined
from bridle.deploy.execution import ExecutionConfig, Mask, Strategy
from bridle.deploy.familiarity.alarm import AlarmConfig, AlarmState, Level, assess
from bridle.deploy.familiarity.calibration import Calibration, peaks
from bridle.deploy.familiarity.rehearsing import ScoredEpisode, ScoredRehearsal
from bridle.deploy.familiarity.support import Support
from bridle.deploy.rehearsal import Episode, Rehearsal, RehearsalConfig
from bridle.sim.shifts import SHIFTS, VISIBLE, Shift
from bridle.training.outcomes import wilson_interval

FIRST_SEED = 20_000
"""Seeds start here; none was used in training, in calibration or in an evaluation."""
TASK = "pick-place"
CLEAN = "as demonstrated"


@dataclass(frozen=True)
class Options:
    """Options of `bridle benchmark familiarity`."""

    bundle: Path
    """Calibrated bundle of pick-place."""
    clean: int = 200
    """Episodes as demonstrated."""
    episodes: int = 50
    """Episodes of each shift."""
    first_seed: int = FIRST_SEED
    """Seed of the first episode."""
    json: Path | None = None
    """Write the result here."""

    def __post_init__(self) -> None:
        if self.clean < 2 or self.episodes < 1:
            raise ValueError(
                f"clean must be at least 2 and episodes at least 1, got {self.clean}, "
                f"{self.episodes}"
            )


@dataclass(frozen=True)
class Heeded:
    """The same episodes with a robot that goes slower at CAUTION and rests at HOLD."""

    success: float
    """Share of episodes, in as much time."""
    waiting: float
    """Share of episodes that ended, not done, with the robot at rest and asking for help."""
    cautious: float
    """Share of the chunks at CAUTION."""
    held: float
    """Share of the chunks at HOLD."""
    steps: float
    """Median length of an episode."""


@dataclass(frozen=True)
class Row:
    """One kind of episode."""

    shift: str
    episodes: int
    success: float
    """Share of episodes."""
    auroc: dict[str, float]
    """Score -> probability that its highest value in a shifted episode is above that of one as
    demonstrated, ties counting half. Both have as many chunks, so that a long episode is no sign;
    `both` is the second highest of all heights within the window."""
    held: float
    """Share of episodes with a HOLD after the shift began."""
    held_interval: tuple[float, float]
    """95 %, Wilson."""
    held_after: float | None
    """Median of the steps from the beginning of the shift to the first HOLD."""
    cautioned: float
    """Share of episodes with a CAUTION or a HOLD after the shift began."""
    cautioned_after: float | None
    failures: int
    """Episodes that failed."""
    failures_held: int
    """Of these, with a HOLD."""
    steps: float
    """Median length of an episode."""
    heeded: Heeded
    """With a robot that acts on it; all else is without."""


@dataclass(frozen=True)
class _Run:
    """An episode."""

    success: bool
    steps: int
    """Its length."""
    levels: tuple[Level, ...]
    """What was said of each chunk."""


@dataclass(frozen=True)
class _Watched(_Run):
    """An episode with what would have been said."""

    scores: tuple[dict[str, float], ...]
    """Of each chunk; with `both`."""
    held_at: int | None
    """Control step of the first HOLD after the shift began, counted from there."""
    cautioned_at: int | None


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "benchmark familiarity", arguments, __doc__)
    bundle = load_bundle(options.bundle)
    verify_confined(bundle)
    if bundle.manifest.task != TASK or GUARD not in bundle.contents:
        raise ValueError(f"{options.bundle} must be of {TASK}, and calibrated: bridle calibrate")
    calibration = Calibration.from_bytes(bundle.contents[GUARD])
    execution = ExecutionConfig(
        cast(Strategy, calibration.strategy), mask=cast(Mask, calibration.mask)
    )
    config = RehearsalConfig(execution, calibration.delay)
    support = Support.from_bytes(bundle.contents[SUPPORT])
    rehearsal = ScoredRehearsal(bundle, config, support, calibration.names)
    heeding = Rehearsal(bundle, replace(config, heeded=True))
    shifts = SHIFTS | (VISIBLE if bundle.manifest.cameras else {})
    watched: dict[str, list[_Watched]] = {}
    heeded: dict[str, list[_Run]] = {}
    with (
        closing(sim.make(TASK, **environment_for(bundle.manifest))) as env,
        Progress() as progress,
    ):
        total = options.clean + len(shifts) * options.episodes
        bar = progress.add_task("rehearsing", total=total)
        kinds: dict[str, type[Shift]] = {CLEAN: Shift} | shifts
        for name, shift in kinds.items():
            n = options.clean if name == CLEAN else options.episodes
            watched[name], heeded[name] = [], []
            for seed in range(options.first_seed, options.first_seed + n):
                _, info = env.reset(seed=seed)
                found = rehearsal.run(shift(env, seed), seed, info["instruction"])
                unheeded = _watch(calibration, found, shift.onset, bundle.manifest.dt)
                watched[name].append(unheeded)
                acted: _Run = unheeded
                if any(level is not Level.NOMINAL for level in unheeded.levels):
                    _, info = env.reset(seed=seed)
                    acted = _acted(heeding.run(shift(env, seed), seed, info["instruction"]))
                heeded[name].append(acted)
                progress.advance(bar)
    rows = [_row(name, each, watched[CLEAN], heeded[name]) for name, each in watched.items()]
    _show(rows, calibration)
    write_json(
        options.json,
        {
            "bundle": str(options.bundle),
            "calibration": asdict(calibration),
            "rows": [asdict(row) for row in rows],
            "machine": machine("onnxruntime", "mujoco", "numpy"),
        },
    )


def _watch(calibration: Calibration, found: ScoredEpisode, onset: int, dt: float) -> _Watched:
    state = AlarmState()
    at: dict[Level, int | None] = {Level.CAUTION: None, Level.HOLD: None}
    scores, levels = [], []
    for time, each in zip(found.times, found.scores, strict=True):
        state, assessment = assess(calibration, AlarmConfig(), state, each)
        levels.append(assessment.level)
        scores.append({**each, "both": peaks(state.recent)[1][1]})
        since = round(time / dt) - onset
        if since < 0:
            continue
        if assessment.level is Level.HOLD and at[Level.HOLD] is None:
            at[Level.HOLD] = since
        if assessment.level is not Level.NOMINAL and at[Level.CAUTION] is None:
            at[Level.CAUTION] = since
    episode = found.episode
    return _Watched(
        episode.success,
        episode.steps,
        tuple(levels),
        tuple(scores),
        at[Level.HOLD],
        at[Level.CAUTION],
    )


def _acted(episode: Episode) -> _Run:
    levels = tuple(c.assessment.level for c in episode.chunks if c.assessment)
    return _Run(episode.success, episode.steps, levels)


def _heeded(episodes: Sequence[_Run]) -> Heeded:
    every = [level for e in episodes for level in e.levels]
    waiting = [not e.success and e.levels[-1] is Level.HOLD for e in episodes]
    return Heeded(
        float(np.mean([e.success for e in episodes])),
        float(np.mean(waiting)),
        every.count(Level.CAUTION) / len(every),
        every.count(Level.HOLD) / len(every),
        float(np.median([e.steps for e in episodes])),
    )


def _highest(episodes: Sequence[_Watched], name: str, n_chunks: int) -> np.ndarray:
    values = [[chunk[name] for chunk in e.scores[:n_chunks]] for e in episodes]
    return np.array([np.nanmax(episode) for episode in values])


def _auroc(shifted: np.ndarray, clean: np.ndarray) -> float:
    above = shifted[:, None] - clean[None]
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def _row(
    name: str,
    episodes: Sequence[_Watched],
    clean: Sequence[_Watched],
    heeded: Sequence[_Run],
) -> Row:
    n_chunks = int(np.median([len(e.scores) for e in clean]))
    names = tuple(clean[0].scores[0])
    held = [e.held_at for e in episodes if e.held_at is not None]
    cautioned = [e.cautioned_at for e in episodes if e.cautioned_at is not None]
    failed = [e for e in episodes if not e.success]
    return Row(
        name,
        len(episodes),
        1 - len(failed) / len(episodes),
        {n: _auroc(_highest(episodes, n, n_chunks), _highest(clean, n, n_chunks)) for n in names},
        len(held) / len(episodes),
        wilson_interval(len(held), len(episodes)),
        float(np.median(held)) if held else None,
        len(cautioned) / len(episodes),
        float(np.median(cautioned)) if cautioned else None,
        len(failed),
        sum(e.held_at is not None for e in failed),
        float(np.median([e.steps for e in episodes])),
        _heeded(heeded),
    )


def _show(rows: Sequence[Row], calibration: Calibration) -> None:
    names = (*calibration.names, "both")
    heads = ("shift", "success", *names, "caution", "after", "hold", "after", "failed, held")
    heads = (*heads, "heeded: success", "waits")
    table = Table(
        *(
            Column(head, justify="right" if i else "left", no_wrap=True)
            for i, head in enumerate(heads)
        ),
        title=f"AUROC of each score; episodes with an alarm, and steps until it; "
        f"{calibration.strategy}, delay {calibration.delay}, alpha {calibration.alpha:g}",
    )

    def after(steps: float | None) -> str:
        return "" if steps is None else f"{steps:.0f}"

    for row in rows:
        table.add_row(
            row.shift,
            f"{row.success:.0%}",
            *("" if row.shift == CLEAN else f"{row.auroc[name]:.2f}" for name in names),
            f"{row.cautioned:.1%}",
            after(row.cautioned_after),
            f"{row.held:.1%}",
            after(row.held_after),
            f"{row.failures}, {row.failures_held}" if row.failures else "",
            f"{row.heeded.success:.0%}",
            f"{row.heeded.waiting:.0%}",
        )
    Console().print(table)
