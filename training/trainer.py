"""Imitation: windows of demonstrations in, a run folder out.

AdamW, cosine schedule, exponentially averaged weights. All randomness is a function of the seed and
the step number, so that a killed run continues bit for bit (on the CPU) from its last checkpoint.
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.optimization import get_cosine_schedule_with_warmup
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from bridle.policies import FlowConfig, MLPConfig, Policy, PolicyConfig, StateEncoderConfig
from bridle.training import runs
from bridle.training.curves import draw_curves
from bridle.training.demonstrations import DemonstrationSet, load, split_by_episode
from bridle.training.exceptions import TrainingError
from bridle.training.presets import DIFFERENCES, STATE_KEYS
from bridle.training.validation import validate
from bridle.training.windows import WindowSampler


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run."""

    data: Path
    """Demonstration set (zarr folder or zip)."""
    out: Path
    """Run folder. The same command again continues a run that was cut off."""
    steps: int = 9000
    """Optimiser steps."""
    batch_size: int = 256
    """Windows per step, over all processes."""
    learning_rate: float = 1e-3
    """Peak learning rate; a cosine takes it to zero."""
    warmup_steps: int = 200
    """Steps over which the learning rate rises linearly."""
    weight_decay: float = 1e-4
    """AdamW weight decay."""
    ema_decay: float = 0.995
    """Decay of the averaged weights, which are the ones evaluated and exported."""
    horizon: int = 16
    """Actions predicted per chunk (H)."""
    n_action_steps: int = 8
    """Actions executed per chunk (Ta)."""
    n_obs_steps: int = 1
    """Observations in the history (To)."""
    width: int = 256
    """Channels of the network."""
    blocks: int = 3
    """Residual blocks of the network."""
    flow_steps: int = 10
    """Euler steps at inference."""
    val_ratio: float = 0.02
    """Share of episodes held out for the validation loss."""
    seed: int = 0
    """Seed of weights, batches and noise."""
    checkpoint_seconds: float = 10.0
    """Seconds of work at most lost by a kill."""
    log_every: int = 100
    """Steps between lines of the log."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise TrainingError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0 <= self.ema_decay < 1:
            raise TrainingError(f"ema_decay must lie in [0, 1), got {self.ema_decay}")
        if not 0 <= self.val_ratio < 1:
            raise TrainingError(f"val_ratio must lie in [0, 1), got {self.val_ratio}")


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


def policy_config(config: TrainConfig, data: DemonstrationSet) -> PolicyConfig:
    """The policy that fits a demonstration set.

    Raises:
        TrainingError: the set holds no observation that a state policy reads.
    """
    keys = {key: data.arrays[key].shape[1] for key in STATE_KEYS if key in data.arrays}
    if not keys:
        raise TrainingError(f"{config.data} has none of the observations {', '.join(STATE_KEYS)}")
    return PolicyConfig(
        encoder=StateEncoderConfig(keys, DIFFERENCES.get(data.task, ()), config.n_obs_steps),
        action_size=data.arrays["action"].shape[1],
        relative_key="joint_position" if "joint_position" in keys else None,
        horizon=config.horizon,
        n_action_steps=config.n_action_steps,
        network=MLPConfig(config.width, config.blocks),
        generator=FlowConfig(config.flow_steps),
    )


def averaged(policy: Policy, decay: float) -> AveragedModel:
    """Exponential moving average of the weights: decay min(`decay`, (1 + n) / (10 + n))."""

    def update(average: Any, current: Any, count: Tensor | int) -> None:
        n = int(count)
        torch._foreach_lerp_(average, current, 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(policy, multi_avg_fn=update)


class _Trainer:
    """The state of one run, and its single step."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.accelerator = Accelerator(log_with="tensorboard", project_dir=str(config.out))
        for problem in validate(config.data):
            if problem.severity == "error":
                raise TrainingError(f"{config.data}: {problem}")
        data = load(config.data)
        self.policy_config = policy_config(config, data)
        keys = tuple(self.policy_config.encoder.keys)
        train, val = split_by_episode(data.n_episodes, config.val_ratio, config.seed)
        self.windows, self.val_windows = (
            WindowSampler(
                data,
                horizon=config.horizon,
                n_obs_steps=config.n_obs_steps,
                n_action_steps=config.n_action_steps,
                obs_keys=keys,
                episodes=episodes,
            )
            if len(episodes)
            else None
            for episodes in (train, val)
        )
        if self.windows is None:
            raise TrainingError(f"{config.data} leaves no episode to train on")
        self.card = runs.DataCard(
            path=str(config.data),
            digest=data.digest,
            robot=data.robot,
            task=data.task,
            control_rate=data.control_rate,
            episodes=data.n_episodes,
            steps=data.n_steps,
            instructions=list(data.instructions),
        )
        torch.manual_seed(config.seed)
        policy = Policy(self.policy_config)
        policy.fit(self._tensors(self.windows, np.arange(len(self.windows)), "cpu"))
        device = self.accelerator.device
        optimizer = torch.optim.AdamW(
            policy.parameters(),
            lr=config.learning_rate,
            betas=(0.9, 0.95),
            weight_decay=config.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self.average = averaged(policy.to(device), config.ema_decay)
        self.policy = policy
        self.model, self.optimizer = self.accelerator.prepare(policy, optimizer)
        self.schedule = get_cosine_schedule_with_warmup(
            optimizer, config.warmup_steps, config.steps
        )
        self.step = 0

    @staticmethod
    def _tensors(
        windows: WindowSampler, indices: np.ndarray, device: torch.device | str
    ) -> dict[str, Tensor]:
        batch = windows.sample(indices)
        return {
            key: torch.from_numpy(value).to(device, non_blocking=True)
            for key, value in batch.items()
        }

    def _random(self, *key: int) -> torch.Generator:
        seed = np.random.SeedSequence([self.config.seed, *key]).generate_state(1, np.uint64)[0]
        device = self.accelerator.device
        return torch.Generator(device).manual_seed(int(seed) >> 1)

    def _indices(self) -> Iterator[np.ndarray]:
        """The share of this process in every batch, from the present step on."""
        assert self.windows is not None
        size, world = self.config.batch_size, self.accelerator.num_processes
        per_epoch = max(1, len(self.windows) // size)
        order, epoch = np.empty(0, np.int64), -1
        for step in range(self.step, self.config.steps):
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                order = np.random.default_rng([self.config.seed, epoch]).permutation(
                    len(self.windows)
                )
            start = (step % per_epoch) * size
            yield order[start : start + size][self.accelerator.process_index :: world]

    def train_steps(self) -> Iterator[Tensor]:
        """Train to the end; yields the loss of each step."""
        assert self.windows is not None
        rank = self.accelerator.process_index
        for indices in self._indices():
            batch = self._tensors(self.windows, indices, self.accelerator.device)
            loss, _ = self.model(batch, self._random(1, self.step, rank))
            self.optimizer.zero_grad()
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            self.average.update_parameters(self.policy)
            self.step += 1
            yield loss.detach()

    @torch.no_grad()
    def validation_loss(self) -> float | None:
        """Loss of the averaged weights on held-out episodes, with the same noise every time."""
        if self.val_windows is None:
            return None
        indices = np.arange(0, len(self.val_windows), max(1, len(self.val_windows) // 1024))
        batch = self._tensors(self.val_windows, indices, self.accelerator.device)
        average = cast(Policy, self.average.module)
        return float(average.loss(batch, self._random(2))[0])

    def save(self) -> None:
        """Write the policy and the state to continue from."""
        if not self.accelerator.is_main_process:
            return
        runs.save_tensors(self.config.out / runs.MODEL, self.average.module.state_dict())
        state = {f"model.{k}": v for k, v in self.policy.state_dict().items()}
        state |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for i, slots in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{i}.{k}": v for k, v in slots.items()}
        state["step"] = torch.tensor(self.step)
        runs.save_tensors(self.config.out / runs.STATE, {k: v.clone() for k, v in state.items()})

    def restore(self) -> None:
        """Continue from the state that `save` wrote."""
        state = runs.load_tensors(self.config.out / runs.STATE)

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        self.step = int(state["step"])
        self.policy.load_state_dict(part("model."))
        self.average.load_state_dict(part("average."))
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in part("optimizer.").items():
            index, slot = name.split(".", 1)
            slots.setdefault(int(index), {})[slot] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        # The schedule is a function of the step alone.
        rate = self.config.learning_rate * self.schedule.lr_lambdas[0](self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.schedule.last_epoch = self.step


def _prepare_folder(config: TrainConfig, settings: dict[str, Any]) -> bool:
    """Whether there is a run to continue.

    Raises:
        TrainingError: the folder holds a run with other settings, or something else.
    """
    out = config.out
    if not out.exists() or not any(out.iterdir()):
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
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}
    # Where the run lies does not change what it computes.
    settings.pop("out")
    resume = _prepare_folder(config, settings)
    trainer = _Trainer(config)
    if resume:
        if runs.read_config(config.out).data.digest != trainer.card.digest:
            raise TrainingError(f"{config.data} has changed since {config.out} was started")
        trainer.restore()
    elif trainer.accelerator.is_main_process:
        if robot_xml is not None:
            (config.out / runs.ROBOT).write_text(robot_xml)
        runs.write_config(
            config.out,
            runs.RunConfig(settings, trainer.policy_config, trainer.card, runs.library_versions()),
        )
    resumed_at = trainer.step
    train_loss, val_loss = _loop(trainer, resumed_at)
    return TrainResult(
        run=str(config.out),
        steps=trainer.step,
        resumed_at=resumed_at,
        train_loss=train_loss,
        val_loss=val_loss,
        seconds=time.monotonic() - began,
        parameters=sum(p.numel() for p in trainer.policy.parameters()),
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


def _loop(trainer: _Trainer, resumed_at: int) -> tuple[float, float | None]:
    config, accelerator = trainer.config, trainer.accelerator
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
        for loss in trainer.train_steps():
            window.append(loss)
            if trainer.step % config.log_every == 0 or trainer.step == config.steps:
                mean = float(torch.stack(window).mean())
                window.clear()
                if not math.isfinite(mean):
                    raise TrainingError(
                        f"the loss became {mean} before step {trainer.step}; "
                        f"lower --learning-rate (now {config.learning_rate})"
                    )
                last = {
                    "step": trainer.step,
                    "loss": mean,
                    "val_loss": trainer.validation_loss(),
                    "learning_rate": trainer.optimizer.param_groups[0]["lr"],
                }
                log.write(json.dumps(last) + "\n")
                log.flush()
                accelerator.log(
                    {k: v for k, v in last.items() if k != "step" and v is not None}, trainer.step
                )
                progress.update(task, completed=trainer.step, loss=mean)
            if time.monotonic() - saved_at > config.checkpoint_seconds:
                trainer.save()
                saved_at = time.monotonic()
    trainer.save()
    accelerator.end_training()
    if accelerator.is_main_process:
        draw_curves(metrics, config.out / runs.CURVES)
    return last["loss"], last["val_loss"]
