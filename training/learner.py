"""One training run in memory: its data, its policy, and the single step that improves it.

AdamW, cosine schedule, exponentially averaged weights. All randomness is a function of the seed and
the step number, so that a saved run continues bit for bit (on the CPU).

Several processes, and several parts of a batch, each take an equal share of the same windows; the
gradient is the mean over all of them.
"""

import gc
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
from torch import Tensor

from bridle.policies import Policy, PolicyConfig
from bridle.training import runs
from bridle.training.config import TrainConfig
from bridle.training.demonstrations import DemonstrationSet, load, split_by_episode
from bridle.training.demonstrations.validation import validate
from bridle.training.demonstrations.windows import WindowSampler
from bridle.training.embeddings import give_frozen
from bridle.training.exceptions import TrainingError
from bridle.training.observations import (
    SPREAD,
    encoder_config,
    environment_options,
    observed_arrays,
    settable,
    statistics_keys,
)
from bridle.training.optimisation import averaged, parameter_groups
from bridle.training.processes import accelerator
from bridle.training.structure import assigned, build


def _relative_key(data: DemonstrationSet) -> str | None:
    """What actions are predicted relative to: the joints, if it is joints that are commanded."""
    radians = data.attributes is not None and data.attributes.keys["action"].unit == "rad"
    return "joint_position" if radians and "joint_position" in data.arrays else None


def policy_config(config: TrainConfig, data: DemonstrationSet) -> PolicyConfig:
    """The policy that fits a demonstration set.

    Raises:
        TrainingError: the set lacks what is to be observed, or a setting does not fit.
    """
    parts = assigned(config.set, ("network", "generator", *settable(config.observe)))
    return PolicyConfig(
        encoder=encoder_config(config.observe, data, config.n_obs_steps, parts),
        action_size=data.arrays["action"].shape[1],
        relative_key=_relative_key(data),
        horizon=config.horizon,
        past=config.past,
        n_action_steps=config.n_action_steps,
        committed=config.committed,
        network=build("network", config.network, parts["network"]),
        generator=build("generator", config.generator, parts["generator"]),
    )


class Learner:
    """The state of one run, and its single step."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.accelerator = accelerator(config.precision)
        for problem in validate(config.data):
            if problem.severity == "error":
                raise TrainingError(f"{config.data}: {problem}")
        data = load(config.data)
        self.policy_config = self._structure(data)
        encoder = self.policy_config.encoder
        self._observed = replace(data, arrays=observed_arrays(encoder, data))
        self._train, self._val = split_by_episode(data.n_episodes, config.val_ratio, config.seed)
        self.windows, self.val_windows = self._windows(self._observed, tuple(encoder.inputs))
        self.batch_size = self._whole_batch(len(self.windows))
        self.card = runs.DataCard(
            path=str(config.data),
            digest=data.digest,
            robot=data.robot,
            task=data.task,
            control_rate=data.control_rate,
            episodes=data.n_episodes,
            steps=data.n_steps,
            instructions=list(data.instructions),
            environment=environment_options(data.arrays),
        )
        torch.manual_seed(config.seed)
        policy = self._start()
        device = self.accelerator.device
        optimizer = torch.optim.AdamW(
            parameter_groups(policy, config.learning_rate),
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self.average = averaged(policy.to(device), config.ema_decay).eval()
        self.policy = policy
        if config.compile:
            # In place, after the average was copied: the names of the weights stay as they are.
            policy.network.compile()
        self.model, self.optimizer = self.accelerator.prepare(policy, optimizer)
        self.schedule = get_cosine_schedule_with_warmup(
            optimizer, config.warmup_steps, config.steps
        )
        self.step = 0
        self.waited = 0.0
        """Seconds spent waiting for batches."""
        self._losses: list[Tensor] = []

    def _structure(self, data: DemonstrationSet) -> PolicyConfig:
        """The policy to train."""
        return policy_config(self.config, data)

    def _start(self) -> Policy:
        """Where training begins: an untrained policy that has the statistics of the set."""
        policy = Policy(self.policy_config)
        give_frozen(policy, self._observed)
        policy.fit(self._statistics(self._observed, self._train))
        return policy

    def prepare(self) -> None:
        """Do what has to be done before the first step, once the run folder is there."""

    def _windows(
        self, data: DemonstrationSet, keys: Sequence[str]
    ) -> tuple[WindowSampler, WindowSampler | None]:
        """Windows to train on and to validate with.

        Raises:
            TrainingError: there is no episode to train on.
        """
        if not len(self._train):
            raise TrainingError(f"{self.config.data} leaves no episode to train on")
        val = self._sampler(data, keys, self._val) if len(self._val) else None
        return self._sampler(data, keys, self._train), val

    def _sampler(
        self, data: DemonstrationSet, keys: Sequence[str], episodes: np.ndarray
    ) -> WindowSampler:
        return WindowSampler(
            data,
            horizon=self.policy_config.window_steps,
            n_obs_steps=self.config.n_obs_steps,
            n_action_steps=self.config.n_action_steps,
            obs_keys=keys,
            episodes=episodes,
        )

    def _statistics(self, data: DemonstrationSet, episodes: np.ndarray) -> dict[str, Tensor]:
        """What statistics are taken from: all windows, and some for large observations."""
        small, large = statistics_keys(self.policy_config.encoder)
        windows = self._sampler(data, small, episodes)
        batch = self._tensors(windows, np.arange(len(windows)), "cpu")
        if large:
            some = np.linspace(0, len(windows) - 1, min(len(windows), SPREAD)).astype(np.int64)
            spread = self._tensors(self._sampler(data, large, episodes), some, "cpu")
            batch |= {key: spread[key] for key in large}
        return batch

    def _whole_batch(self, n_windows: int) -> int:
        """Windows of a step, over all processes and parts.

        Raises:
            TrainingError: they cannot be shared equally.
        """
        shares = self.accelerator.num_processes * self.config.accumulate
        if self.config.batch_size % shares:
            raise TrainingError(
                f"batch_size must be a multiple of {shares} (processes times accumulate), "
                f"got {self.config.batch_size}"
            )
        size: int = min(self.config.batch_size, n_windows // shares * shares)
        if not size:
            raise TrainingError(
                f"{self.config.data} has {n_windows} windows, fewer than the {shares} shares of a "
                "batch"
            )
        return size

    @staticmethod
    def _tensors(
        windows: WindowSampler, indices: np.ndarray, device: torch.device | str
    ) -> dict[str, Tensor]:
        batch = windows.sample(indices)
        return {
            key: torch.from_numpy(value).to(device, non_blocking=True)
            for key, value in batch.items()
            if key != "is_pad"
        }

    def _random(self, *key: int) -> torch.Generator:
        seed = np.random.SeedSequence([self.config.seed, *key]).generate_state(1, np.uint64)[0]
        device = self.accelerator.device
        return torch.Generator(device).manual_seed(int(seed) >> 1)

    def _indices(self) -> Iterator[np.ndarray]:
        """The share of this process in every batch, from the present step on."""
        size, world = self.batch_size, self.accelerator.num_processes
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

    def _batches(self) -> Iterator[list[dict[str, Tensor]]]:
        """The parts of every batch, gathered by a thread while the step before is computed."""
        gather = partial(self._tensors, self.windows, device=self.accelerator.device)

        def parts(indices: np.ndarray) -> list[dict[str, Tensor]]:
            return [gather(part) for part in np.split(indices, self.config.accumulate)]

        with ThreadPoolExecutor(1) as thread:
            ahead: Future[list[dict[str, Tensor]]] | None = None
            for indices in self._indices():
                present, ahead = ahead, thread.submit(parts, indices)
                if present is not None:
                    yield self._wait(present)
            if ahead is not None:
                yield self._wait(ahead)

    def _wait(self, batch: Future[list[dict[str, Tensor]]]) -> list[dict[str, Tensor]]:
        began = time.perf_counter()
        parts = batch.result()
        self.waited += time.perf_counter() - began
        return parts

    def train_steps(self) -> Iterator[Tensor]:
        """Train to the end; yields the loss of each step, of this process."""
        for parts in self._batches():
            loss = self._gradients(parts)
            self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            self.average.update_parameters(self.policy)
            self.step += 1
            self._losses.append(loss)
            yield loss

    def _gradients(self, parts: list[dict[str, Tensor]]) -> Tensor:
        """Gradients of the mean loss over all parts and processes; the loss of this process."""
        random = self._random(1, self.step, self.accelerator.process_index)
        losses = []
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                loss = self.model(part, random, self.config.draws)[0] / len(parts)
                if i == 0:
                    # Between forward and backward: the new gradients take the memory of the old.
                    self.optimizer.zero_grad()
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def mean_loss(self) -> float:
        """Mean over all processes of the losses since this was last asked."""
        mean = self.accelerator.reduce(torch.stack(self._losses).mean(), "mean")
        self._losses.clear()
        return float(mean)

    def averaged_policy(self) -> Policy:
        """A copy of the policy with the averaged weights, on the CPU."""
        return deepcopy(cast(Policy, self.average.module)).cpu()

    @torch.no_grad()
    def validation_loss(self) -> float | None:
        """Loss of the averaged weights on held-out episodes, with the same noise every time."""
        if self.val_windows is None:
            return None
        indices = np.arange(0, len(self.val_windows), max(1, len(self.val_windows) // 1024))
        batch = self._tensors(self.val_windows, indices, self.accelerator.device)
        average = cast(Policy, self.average.module)
        return float(average.loss(batch, self._random(2))[0])

    def close(self) -> None:
        """End the trackers and leave the other processes; nothing can be trained afterwards."""
        # What reduces gradients has to go before the group of processes: as the group's last owner
        # it waits, with Python locked, for threads that wait for Python.
        self.model = self.policy
        self.accelerator.free_memory()
        gc.collect()
        self.accelerator.end_training()

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
        state["losses"] = torch.stack(self._losses) if self._losses else torch.empty(0)
        runs.save_tensors(self.config.out / runs.STATE, {k: v.clone() for k, v in state.items()})

    def restore(self) -> None:
        """Continue from the state that `save` wrote."""
        state = runs.load_tensors(self.config.out / runs.STATE)

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        self.step = int(state["step"])
        self._losses = list(state["losses"].to(self.accelerator.device))
        self.policy.load_state_dict(part("model."))
        self.average.load_state_dict(part("average."))
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in part("optimizer.").items():
            index, slot = name.split(".", 1)
            slots.setdefault(int(index), {})[slot] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        # The schedule is a function of the step alone.
        for group, first, share in zip(
            self.optimizer.param_groups,
            self.schedule.base_lrs,
            self.schedule.lr_lambdas,
            strict=True,
        ):
            group["lr"] = first * share(self.step)
        self.schedule.last_epoch = self.step
