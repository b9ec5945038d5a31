"""Training of critics on a table of transitions; a kill loses a few seconds of it."""

import time
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from bridle.policies.critics import Critics
from bridle.training import runs
from bridle.training.exceptions import TrainingError
from bridle.training.offline.config import Offline
from bridle.training.offline.transitions import TransitionTable

CRITICS, CRITICS_STATE = "critics.safetensors", "critics_state.safetensors"
"""Files in the run folder: the critics, and what is needed to go on training them."""


class CriticLearner:
    """The state of a training, and its single step; its randomness is that of the step number."""

    def __init__(
        self, table: TransitionTable, rows: Tensor, config: Offline, steps_ahead: int, seed: int
    ) -> None:
        """Prepare.

        Args:
            table: all transitions.
            rows: those to learn from.
            config: sizes, learning rate and batch.
            steps_ahead: control steps of a transition (n).
            seed: of weights and batches.
        """
        torch.manual_seed(seed)
        sizes = table.cond.shape[1], table.action.shape[1]
        self.critics = Critics(*sizes, config.critic).to(table.cond.device)
        self.optimizer = torch.optim.Adam(
            [p for p in self.critics.parameters() if p.requires_grad], lr=config.learning_rate
        )
        self.step = 0
        self._table, self._rows, self._seed = table, rows, seed
        self._batch_size = config.batch_size
        self._discount = config.critic.discount**steps_ahead

    def train_step(self) -> Tensor:
        """One step; the sum of the losses."""
        random = np.random.default_rng([self._seed, 3, self.step])
        drawn = torch.from_numpy(random.integers(len(self._rows), size=self._batch_size))
        batch = self._table.take(self._rows[drawn.to(self._rows.device)])
        loss = torch.stack([*self.critics.loss(batch, self._discount).values()]).sum()
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.critics.follow()
        self.step += 1
        return loss.detach()

    def save(self, path: Path) -> None:
        """Write the state to continue from."""
        state = {f"critics.{k}": v for k, v in self.critics.state_dict().items()}
        for i, slots in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{i}.{k}": v for k, v in slots.items()}
        state["step"] = torch.tensor(self.step)
        runs.save_tensors(path, state)

    def restore(self, path: Path) -> None:
        """Continue from what `save` wrote."""
        state = runs.load_tensors(path)
        self.step = int(state.pop("step"))
        slots: dict[int, dict[str, Tensor]] = {}
        critics: dict[str, Tensor] = {}
        for name, value in state.items():
            part, _, rest = name.partition(".")
            if part == "critics":
                critics[rest] = value
            else:
                index, slot = rest.split(".", 1)
                slots.setdefault(int(index), {})[slot] = value
        self.critics.load_state_dict(critics)
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})


def train_critics(
    learner: CriticLearner, steps: int, folder: Path, checkpoint_seconds: float
) -> None:
    """Train to the end, or go on with what `folder` has, and write the critics there.

    Raises:
        TrainingError: they diverge.
    """
    state = folder / CRITICS_STATE
    if state.is_file():
        learner.restore(state)
    saved_at, shown = time.monotonic(), float("nan")
    with _progress() as progress:
        task = progress.add_task("", total=steps, completed=learner.step, loss=shown)
        while learner.step < steps:
            loss = learner.train_step()
            if learner.step % 100 == 0 or learner.step == steps:
                shown = float(loss)
                if not np.isfinite(shown):
                    raise TrainingError(
                        f"the critics' loss became {shown} before step {learner.step}; lower "
                        "--critic-learning-rate"
                    )
            progress.update(task, completed=learner.step, loss=shown)
            if time.monotonic() - saved_at > checkpoint_seconds:
                learner.save(state)
                saved_at = time.monotonic()
    runs.save_tensors(folder / CRITICS, learner.critics.state_dict())
    state.unlink(missing_ok=True)


def _progress() -> Progress:
    return Progress(
        TextColumn("training critics"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps, loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
