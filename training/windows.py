"""Windows of demonstrations: a short history of observations and the actions that follow.

As in Diffusion Policy (arXiv 2303.04137), with To observed and H predicted steps, of which Ta are
executed (here To = 2, H = 8, Ta = 4):

    |o|o|                       To observations, the newest at index To - 1
    |a|a|a|a|a|a|a|a|           H actions predicted
    | |a|a|a|a| | | |           Ta actions executed, from index To - 1 on

A window may begin To - 1 steps before its episode and end Ta - 1 steps after it; what lies outside
is padded by repeating the first or the last step. No window crosses episodes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations import DemonstrationSet
from bridle.training.schema import DemonstrationError


class WindowSampler:
    """Gathers whole batches of windows from memory by index."""

    def __init__(
        self,
        data: DemonstrationSet,
        *,
        horizon: int,
        n_obs_steps: int,
        n_action_steps: int,
        obs_keys: Sequence[str],
        episodes: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> None:
        """Build the index table.

        Args:
            data: a set in memory.
            horizon: steps of a window (H).
            n_obs_steps: observations in its history (To).
            n_action_steps: actions executed (Ta).
            obs_keys: observations to gather.
            episodes: episodes to draw from; None takes all.

        Raises:
            DemonstrationError: the steps do not fit together, or a key is missing.
        """
        if not (n_obs_steps >= 1 and n_action_steps >= 1):
            raise DemonstrationError(
                f"n_obs_steps and n_action_steps must be at least 1, "
                f"got {n_obs_steps} and {n_action_steps}"
            )
        if n_obs_steps - 1 + n_action_steps > horizon:
            raise DemonstrationError(
                f"horizon {horizon} is shorter than n_obs_steps - 1 + n_action_steps = "
                f"{n_obs_steps - 1 + n_action_steps}"
            )
        missing = [key for key in (*obs_keys, "action") if key not in data.arrays]
        if missing:
            raise DemonstrationError(f"the set has no key '{missing[0]}'")
        self._data, self._keys = data, tuple(obs_keys)
        starts = np.concatenate([[0], data.episode_ends[:-1]])
        chosen = np.arange(data.n_episodes) if episodes is None else np.asarray(episodes)
        rows = []
        for episode in chosen:
            first, end = int(starts[episode]), int(data.episode_ends[episode])
            last_start = end - horizon + n_action_steps - 1
            begin = np.arange(first - (n_obs_steps - 1), max(last_start, first - n_obs_steps + 1) + 1)
            rows.append(np.stack([begin, np.full_like(begin, first), np.full_like(begin, end)], 1))
        table = np.concatenate(rows) if rows else np.empty((0, 3), np.int64)
        self._begin, self._first, self._end = table.T
        self._obs_steps, self._steps = np.arange(n_obs_steps), np.arange(horizon)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._begin)

    def sample(self, indices: NDArray[np.integer]) -> dict[str, NDArray[np.generic]]:
        """A batch of windows.

        Args:
            indices: (B,) of windows.

        Returns:
            Each observation (B, To, ...), `action` (B, H, A), and `is_pad` (B, H), true where the
            action repeats the first or last one.
        """
        begin = self._begin[indices, None]
        first, last = self._first[indices, None], self._end[indices, None] - 1
        steps = begin + self._steps
        rows = np.clip(steps, first, last)
        obs_rows = np.clip(begin + self._obs_steps, first, last)
        batch = {key: self._data.arrays[key][obs_rows] for key in self._keys}
        batch["action"] = self._data.arrays["action"][rows]
        batch["is_pad"] = steps != rows
        return batch
