"""Windows of demonstrations: the batches that a policy of action chunks is trained on.

The windows of diffusion_policy (arXiv 2303.04137, `create_indices`). A window is H time steps of
one episode. With To = 2 observations, Ta = 4 executed actions and a horizon of H = 6:

    |o|o|                 observations given to the policy: the first To steps
    | |a|a|a|a|           actions executed: from step To-1 on, the one of the last observation
    |p|p|p|p|p|p|         actions predicted: all H steps

A window may begin To-1 steps before its episode, so that the first time step can be the last
observation, and end Ta-1 steps after it. Steps outside repeat the episode's first or last one:

    time step   . 0 1 2 3 4 5 6 .
    first        |0|0|1|2|3|4|
    last                 |4|5|6|6|6|6|      (an episode of 7 steps, begins at 7 - H + Ta-1 = 4)

An episode that is too short for even one such window (fewer than H - (To-1) - (Ta-1) steps) gives
none.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations.loading import DemonstrationSet
from bridle.training.demonstrations.schema import Array, DemonstrationError

Indices = NDArray[np.int64]


def window_table(
    episode_ends: Indices, horizon: int, pad_before: int, pad_after: int, episodes: Indices
) -> Indices:
    """All windows of some episodes, in the order of `episodes` and of time.

    Args:
        episode_ends: index after the last row of each episode (n_episodes,).
        horizon: steps of a window.
        pad_before: steps that a window may begin before its episode.
        pad_after: steps that a window may end after its episode.
        episodes: which episodes (n,).

    Returns:
        Rows (n_windows, 3): index of the window's first step, which may lie before its episode;
        first and last row of the episode.
    """
    begins = np.concatenate([[0], episode_ends[:-1]])[episodes]
    ends = episode_ends[episodes]
    first = begins - pad_before
    counts = np.maximum(0, ends - horizon + pad_after - first + 1)
    episode = np.repeat(np.arange(len(episodes)), counts)
    rank = np.arange(len(episode)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([first[episode] + rank, begins[episode], ends[episode] - 1], axis=1)


class WindowSampler:
    """Gathers batches of windows from a set in RAM, without Python per sample."""

    def __init__(
        self,
        demonstrations: DemonstrationSet,
        horizon: int,
        n_obs_steps: int,
        n_action_steps: int,
        obs_keys: Sequence[str],
        episodes: Sequence[int] | Indices | None = None,
    ) -> None:
        """Index the windows.

        Args:
            demonstrations: the set, with `action` among its keys.
            horizon: H, actions of a window.
            n_obs_steps: To, observations of a window.
            n_action_steps: Ta, actions that will be executed; To - 1 + Ta <= H.
            obs_keys: keys to give as observations.
            episodes: which episodes to take; None takes all.

        Raises:
            DemonstrationError: a number, key or episode does not fit, or there is no window.
        """
        _check_steps(horizon, n_obs_steps, n_action_steps)
        unknown = [key for key in ("action", *obs_keys) if key not in demonstrations.arrays]
        if unknown:
            raise DemonstrationError(
                f"the set has no {', '.join(unknown)}; it has {', '.join(demonstrations.arrays)}"
            )
        taken = [key for key in obs_keys if key in ("action", "is_pad")]
        if taken:
            raise DemonstrationError(
                f"{taken[0]} cannot be an observation: the batch uses the name"
            )
        n = demonstrations.n_episodes
        chosen = np.arange(n) if episodes is None else np.asarray(episodes)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise DemonstrationError(f"episodes must be a list of integers, got {episodes!r}")
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < n):
            raise DemonstrationError(f"episodes must lie in 0 to {n - 1}, got {chosen.tolist()}")
        self.horizon = horizon
        self.n_obs_steps = n_obs_steps
        # As plain arrays: what is taken from a memory map would still call itself one.
        self._action = np.asarray(demonstrations.arrays["action"])
        self._observations = {key: np.asarray(demonstrations.arrays[key]) for key in obs_keys}
        self._table = window_table(
            demonstrations.episode_ends,
            horizon,
            n_obs_steps - 1,
            n_action_steps - 1,
            chosen.astype(np.int64),
        )
        if not len(self):
            shortest = horizon - (n_obs_steps - 1) - (n_action_steps - 1)
            raise DemonstrationError(
                f"no window fits: {len(chosen)} episodes, none of {shortest} or more steps"
            )

    def __len__(self) -> int:
        return len(self._table)

    def sample(self, indices: Indices) -> dict[str, Array]:
        """Gather windows.

        Args:
            indices: which windows (B,), each 0 to len(self) - 1.

        Returns:
            Every observation key (B, To, ...), `action` (B, H, A), and `is_pad` (B, H), true where
            a step lies outside its episode and repeats its first or last one. action[:, To-1] is
            the one that was commanded at the last observation.

        Raises:
            DemonstrationError: an index is out of range.
        """
        indices = np.asarray(indices)
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise DemonstrationError(
                f"indices: expected integers (B,), got {indices.dtype} {indices.shape}"
            )
        if indices.size and not (indices.min() >= 0 and indices.max() < len(self)):
            raise DemonstrationError(
                f"indices: expected 0 to {len(self) - 1}, got {indices.min()} to {indices.max()}"
            )
        table = self._table[indices]
        steps = table[:, :1] + np.arange(self.horizon)
        rows = np.minimum(np.maximum(steps, table[:, 1:2]), table[:, 2:])
        observed = rows[:, : self.n_obs_steps]
        # For rows of a few numbers, `take` is four times faster than indexing.
        batch = {key: array.take(observed, axis=0) for key, array in self._observations.items()}
        return batch | {"action": self._action.take(rows, axis=0), "is_pad": rows != steps}


def _check_steps(horizon: int, n_obs_steps: int, n_action_steps: int) -> None:
    for name, value in (("n_obs_steps", n_obs_steps), ("n_action_steps", n_action_steps)):
        if value < 1:
            raise DemonstrationError(f"{name} must be at least 1, got {value}")
    if n_obs_steps - 1 + n_action_steps > horizon:
        raise DemonstrationError(
            f"horizon must be at least n_obs_steps - 1 + n_action_steps = "
            f"{n_obs_steps - 1 + n_action_steps}, got {horizon}"
        )
