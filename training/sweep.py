"""Many runs side by side: every seed with every combination of settings, each a run folder.

Each run is trained and evaluated by the public commands, in processes of its own with one thread.
What is finished is skipped, and what was cut off goes on where it was.
"""

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from rich.progress import Progress

from bridle.training import runs
from bridle.training.cluster import connect
from bridle.training.command import flags, run_command
from bridle.training.config import TrainConfig
from bridle.training.exceptions import TrainingError
from bridle.training.outcomes import EVALUATION, wilson_interval
from bridle.training.train_presets import preset_config, typed_settings
from bridle.training.trainer import changed_settings

Status = Literal["finished", "kept", "failed"]
_UNSAFE = re.compile(r"[^\w.+-]+")
"""What a value keeps out of the name of a folder."""


@dataclass(frozen=True)
class SweepConfig:
    """What is trained."""

    data: Path
    """Demonstration set (zarr folder or zip)."""
    out: Path
    """Folder of the run folders. The same command again does what is not finished."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds; each is trained with every combination of settings."""
    over: tuple[str, ...] = ()
    """Settings and their values, as generator.n_steps=1,4 learning_rate=1e-3,3e-4 steps=5000: flags
    of `bridle train` and settings of its --set. One with a single value holds for all."""
    preset: str | None = None
    """Preset of `bridle train` that all start from."""
    episodes: int = 50
    """Evaluation episodes of each run; 0 for none."""
    jobs: int | Literal["ray"] = 1
    """Runs at the same time; `ray` takes one per core of a Ray cluster (RAY_ADDRESS, or this
    machine), or per GPU where it has some; its machines must share the folders."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise TrainingError(f"seeds must be given once each, at least one; got {self.seeds}")
        if self.episodes < 0:
            raise TrainingError(f"episodes must not be negative, got {self.episodes}")
        if self.jobs != "ray" and self.jobs < 1:
            raise TrainingError(f"jobs must be at least 1, got {self.jobs}")


@dataclass(frozen=True)
class Cell:
    """One run."""

    name: str
    """Of its folder."""
    seed: int
    varied: Mapping[str, Any]
    """What distinguishes it, beside the seed."""
    config: TrainConfig
    flags: tuple[str, ...]
    """Arguments of `bridle train`."""


@dataclass(frozen=True)
class CellResult:
    """What one run gave."""

    run: str
    seed: int
    varied: Mapping[str, Any]
    status: Status
    """`finished` now, `kept` from before, or `failed`."""
    error: str | None = None
    """Why it failed."""
    steps: int | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    seconds: float | None = None
    """Of training."""
    episodes: int = 0
    successes: int = 0


@dataclass(frozen=True)
class SettingResult:
    """One combination of settings over all of its seeds that did not fail."""

    varied: Mapping[str, Any]
    seeds: tuple[int, ...]
    val_loss: float | None
    """Mean over the seeds."""
    episodes: int
    successes: int
    success_rate: float | None
    success_interval: tuple[float, float] | None
    """Wilson score interval of all episodes, 95 %."""
    success_by_seed: tuple[float, ...]


@dataclass(frozen=True)
class SweepResult:
    """What a sweep gave."""

    settings: tuple[SettingResult, ...]
    cells: tuple[CellResult, ...]
    failed: int


def plan(config: SweepConfig) -> tuple[Cell, ...]:
    """All runs of a sweep.

    Raises:
        TrainingError: a setting is unknown or out of range, or given twice.
    """
    axes = _axes(config.over)
    varied = [name for name, values in axes.items() if len(values) > 1]
    cells: list[Cell] = []
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        cells += [_cell(config, chosen, varied, seed) for seed in config.seeds]
    return tuple(cells)


def _axes(over: Sequence[str]) -> dict[str, list[Any]]:
    """Setting -> its values, as YAML reads them."""
    axes: dict[str, list[Any]] = {}
    for text in over:
        name, equals, values = text.partition("=")
        try:
            read = yaml.safe_load(f"[{values}]")
        except yaml.YAMLError as error:
            raise TrainingError(f"--over {text!r}: {values!r} are no values") from error
        if not (equals and name and read):
            raise TrainingError(f"--over takes name=value,value..., got {text!r}")
        if name in axes or len({str(value) for value in read}) < len(read):
            raise TrainingError(f"--over {text!r}: {name} or a value of it is given twice")
        if name in ("seed", "set"):
            hint = "--seeds" if name == "seed" else "a part's setting, as network.width=64,128"
            raise TrainingError(f"--over {text!r}: give {hint} instead")
        axes[name] = read
    return axes


def _cell(config: SweepConfig, chosen: Mapping[str, Any], varied: Sequence[str], seed: int) -> Cell:
    flat = {name: value for name, value in chosen.items() if "." not in name}
    given = typed_settings({**flat, "seed": seed}, "--over")
    assignments = [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in chosen.items()
        if "." in name
    ]
    label = {name: given.get(name, chosen[name]) for name in varied}
    parts = [f"{name}-{_UNSAFE.sub('-', str(v)).strip('-')}" for name, v in label.items()]
    name = "_".join([*parts, f"seed-{seed}"])
    run = config.out / name
    words = ["--data", str(config.data), "--out", str(run)]
    if config.preset is not None:
        words += ["--preset", config.preset]
    words += flags(given)
    if assignments:
        words += ["--set", *assignments]
    trained = preset_config(config.preset, config.data, run, given, assignments)
    return Cell(name, seed, label, trained, tuple(words))


def sweep(config: SweepConfig) -> SweepResult:
    """Train and evaluate all runs; one that fails does not stop the others.

    Raises:
        TrainingError: a setting does not fit, before anything is trained.
    """
    cells = plan(config)
    execute: Callable[..., str | None] = execute_commands
    at_once = len(cells)
    if config.jobs == "ray":
        execute = on_cluster()
    else:
        at_once = config.jobs
    config.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, CellResult] = {}
    with Progress() as progress, ThreadPoolExecutor(at_once) as threads:
        bar = progress.add_task("runs", total=len(cells))
        pending = {threads.submit(_finish, c, config.episodes, execute): c.name for c in cells}
        try:
            for done in as_completed(pending):
                results[pending[done]] = done.result()
                progress.advance(bar)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
    ordered = tuple(results[cell.name] for cell in cells)
    failed = sum(result.status == "failed" for result in ordered)
    return SweepResult(_summary(ordered), ordered, failed)


def on_cluster() -> Callable[..., str | None]:
    """`execute_commands` on whichever machine of a Ray cluster is free."""
    ray = connect("--jobs ray")
    # Ray hides the GPUs from what does not ask for one.
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    remote = ray.remote(num_cpus=1, num_gpus=gpus)(execute_commands)

    def execute(*arguments: Any) -> str | None:
        error: str | None = ray.get(remote.remote(*arguments))
        return error

    return execute


def _finish(cell: Cell, episodes: int, execute: Callable[..., str | None]) -> CellResult:
    """Do what is missing of one run."""
    base: dict[str, Any] = {"run": str(cell.config.out), "seed": cell.seed, "varied": cell.varied}
    try:
        found = _found(cell, episodes)
        if found is not None:
            return CellResult(**base, status="kept", **found)
        commands = [("train", *cell.flags)]
        if episodes:
            evaluated = ("--run", str(cell.config.out), "--episodes", str(episodes))
            commands.append(("evaluate", *evaluated, "--threads", "1"))
        error = execute(commands, f"{cell.config.out}.log", str(Path.cwd()))
        found = _found(cell, episodes) if error is None else None
        if found is not None:
            return CellResult(**base, status="finished", **found)
        error = error or "it ended without a result"
    except Exception as why:  # a machine of the cluster that went away must not end the others
        error = f"{type(why).__name__}: {' '.join(str(why).split())}"
    return CellResult(**base, status="failed", error=error)


def execute_commands(commands: Sequence[Sequence[str]], log: str, folder: str) -> str | None:
    """Run commands of `bridle` one after the other, each in a process with one thread.

    Args:
        commands: the arguments of each.
        log: file for all that they say, in `folder`.
        folder: where they run.

    Returns:
        What the first that failed said last; None if none failed.
    """
    Path(folder, log).write_text("")
    try:
        for command in commands:
            run_command(command, Path(log), Path(folder))
    except TrainingError as error:
        return str(error)
    return None


def _found(cell: Cell, episodes: int) -> dict[str, Any] | None:
    """What a finished run of these settings left behind; None where it is not finished.

    Raises:
        TrainingError: its folder is of other settings.
    """
    run = cell.config.out
    if not (run / runs.CONFIG).is_file():
        return None
    if changed_settings(runs.read_config(run).train, cell.config):
        raise TrainingError(f"{run} holds a run with other settings; choose another --out")
    files = [run / runs.RESULT] + ([run / EVALUATION] if episodes else [])
    if not all(file.is_file() for file in files):
        return None
    trained, *evaluated = (json.loads(file.read_text()) for file in files)
    if any(evaluation["episodes"] != episodes for evaluation in evaluated):
        return None
    kept = {name: trained[name] for name in ("steps", "train_loss", "val_loss", "seconds")}
    for evaluation in evaluated:
        kept |= {name: evaluation[name] for name in ("episodes", "successes")}
    return kept


def _summary(results: Sequence[CellResult]) -> tuple[SettingResult, ...]:
    groups: dict[str, list[CellResult]] = {}
    for result in results:
        groups.setdefault(json.dumps(result.varied), []).append(result)
    return tuple(_over_seeds(group) for group in groups.values())


def _over_seeds(group: Sequence[CellResult]) -> SettingResult:
    done = [result for result in group if result.status != "failed"]
    losses = [result.val_loss for result in done if result.val_loss is not None]
    episodes, successes = sum(r.episodes for r in done), sum(r.successes for r in done)
    return SettingResult(
        varied=group[0].varied,
        seeds=tuple(result.seed for result in done),
        val_loss=sum(losses) / len(losses) if losses else None,
        episodes=episodes,
        successes=successes,
        success_rate=successes / episodes if episodes else None,
        success_interval=wilson_interval(successes, episodes) if episodes else None,
        success_by_seed=tuple(r.successes / r.episodes for r in done if r.episodes),
    )
