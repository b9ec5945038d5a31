"""The critic of feasibility as ONNX, and whether it computes what PyTorch computes."""

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from bridle.deploy.bundle import Bundle
from bridle.deploy.exceptions import ExportError
from bridle.deploy.export.graphs import exported
from bridle.deploy.export.parity import BATCH, SEEDS, examples
from bridle.deploy.runtime import Runtime
from bridle.policies import Judge, Policy


class _Feasibility(nn.Module):
    def __init__(self, policy: Policy, judge: Judge) -> None:
        super().__init__()
        self.judge, self.seen = judge, policy.encoder.output_size

    def forward(self, cond: Tensor, action: Tensor) -> Tensor:
        # Critics do without what is committed, which comes after what is seen.
        return self.judge.action_value(cond[:, : self.seen], action.flatten(1))


@torch.no_grad()
def feasibility_graph(policy: Policy, judge: Judge) -> onnx.ModelProto:
    """`cond` (B, C), `action` (B, Ta, A) in normalised units -> `q_h` (B,).

    Args:
        policy: whose encoder gives the conditions.
        judge: learned on it.

    Raises:
        ExportError: it is of conditions or chunks of another size.
    """
    observation, noise = examples(policy, 2, 0)
    cond, _, _ = policy.encode(observation)
    rows, channels = policy.config.n_action_steps, policy.config.action_size
    wanted = policy.encoder.output_size, rows * channels
    found = judge.cond_size, judge.action_size
    if found != wanted:
        raise ExportError(
            f"the critic is of {found[0]} numbers and {found[1]} of a chunk, the policy has "
            f"{wanted[0]} and {wanted[1]}"
        )
    action = noise[:, policy.config.first_action :][:, :rows]
    module = _Feasibility(policy, judge.eval())
    return exported(module, (cond, action), ("cond", "action"), ("q_h",), (True, True))


@torch.no_grad()
def verify_feasibility(policy: Policy, judge: Judge, bundle: Bundle) -> float:
    """Compare a bundle's critic with PyTorch, on its own chunks of random observations.

    Args:
        policy: in evaluation mode.
        judge: that the critic was made from.
        bundle: made from both.

    Returns:
        The largest difference, relative to the larger of the value and 1.
    """
    runtime, config = Runtime(bundle), policy.config
    worst = 0.0
    for seed in range(SEEDS):
        observation, noise = examples(policy, BATCH, seed)
        seen = {key: value.numpy() for key, value in observation.items()}
        chunk = runtime.infer(seen, noise.numpy()).chunk[:, config.first_action :]
        found = runtime.feasibility(runtime.encode(seen), chunk)
        cond, offset, scale = policy.encode(observation)
        action = ((torch.from_numpy(chunk) - offset) / scale)[:, : config.n_action_steps]
        seen_by_judge = cond[:, : policy.encoder.output_size]
        wanted = judge.action_value(seen_by_judge, action.flatten(1)).numpy()
        error = np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))
        worst = max(worst, float(error.max()))
    return worst
