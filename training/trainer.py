"""Imitation: windows of demonstrations in, a run folder out, with progress, log and checkpoints.

A run that was cut off goes on from its last checkpoint when the same command is given again.
"""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from bridle.training import runs
from bridle.training.config import TrainConfig
from bridle.training.curves import draw_curves
from bridle.training.exceptions import TrainingError
from bridle.training.learner import Learner


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


def _prepare_folder(config: TrainConfig, settings: dict[str, Any]) -> bool:
    """Whether there is a run to continue.

    Raises:
        TrainingError: the folder holds a run with other settings, or something else.
    """
    out = config.out
    if not out.exists() or not any(p.suffix != ".partial" for p in out.iterdir()):
        out.mkdir(parents=True, exist_ok=True)
        return False
    found = runs.read_config(out).train
    changed = sorted(k for k in settings | found if settings.get(k) != found.get(k))
    if changed:
        what = ", ".join(f"{k} {found.get(k)} -> {settings.get(k)}" for k in changed)
        raise TrainingError(f"{out} holds a run with other settings ({what}); choose another --out")
    return (out / runs.STATE).is_file()


def train(config: TrainConfig, robot_xml: str | None = None) -> TrainResult:
    """Train a policy, or continue a run that was cut off.

    Args:
        config: the settings.
        robot_xml: kinematics of the arm (MJCF), kept with the run for the robot side.

    Raises:
        TrainingError: the settings, the folder or the data do not allow it.
        DemonstrationError: the data cannot be read.
    """
    began = time.monotonic()
    settings = runs.plain(asdict(config))
    # Where the run lies does not change what it computes.
    settings.pop("out")
    resume = _prepare_folder(config, settings)
    learner = Learner(config)
    if resume:
        if runs.read_config(config.out).data.digest != learner.card.digest:
            raise TrainingError(f"{config.data} has changed since {config.out} was started")
        learner.restore()
    elif learner.accelerator.is_main_process:
        runs.write_config(
            config.out,
            runs.RunConfig(settings, learner.policy_config, learner.card, runs.library_versions()),
        )
        if robot_xml is not None:
            (config.out / runs.ROBOT).write_text(robot_xml)
    resumed_at = learner.step
    train_loss, val_loss = _loop(learner, resumed_at)
    return TrainResult(
        run=str(config.out),
        steps=learner.step,
        resumed_at=resumed_at,
        train_loss=train_loss,
        val_loss=val_loss,
        seconds=time.monotonic() - began,
        parameters=sum(p.numel() for p in learner.policy.parameters()),
    )


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
        partial = metrics.with_suffix(".partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in kept))
        partial.replace(metrics)
    return kept


def _loop(learner: Learner, resumed_at: int) -> tuple[float, float | None]:
    config, accelerator = learner.config, learner.accelerator
    accelerator.init_trackers("tensorboard")
    metrics = config.out / runs.METRICS
    kept = _earlier_lines(metrics, resumed_at)
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps, loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    last: dict[str, Any] = kept[-1] if kept else {"loss": math.nan, "val_loss": None}
    saved_at = time.monotonic()
    window: list[Tensor] = []
    with (
        metrics.open("a") as log,
        Progress(*columns, disable=not accelerator.is_main_process) as progress,
    ):
        task = progress.add_task("", total=config.steps, completed=resumed_at, loss=last["loss"])
        for loss in learner.train_steps():
            window.append(loss)
            if learner.step % config.log_every == 0 or learner.step == config.steps:
                mean = float(torch.stack(window).mean())
                window.clear()
                if not math.isfinite(mean):
                    raise TrainingError(
                        f"the loss became {mean} before step {learner.step}; "
                        f"lower --learning-rate (now {config.learning_rate})"
                    )
                last = {
                    "step": learner.step,
                    "loss": mean,
                    "val_loss": learner.validation_loss(),
                    "learning_rate": learner.optimizer.param_groups[0]["lr"],
                }
                log.write(json.dumps(last) + "\n")
                log.flush()
                accelerator.log(
                    {k: v for k, v in last.items() if k != "step" and v is not None}, learner.step
                )
                progress.update(task, completed=learner.step, loss=mean)
            if time.monotonic() - saved_at > config.checkpoint_seconds:
                learner.save()
                saved_at = time.monotonic()
    learner.save()
    accelerator.end_training()
    if accelerator.is_main_process:
        draw_curves(metrics, config.out / runs.CURVES)
    return last["loss"], last["val_loss"]
