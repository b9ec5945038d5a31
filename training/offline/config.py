"""Settings of offline reinforcement learning."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from bridle.policies.critics import CriticConfig, WeightConfig
from bridle.training.config import TrainConfig
from bridle.training.exceptions import TrainingError


@dataclass(frozen=True)
class IQLConfig:
    """Settings of implicit Q-learning (arXiv 2110.06169)."""

    run: Path
    """Run whose policy is to become better. Its encoder stays as it is."""
    data: Path
    """Demonstration set with `reward`, a zarr folder or zip; not all of it need be good."""
    out: Path
    """Run folder to make. The same command again continues a run that was cut off."""
    steps: int = 3000
    """Optimiser steps of the policy."""
    batch_size: int = 256
    """Windows per step."""
    learning_rate: float = 3e-4
    """Peak learning rate of the policy; a cosine takes it to zero."""
    critic_steps: int = 5000
    """Optimiser steps of the critics, before."""
    critic_batch_size: int = 256
    """Transitions per step of the critics."""
    critic_learning_rate: float = 3e-4
    """Learning rate of the critics."""
    width: int = CriticConfig.width
    """Channels of each hidden layer of a critic."""
    layers: int = CriticConfig.layers
    """Hidden layers of a critic."""
    discount: float = CriticConfig.discount
    """Discount per control step."""
    expectile: float = CriticConfig.expectile
    """How far the value of a state is that of its best action in the set: 0.5 for their mean, 1 for
    the best one."""
    temperature: float = WeightConfig.temperature
    """Advantage of reward by which the weight of an action grows e-fold, inverse."""
    ceiling: float = WeightConfig.ceiling
    """Largest of these weights."""
    seed: int = 0
    """Seed of weights, batches and noise."""
    checkpoint_seconds: float = 10.0
    """Seconds of work at most lost by a kill."""

    def __post_init__(self) -> None:
        for name in ("critic_steps", "critic_batch_size"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 1, got {getattr(self, name)}")
        rate = self.critic_learning_rate
        if not (math.isfinite(rate) and rate > 0):
            raise TrainingError(f"critic_learning_rate must be positive, got {rate}")
        # Wrong sizes and temperatures fail here, not when they are first needed.
        self.critic, self.weights  # noqa: B018

    @property
    def critic(self) -> CriticConfig:
        """What the critics are."""
        return CriticConfig(
            width=self.width,
            layers=self.layers,
            discount=self.discount,
            expectile=self.expectile,
            unsafe=None,
        )

    @property
    def weights(self) -> WeightConfig:
        """How their judgement becomes weights."""
        return WeightConfig(temperature=self.temperature, ceiling=self.ceiling)


@dataclass(frozen=True)
class FISORConfig(IQLConfig):
    """Settings of FISOR (arXiv 2401.10700): IQL among the actions that stay safe.

    The set must have `cost` too, above 0 where something happened that must not.
    """

    unsafe: float = 25.0
    """Feasibility of a step with a cost, where a safe one has -1: the larger, the surer a safe way
    must be for a state to count as safe."""
    recovery_temperature: float = WeightConfig.recovery_temperature
    """Feasibility gained by which the weight of an action grows e-fold, inverse, in states from
    which no way is safe."""
    recovery_ceiling: float = WeightConfig.recovery_ceiling
    """Largest of these weights."""

    @property
    def critic(self) -> CriticConfig:
        """See `IQLConfig`."""
        return replace(super().critic, unsafe=self.unsafe)

    @property
    def weights(self) -> WeightConfig:
        """See `IQLConfig`."""
        return replace(
            super().weights,
            recovery_temperature=self.recovery_temperature,
            recovery_ceiling=self.recovery_ceiling,
        )


@dataclass(frozen=True)
class Offline:
    """What a run by weighted imitation has beside imitation's settings."""

    run: Path
    """Run that it begins with."""
    critic: CriticConfig
    """What judges the set."""
    weights: WeightConfig
    """How the judgement becomes weights."""
    steps: int
    """Optimiser steps of the critics."""
    batch_size: int
    """Transitions per step."""
    learning_rate: float
    """Of the critics."""


@dataclass(frozen=True)
class OfflineTrainConfig(TrainConfig):
    """Imitation with weights."""

    offline: Offline = field(kw_only=True)
    """Where it begins, and where the weights come from."""
