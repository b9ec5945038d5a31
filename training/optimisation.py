"""Which weights are learned how fast, and their average, which is the policy."""

from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from bridle.policies import Energy, Policy


def averaged(policy: Policy, decay: float) -> AveragedModel:
    """Exponential moving average of the weights: decay min(`decay`, (1 + n) / (10 + n))."""

    def update(weights: Any, current: Any, _: Tensor | int) -> None:
        # The count that is handed over lies on the device; this one is read without waiting for it.
        n = int(average.n_averaged)
        torch._foreach_lerp_(weights, current, 1 - min(decay, (1 + n) / (10 + n)))

    average = AveragedModel(policy, multi_avg_fn=update)
    return average


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
