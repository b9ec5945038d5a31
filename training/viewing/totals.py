"""What every episode of the set came to, read from the few keys that hold one number per step."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridle.training.viewing.reading import Reader

_SUCCESS = ("success", "is_success", "next_success")


@dataclass
class Totals:
    """Numbers of all episodes (n_episodes,); None where the set does not tell."""

    returns: NDArray[np.float64] | None = None
    """Sum of the rewards."""
    costs: NDArray[np.float64] | None = None
    """Sum of the costs."""
    success: NDArray[np.bool_] | None = None
    interventions: NDArray[np.float64] | None = None
    """Steps in which a person chose the action."""


def totals(reader: Reader) -> Totals:
    """Read them, block by block.

    Success is what a key or a value of that name says. Without one, an episode with a reward is
    taken to have succeeded where rewards are 0 or 1 only, or where Bridle's collection wrote them;
    other rewards do not tell.

    Raises:
        DemonstrationError: a chunk cannot be decoded.
    """
    found = Totals()
    sums = {name: _sums(reader, name) for name in ("reward", "cost", "intervention", *_SUCCESS)}
    found.returns, found.costs, found.interventions = (
        sums[name] for name in ("reward", "cost", "intervention")
    )
    said = next((sums[name] for name in _SUCCESS if sums[name] is not None), None)
    values = reader.stored.episode_values.get("success")
    if values is not None:
        found.success = values != 0
    elif said is not None:
        found.success = said > 0
    else:
        found.success = _from_reward(reader)
    return found


def _sums(reader: Reader, name: str) -> NDArray[np.float64] | None:
    if reader.scalar(name) is None:
        return None
    total = np.zeros(reader.n_episodes)
    for episodes, values in reader.all_scalars(name):
        np.add.at(total, episodes, np.nan_to_num(values, posinf=0.0, neginf=0.0))
    return total


def _from_reward(reader: Reader) -> NDArray[np.bool_] | None:
    if reader.scalar("reward") is None:
        return None
    peaks = np.full(reader.n_episodes, -np.inf)
    switch = True
    for episodes, values in reader.all_scalars("reward"):
        np.maximum.at(peaks, episodes, np.nan_to_num(values, posinf=0.0, neginf=0.0))
        switch = switch and bool(np.isin(values, (0.0, 1.0)).all())
    attributes = reader.stored.attributes
    ours = attributes is not None and attributes.source.get("command") == "collect"
    if not (switch or ours) or peaks.max() <= 0:
        return None
    return peaks > 0.5
