"""Actions that are committed: what a robot will do until the next chunk arrives.

A policy that is given them makes a chunk that goes on from them. They are a part of the condition,
so every generator and network takes them, one of a single step too. To train with given beginnings
of random length: training-time real-time chunking, Black et al. 2025 (arXiv 2512.05964); there the
beginning stands in the noisy chunk, with a flow time of its own.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bridle.policies.exceptions import PolicyError

COMMITTED, N_COMMITTED = "committed", "n_committed"
"""The actions (B, D, A), absolute positions from the newest observation on [rad], and how many of
them count (B, 1), 0 to D."""
NOTHING = 0.25
"""Share of the windows for which nothing is committed in training: the first chunk of an episode,
and every one of a robot that waits for its chunks."""
NOISE = 0.1
"""Largest noise on what is committed in training, in standard deviations of the actions: on a robot
it comes from the policy, which does not go on as exactly as a demonstration."""


def committed_features(
    observation: Mapping[str, Tensor],
    offset: Float[Tensor, "batch 1 action"],
    scale: Float[Tensor, " action"],
    most: int,
) -> Float[Tensor, "batch features"]:
    """What is committed in normalised units, and 1 for each action that counts: D (A + 1) numbers.

    Args:
        observation: with `committed` and `n_committed`, or with neither for nothing.
        offset: of the chunk [rad].
        scale: of the chunk [rad].
        most: actions that may be given (D).

    Raises:
        PolicyError: one of the two is missing, or the actions have another shape.
    """
    batch, _, channels = offset.shape
    if COMMITTED not in observation and N_COMMITTED not in observation:
        return offset.new_zeros(batch, most * (channels + 1))
    missing = [key for key in (COMMITTED, N_COMMITTED) if key not in observation]
    if missing:
        raise PolicyError(f"{missing[0]} is missing: {COMMITTED} and {N_COMMITTED} go together")
    actions = observation[COMMITTED]
    if actions.shape[1:] != (most, channels):
        raise PolicyError(
            f"{COMMITTED} must be (batch, {most}, {channels}), got {tuple(actions.shape)}"
        )
    counts = torch.arange(most, device=offset.device) < observation[N_COMMITTED]
    # What does not count is chosen away, not multiplied with 0: it may be anything.
    known = torch.where(counts[..., None], (actions - offset) / scale, 0.0)
    return torch.cat([known.flatten(1), counts.to(known.dtype)], dim=1)


def draw_committed(
    actions: Float[Tensor, "batch most action"],
    scale: Float[Tensor, " action"],
    random: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Commit to a random number of the first actions of each window, for training.

    Args:
        actions: the first D of each window from the newest observation on [rad].
        scale: standard deviation of the actions [rad].
        random: source of the numbers and of the noise; None draws from the global state.

    Returns:
        `committed` and `n_committed`.
    """
    batch, most, device = actions.shape[0], actions.shape[1], actions.device
    n = torch.randint(1, most + 1, (batch, 1), generator=random, device=device)
    nothing = torch.rand(batch, 1, generator=random, device=device) < NOTHING
    size = NOISE * torch.rand(batch, 1, 1, generator=random, device=device)
    noise = torch.randn(actions.shape, generator=random, device=device)
    return {
        COMMITTED: actions + size * scale * noise,
        N_COMMITTED: torch.where(nothing, torch.zeros_like(n), n),
    }


def free_rows(
    n_committed: Int[Tensor, "batch 1"], horizon: int, first: int
) -> Float[Tensor, "batch horizon 1"]:
    """1 for every row of a chunk but those that are committed, which begin at row `first`."""
    row = torch.arange(horizon, device=n_committed.device)
    given = (row >= first) & (row < first + n_committed)
    return (~given).float()[..., None]
