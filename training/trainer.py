"""Imitation: windows of demonstrations in, a run folder out, with progress, log and checkpoints.

A run that was cut off goes on from its last checkpoint when the same command is given again. With
several processes all of them train, and the main one alone evaluates, logs and writes.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bridle import sim
from bridle.training import runs
from bridle.training.checkpoints import Checkpoint, Checkpoints
from bridle.training.config import TrainConfig
from bridle.training.curves import draw_curves
from bridle.training.demonstrations import DemonstrationError
from bridle.training.demonstrations.lock import WriteLock
from bridle.training.evaluation import SELECTION_SEED, TorchPolicy, evaluate
from bridle.training.exceptions import TrainingError
from bridle.training.learner import Learner
from bridle.training.outcomes import Evaluation
from bridle.training.processes import on_main, processes
from bridle.training.trackers import require_trackers, trackers

Config = TypeVar("Config", bound=TrainConfig)

NOT_COMPUTED = ("out", "wandb")
"""Settings that do not change what a run computes: where it lies, and who else is told."""


@dataclass(frozen=True)
class TrainResult:
    """What a run gave."""

    run: str
    steps: int
    resumed_at: int
    train_loss: float
    val_loss: float | None
    seconds: float
    parameters: int
    processes: int
    """Processes that trained."""
    model_step: int
    """Optimiser steps behind `model.safetensors`: those of the most successful weights where they
    were evaluated on the way (of equals, the later), otherwise all."""
    success_rate: float | None
    """Success of these weights, on the seeds they were chosen by; `bridle evaluate` has others."""
    checkpoints: tuple[Checkpoint, ...]
    """What `checkpoints/` keeps, best first."""


def run_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings that a run folder is held to when it is continued, as plain types."""
    settings: dict[str, Any] = runs.plain(asdict(config))
    return {name: value for name, value in settings.items() if name not in NOT_COMPUTED}


def changed_settings(found: Mapping[str, Any], config: TrainConfig) -> str:
    """What a run was trained with, and what it shall be now: "seed 0 -> 1"; empty if the same.

    A setting that is newer than the run has its default in it.

    Args:
        found: the settings in its folder.
        config: those it shall have.
    """
    settings = run_settings(config)
    defaults = {f.name: runs.plain(f.default) for f in fields(config) if f.default is not MISSING}
    was = defaults | dict(found)
    changed = sorted(k for k in settings | dict(found) if settings.get(k) != was.get(k))
    return ", ".join(f"{k} {was.get(k)} -> {settings.get(k)}" for k in changed)


def _prepare_folder(config: TrainConfig, held: ExitStack) -> bool:
    """Lock the folder; whether there is a run to continue.

    Raises:
        TrainingError: the folder holds a run with other settings, or something else, or another
            process trains in it.
    """
    out = config.out
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        held.callback(WriteLock(out).release)
    except DemonstrationError as error:
        owner = str(error).partition(";")[0]
        raise TrainingError(f"{owner}; wait for it or choose another --out") from error
    if not out.exists() or not any(p.suffix != ".partial" for p in out.iterdir()):
        out.mkdir(parents=True, exist_ok=True)
        return False
    if what := changed_settings(runs.read_config(out).train, config):
        raise TrainingError(f"{out} holds a run with other settings ({what}); choose another --out")
    return (out / runs.STATE).is_file()


def train(
    config: Config, robot_xml: str | None = None, learner: Callable[[Config], Learner] = Learner
) -> TrainResult:
    """Train a policy, or continue a run that was cut off.

    Args:
        config: the settings.
        robot_xml: kinematics of the arm (MJCF), kept with the run for the robot side.
        learner: what learns: imitation, or a variant of it with settings of its own.

    Returns:
        The result, in every process.

    Raises:
        TrainingError: the settings, the folder or the data do not allow it.
        DemonstrationError: the data cannot be read.
        SimulationError: there is no such task to evaluate in.
    """
    began = time.monotonic()
    require_trackers(config)
    with ExitStack() as held:
        resume = on_main(lambda: _prepare_folder(config, held))
        with closing(learner(config)) as made:
            return _train(made, robot_xml, resume, began)


def _train(learner: Learner, robot_xml: str | None, resume: bool, began: float) -> TrainResult:
    config = learner.config
    if config.evaluate_every:
        # What cannot be played says so before it is trained.
        sim.make(learner.card.task).close()
    if resume:
        if runs.read_config(config.out).data.digest != learner.card.digest:
            raise TrainingError(f"{config.data} has changed since {config.out} was started")
        learner.restore()
    elif processes().is_main_process:
        settings, versions = run_settings(config), runs.library_versions()
        runs.write_config(
            config.out, runs.RunConfig(settings, learner.policy_config, learner.card, versions)
        )
        if robot_xml is not None:
            (config.out / runs.ROBOT).write_text(robot_xml)
    learner.prepare()
    resumed_at = learner.step
    last = _Session(learner).run()
    return on_main(lambda: _finish(learner, last, resumed_at, time.monotonic() - began))


class _Session:
    """One go at a run, from its last checkpoint to its end."""

    def __init__(self, learner: Learner) -> None:
        self.learner, self.config = learner, learner.config
        self.main = learner.accelerator.is_main_process
        self.metrics = self.config.out / runs.METRICS
        self.checkpoints = _checkpoints(self.config)
        self.last: dict[str, Any] = {"loss": math.nan, "val_loss": None}
        if self.main:
            self.checkpoints.forget_after(learner.step)
            self.checkpoints.prune()
            kept = _earlier_lines(self.metrics, learner.step)
            self.last = kept[-1] if kept else self.last

    def run(self) -> dict[str, Any]:
        """Train to the end; the last line of the log."""
        learner, config, accelerator = self.learner, self.config, self.learner.accelerator
        first = learner.step
        accelerator.log_with = trackers(config, run_settings(config), first + 1)
        accelerator.init_trackers("bridle")
        saved_at = time.monotonic()
        with _progress(disable=not self.main) as progress:
            task = progress.add_task(
                "", total=config.steps, completed=first, loss=self.last["loss"]
            )
            for _ in learner.train_steps():
                step = learner.step
                evaluated = config.evaluates_at(step)
                if evaluated or step % config.log_every == 0 or step == config.steps:
                    self._log(self._evaluation() if evaluated else None)
                progress.update(task, completed=step, loss=self.last["loss"])
                if evaluated or time.monotonic() - saved_at > config.checkpoint_seconds:
                    learner.save()
                    saved_at = time.monotonic()
                if evaluated and self.main:
                    # Only now: until the state was written, a kill goes back to before.
                    self.checkpoints.prune()
        if learner.step > first:
            learner.save()
        return self.last

    def _evaluation(self) -> Evaluation:
        """Success of the averaged weights, which are kept as a checkpoint."""

        def work() -> Evaluation:
            policy, card = self.learner.averaged_policy(), self.learner.card
            found = evaluate(
                TorchPolicy(policy, card.task, environment=card.environment),
                card.task,
                episodes=self.config.evaluate_episodes,
                first_seed=SELECTION_SEED,
            )
            checkpoint = Checkpoint(self.learner.step, found.successes, found.episodes)
            self.checkpoints.add(checkpoint, policy.state_dict())
            return found

        return on_main(work)

    def _log(self, evaluation: Evaluation | None) -> None:
        """Add a line to the log and to every tracker."""
        learner = self.learner
        loss = learner.mean_loss()
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} before step {learner.step}; "
                f"lower --learning-rate (now {self.config.learning_rate})"
            )
        self.last = {
            "step": learner.step,
            "loss": loss,
            "val_loss": on_main(learner.validation_loss),
            "learning_rate": learner.optimizer.param_groups[0]["lr"],
        }
        if evaluation is not None:
            self.last["success_rate"] = evaluation.success_rate
            self.last["success_interval"] = list(evaluation.success_interval)
        if self.main:
            with self.metrics.open("a") as file:
                file.write(json.dumps(self.last) + "\n")
        numbers = {k: v for k, v in self.last.items() if isinstance(v, float)}
        learner.accelerator.log(numbers, learner.step)


def _checkpoints(config: TrainConfig) -> Checkpoints:
    return Checkpoints(config.out / runs.CHECKPOINTS, config.keep_best)


def _earlier_lines(metrics: Path, step: int) -> list[dict[str, Any]]:
    """The log up to a step; what a killed run wrote after it is dropped from the file."""
    kept = []
    if metrics.is_file():
        for line in metrics.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if row["step"] <= step:
                kept.append(row)
        _write(metrics, "".join(json.dumps(row) + "\n" for row in kept))
    return kept


def _finish(learner: Learner, last: dict[str, Any], resumed_at: int, seconds: float) -> TrainResult:
    """Make the best weights the policy, draw the curves and write down what the run gave."""
    config = learner.config
    shelf = _checkpoints(config)
    kept = shelf.kept() if config.evaluate_every else ()
    if kept:
        runs.save_tensors(config.out / runs.MODEL, shelf.load(kept[0]))
    draw_curves(config.out / runs.METRICS, config.out / runs.CURVES)
    result = TrainResult(
        run=str(config.out),
        steps=learner.step,
        resumed_at=resumed_at,
        train_loss=last["loss"],
        val_loss=last["val_loss"],
        seconds=seconds,
        parameters=sum(p.numel() for p in learner.policy.parameters()),
        processes=learner.accelerator.num_processes,
        model_step=kept[0].step if kept else learner.step,
        success_rate=kept[0].successes / kept[0].episodes if kept else None,
        checkpoints=kept,
    )
    if learner.step > resumed_at or not (config.out / runs.RESULT).exists():
        _write(config.out / runs.RESULT, json.dumps(asdict(result), indent=2) + "\n")
    return result


def _write(path: Path, text: str) -> None:
    """Write a file so that after a kill the old or the new one is there."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def _progress(disable: bool) -> Progress:
    return Progress(
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps, loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        disable=disable,
    )
