"""Weighted imitation: the learner of imitation, with critics that say what is worth imitating."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bridle.policies import Policy, PolicyConfig
from bridle.policies.critics import Critics
from bridle.policies.policy import WEIGHT
from bridle.training import runs
from bridle.training.demonstrations import DemonstrationSet
from bridle.training.exceptions import TrainingError
from bridle.training.learner import Learner
from bridle.training.offline.config import OfflineTrainConfig
from bridle.training.offline.critic_training import CRITICS, CriticLearner, train_critics
from bridle.training.offline.transitions import TransitionTable, transition_table
from bridle.training.processes import on_main


@dataclass(frozen=True)
class Judgement:
    """What critics say of the chunks of a set, as shares of them."""

    costly: float
    """Those that have a cost."""
    infeasible: float | None
    """Those begun where no way is known that stays safe (V_h > 0); None without feasibility."""
    leaving: float | None
    """Those that leave a safe way (Q_h > 0 where V_h <= 0), which get no weight."""
    effective: float
    """How many equally weighted ones would have as even a mean: Kish's (sum w)^2 / sum w^2."""


class OfflineLearner(Learner):
    """Goes on from a run's policy; its encoder stays, so that critics and policy see the same."""

    def __init__(self, config: OfflineTrainConfig) -> None:
        """See `Learner`.

        Raises:
            TrainingError: the run is damaged, or the set does not fit its policy or lacks a cost.
        """
        self._begun, _ = runs.load_policy(config.offline.run)
        self._offline = config.offline
        self.judgement: Judgement | None = None
        super().__init__(config)

    def _structure(self, data: DemonstrationSet) -> PolicyConfig:
        found, wanted = data.arrays["action"].shape[1], self._begun.config.action_size
        if found != wanted:
            raise TrainingError(f"the set has {found} channels of action, the policy {wanted}")
        if self._offline.critic.unsafe is not None and not np.any(data.arrays.get("cost", 0)):
            raise TrainingError(
                "no step of the set has a cost: what must not happen cannot be learned from it; "
                "give a set in which it does, or finetune iql"
            )
        return self._begun.config

    def _start(self) -> Policy:
        self._begun.encoder.requires_grad_(False)
        return self._begun.train()

    def prepare(self) -> None:
        """Train the critics, if they are not there yet, and weigh all windows."""
        # On the policy as it began: its encoder and statistics are what the critics go by.
        table = transition_table(
            self.policy, self._observed, self._offline.critic.discount, self.accelerator.device
        )
        self.policy.train()
        on_main(lambda: self._train_critics(table))
        critics = Critics(table.cond.shape[1], table.action.shape[1], self._offline.critic)
        critics.load_state_dict(runs.load_tensors(self.config.out / CRITICS))
        weights = self._weights(critics.to(table.cond.device), table)
        arrays = {**self._observed.arrays, WEIGHT: weights.cpu().numpy()}
        keys = (*self.policy_config.encoder.inputs, WEIGHT)
        self.windows, self.val_windows = self._windows(replace(self._observed, arrays=arrays), keys)

    def _train_critics(self, table: TransitionTable) -> None:
        if (self.config.out / CRITICS).is_file():
            return
        config = self._offline
        learner = CriticLearner(
            table, self._rows(), config, self.policy_config.n_action_steps, self.config.seed
        )
        train_critics(learner, config.steps, self.config.out, self.config.checkpoint_seconds)

    def _rows(self) -> Tensor:
        """Rows of the episodes that are trained on."""
        ends = self._observed.episode_ends
        begins = ends - np.diff(ends, prepend=0)
        rows = np.concatenate([np.arange(begins[i], ends[i]) for i in self._train])
        return torch.from_numpy(rows).to(self.accelerator.device)

    def _weights(self, critics: Critics, table: TransitionTable) -> Tensor:
        """Weights (rows,) with a mean of 1, so that the learning rate means what it does without.

        Raises:
            TrainingError: nothing is left to imitate.
        """
        weights = critics.weights(table.cond, table.action, self._offline.weights)
        mean = weights[self._rows()].mean()
        if not (torch.isfinite(mean) and mean > 0):
            raise TrainingError(
                "the critics leave nothing of the set to imitate; train them longer "
                "(--critic-steps), or give a set with safe demonstrations"
            )
        weights = weights / mean
        infeasible = leaving = None
        if critics.feasibility is not None:
            lost = critics.feasibility.state_value(table.cond) > 0
            left = critics.feasibility.action_value(table.cond, table.action) > 0
            infeasible, leaving = _share(lost), _share(left & ~lost)
        self.judgement = Judgement(
            costly=_share(table.cost > 0),
            infeasible=infeasible,
            leaving=leaving,
            effective=float(weights.sum().square() / weights.square().sum() / len(weights)),
        )
        return weights


def _share(which: Tensor) -> float:
    return float(which.float().mean())
