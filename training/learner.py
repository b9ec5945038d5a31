"""One training run in memory: its data, its policy, and the single step that improves it.

AdamW, cosine schedule, exponentially averaged weights. All randomness is a function of the seed and
the step number, so that a saved run continues bit for bit (on the CPU).
"""

from collections.abc import Container, Iterator
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.optimization import get_cosine_schedule_with_warmup
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from bridle.policies import Energy, Policy, PolicyConfig, StateEncoderConfig
from bridle.training import runs
from bridle.training.config import TrainConfig
from bridle.training.demonstrations import DemonstrationSet, load, split_by_episode
from bridle.training.demonstrations.validation import validate
from bridle.training.demonstrations.windows import WindowSampler
from bridle.training.exceptions import TrainingError
from bridle.training.presets import DIFFERENCES, STATE_KEYS
from bridle.training.structure import choose


def _relative_key(data: DemonstrationSet, keys: Container[str]) -> str | None:
    """What actions are predicted relative to: the joints, if it is joints that are commanded."""
    radians = data.attributes is not None and data.attributes.keys["action"].unit == "rad"
    return "joint_position" if radians and "joint_position" in keys else None


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
        relative_key=_relative_key(data, keys),
        horizon=config.horizon,
        n_action_steps=config.n_action_steps,
        **choose({"network": config.network, "generator": config.generator}, config.set),
    )


def averaged(policy: Policy, decay: float) -> AveragedModel:
    """Exponential moving average of the weights: decay min(`decay`, (1 + n) / (10 + n))."""

    def update(average: Any, current: Any, count: Tensor | int) -> None:
        n = int(count)
        torch._foreach_lerp_(average, current, 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(policy, multi_avg_fn=update)


def parameter_groups(policy: Policy, rate: float) -> list[dict[str, Any]]:
    """The weights in groups of their own learning rates [per step].

    The step size of an energy's descent is learned 3 times as fast, per unit of its first value, as
    everything else, and does not decay (arXiv 2507.02092).
    """
    generator = policy.generator
    if not isinstance(generator, Energy):
        return [{"params": list(policy.parameters())}]
    own = {id(weight) for weight in generator.parameters()}
    scale = generator.STEP_SIZE_RATE * generator.config.step_size
    return [
        {"params": [weight for weight in policy.parameters() if id(weight) not in own]},
        {"params": list(generator.parameters()), "lr": scale * rate, "weight_decay": 0.0},
    ]


class Learner:
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
            parameter_groups(policy, config.learning_rate),
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
            if key != "is_pad"
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
        for group, first, share in zip(
            self.optimizer.param_groups,
            self.schedule.base_lrs,
            self.schedule.lr_lambdas,
            strict=True,
        ):
            group["lr"] = first * share(self.step)
        self.schedule.last_epoch = self.step
