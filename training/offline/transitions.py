"""Transitions of a set: what was seen, which chunk was executed, and what followed on it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from bridle.policies import Policy
from bridle.policies.critics import Transitions
from bridle.training.demonstrations import DemonstrationSet
from bridle.training.demonstrations.windows import WindowSampler
from bridle.training.exceptions import TrainingError

AT_ONCE = 2048
"""Rows that are encoded at once."""


@dataclass(frozen=True)
class TransitionTable:
    """One transition for each row of a set: the chunk that begins there."""

    cond: Float[Tensor, "rows cond"]
    """What the policy's encoder says of the observations up to the row."""
    action: Float[Tensor, "rows steps*action"]
    """The n actions from the row on, as the policy normalises them; after the episode its last."""
    reward: Float[Tensor, " rows"]
    """Discounted sum of their rewards; nothing comes after the episode."""
    cost: Float[Tensor, " rows"]
    """1 where any of them had a cost, else 0."""
    following: Int[Tensor, " rows"]
    """The row n steps on, in the same episode: its last one where it ends before."""
    last: Float[Tensor, " rows"]
    """1 where the episode ends before."""

    def take(self, rows: Int[Tensor, " batch"]) -> Transitions:
        """Those that begin at some rows."""
        return Transitions(
            self.cond[rows],
            self.action[rows],
            self.reward[rows],
            self.cost[rows],
            self.cond[self.following[rows]],
            self.last[rows],
        )


def transition_table(
    policy: Policy, data: DemonstrationSet, discount: float, device: torch.device | str = "cpu"
) -> TransitionTable:
    """Read the transitions of a set as a policy sees it and acts in it.

    Args:
        policy: whose encoder, normalisation and executed slice are taken; it comes back in
            evaluation mode.
        data: the set, with the observations of the policy (sentences as tokens) and `reward`;
            without `cost` nothing costs.
        discount: gamma per control step.
        device: where the table is made and stays.

    Raises:
        TrainingError: the set has no rewards.
        DemonstrationError: it lacks an observation.
        PolicyError: an observation has another shape.
    """
    if "reward" not in data.arrays:
        raise TrainingError("the set has no reward; sets from bridle collect have")
    n = policy.config.n_action_steps
    ends = np.repeat(data.episode_ends, np.diff(data.episode_ends, prepend=0))
    rows = np.arange(data.n_steps)
    cost = data.arrays.get("cost", np.zeros(data.n_steps, np.float32))
    cond, action = _seen_and_done(policy, data, device)
    return TransitionTable(
        cond=cond,
        action=action,
        reward=torch.from_numpy(_discounted(data.arrays["reward"], ends, n, discount)).to(device),
        cost=torch.from_numpy(_any_cost(cost, ends, n)).to(device),
        following=torch.from_numpy(np.minimum(rows + n, ends - 1)).to(device),
        last=torch.from_numpy((rows + n >= ends).astype(np.float32)).to(device),
    )


def _ahead(values: NDArray[np.generic], ends: NDArray[np.int64], k: int) -> NDArray[np.float32]:
    """Each row's value k steps on; 0 after its episode."""
    rows = np.arange(len(ends)) + k
    found = np.asarray(values, np.float32)[np.minimum(rows, ends - 1)]
    ahead: NDArray[np.float32] = np.where(rows < ends, found, np.float32(0))
    return ahead


def _discounted(
    reward: NDArray[np.generic], ends: NDArray[np.int64], n: int, discount: float
) -> NDArray[np.float32]:
    terms = (np.float32(discount**k) * _ahead(reward, ends, k) for k in range(n))
    total: NDArray[np.float32] = np.sum(list(terms), axis=0)
    return total


def _any_cost(cost: NDArray[np.generic], ends: NDArray[np.int64], n: int) -> NDArray[np.float32]:
    touched: NDArray[np.float32] = np.any(
        [_ahead(cost, ends, k) > 0 for k in range(n)], axis=0
    ).astype(np.float32)
    return touched


@torch.no_grad()
def _seen_and_done(
    policy: Policy, data: DemonstrationSet, device: torch.device | str
) -> tuple[Tensor, Tensor]:
    config = policy.config
    before = config.encoder.n_obs_steps - 1
    windows = WindowSampler(
        # One for each row: such a window is as long as what a chunk needs, and may be cut anywhere.
        data,
        horizon=before + config.n_action_steps,
        n_obs_steps=before + 1,
        n_action_steps=config.n_action_steps,
        obs_keys=tuple(config.encoder.inputs),
    )
    policy = policy.to(device).eval()
    seen, done = [], []
    for first in range(0, len(windows), AT_ONCE):
        indices = np.arange(first, min(first + AT_ONCE, len(windows)))
        batch = {
            key: torch.from_numpy(value).to(device)
            for key, value in windows.sample(indices).items()
            if key != "is_pad"
        }
        cond, offset, scale = policy.encode(batch)
        # What is committed comes and goes with delays; critics do without.
        seen.append(cond[:, : policy.encoder.output_size])
        done.append(((batch["action"][:, before:] - offset) / scale).flatten(1))
    return torch.cat(seen), torch.cat(done)
