"""Critics at run time: of several chunks the one that stays safe, or the best of those that do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import dacite
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridle.policies import Policy
from bridle.policies.candidates import best_feasible, cheapest
from bridle.policies.critics import CriticConfig, Critics
from bridle.policies.encoders import build_encoder
from bridle.training import runs
from bridle.training.evaluation import TorchPolicy
from bridle.training.exceptions import TrainingError
from bridle.training.offline.critic_training import CRITICS

Choose = Literal["first", "safest", "best"]
N_CANDIDATES = 16
"""Chunks to choose among, as in FISOR (arXiv 2401.10700)."""


def load_critics(run: Path) -> Critics | None:
    """The critics of a run, in evaluation mode on the CPU; None if it has none.

    Raises:
        TrainingError: they are damaged, or do not fit the run.
    """
    described = runs.read_config(run)
    offline = described.train.get("offline")
    if offline is None:
        return None
    try:
        config = dacite.from_dict(CriticConfig, offline["critic"], dacite.Config(strict=True))
        structure = described.policy
        seen = build_encoder(structure.encoder).output_size
        critics = Critics(seen, structure.n_action_steps * structure.action_size, config)
        critics.load_state_dict(runs.load_tensors(run / CRITICS))
    except (dacite.DaciteError, KeyError, TypeError, RuntimeError) as error:
        raise TrainingError(f"{run / CRITICS} does not fit {runs.CONFIG}: {error}") from error
    return critics.eval()


def critics_for(policy: Policy, run: Path, other: Path | None) -> Critics | None:
    """The critics that judge a policy: its run's, if it has any, or those of another run.

    Args:
        policy: as loaded from `run`.
        run: of the policy.
        other: a run to take the critics from instead; its encoder must be the same.

    Raises:
        TrainingError: they are damaged; or the other run has none, another encoder, or actions in
            other units.
    """
    if other is None:
        return load_critics(run)
    critics = load_critics(other)
    if critics is None:
        raise TrainingError(f"{other} has no critics; bridle finetune makes some")
    ours, theirs = (p.state_dict() for p in (policy, runs.load_policy(other)[0]))
    seen = [key for key in ours if key.startswith(("encoder.", "action_normalizer."))]
    if not all(key in theirs and torch.equal(ours[key], theirs[key]) for key in seen):
        raise TrainingError(
            f"{other} sees with another encoder than {run}, or has actions in other units; its "
            "critics mean nothing there"
        )
    return critics


class JudgedPolicy(TorchPolicy):
    """A `Policy` that executes the one of several chunks that its critics like best."""

    def __init__(
        self,
        policy: Policy,
        critics: Critics,
        task: str,
        n_candidates: int = N_CANDIDATES,
        n_steps: int | None = None,
        environment: Mapping[str, Any] | None = None,
        choose: Choose = "first",
    ) -> None:
        """See `TorchPolicy`.

        Args:
            policy: generates the chunks.
            critics: judge them.
            task: the one it was trained on.
            n_candidates: chunks to choose among.
            n_steps: steps to generate in.
            environment: what one is asked for to be seen as in the data.
            choose: `first` takes the first with Q_h <= 0, as on a robot, `best` the one of them
                with the greatest Q, both the least Q_h where there is none; `safest` the least Q_h
                in any case. Critics of the reward alone always take the greatest Q.

        Raises:
            TrainingError: nothing to choose among, or no such way to choose.
        """
        super().__init__(policy, task, n_steps, environment)
        if n_candidates < 2:
            raise TrainingError(f"candidates must be at least 2, got {n_candidates}")
        if choose not in get_args(Choose):
            allowed = " or ".join(get_args(Choose))
            raise TrainingError(f"choose must be {allowed}, got {choose!r}")
        self.critics, self.n_candidates, self.choose = critics, n_candidates, choose

    @torch.no_grad()
    def best_of(
        self,
        observation: Mapping[str, NDArray[np.float32]],
        noise: NDArray[np.float32],
        executed: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """See `Choosing`; what was done before does not matter."""
        tensors = {key: torch.from_numpy(value) for key, value in observation.items()}
        cond, x, chunks = self.policy.candidates(tensors, torch.from_numpy(noise), self.n_steps)
        slices = x[:, :, self.first_action :][:, :, : self.n_action_steps].flatten(2)
        seen = cond[:, None, : self.policy.encoder.output_size]
        costs = self._costs(seen.expand(-1, slices.shape[1], -1), slices)
        chosen: NDArray[np.float32] = cheapest(chunks, costs).numpy()
        return chosen

    def _costs(self, cond: Tensor, action: Tensor) -> Tensor:
        """What each candidate (B, N, ...) costs, (B, N)."""
        feasibility = self.critics.feasibility
        if feasibility is None:
            return -self.critics.reward.action_value(cond, action)
        q_h = feasibility.action_value(cond, action)
        if self.choose == "safest":
            return q_h
        if self.choose == "first":
            # The first one of equals is taken, and -1 is less than any that is not safe.
            return torch.where(q_h <= 0, -1.0, q_h)
        return best_feasible(q_h, self.critics.reward.action_value(cond, action))
