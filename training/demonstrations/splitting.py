"""One set as two, by episode: one to train on, one to validate on."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bridle.training.demonstrations.loading import split_by_episode
from bridle.training.demonstrations.progress import Progress, silent
from bridle.training.demonstrations.rewriting import Pick, Rewritten, described, ours, rewrite
from bridle.training.demonstrations.schema import DemonstrationError
from bridle.training.demonstrations.storage import opened_sound


@dataclass(frozen=True)
class Split:
    """Two sets; no episode is in both."""

    train: Rewritten
    val: Rewritten

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return asdict(self)


def split(
    path: Path | str,
    train: Path | str,
    val: Path | str,
    ratio: float | None = None,
    count: int | None = None,
    seed: int = 42,
    progress: Progress = silent,
) -> Split:
    """Divide the episodes of a set at random; both parts keep their order.

    Args:
        path: the set.
        train: new set for the larger part: a folder, a zip or a URL.
        val: new set for the other.
        ratio: share of the episodes that goes to `val`: the choice of `split_by_episode`, which
            training makes with the same ratio and seed.
        count: number of episodes that go to `val`, instead.
        seed: of the choice.
        progress: told how far it is.

    Raises:
        DemonstrationError: not one of `ratio` and `count` is given, a part would be empty, the set
            is damaged, or another set is at `train` or `val`.
    """
    if (ratio is None) == (count is None):
        raise DemonstrationError("split needs either a ratio or a count")
    if str(train) == str(val):
        raise DemonstrationError(f"the two parts cannot both be {train}")
    with opened_sound(path) as (stored, _):
        attributes, n = ours(stored), stored.n_episodes
        if n < 2:
            raise DemonstrationError(f"{path} has {n} episodes; a split needs at least 2")
        if ratio is not None:
            if not 0 < ratio < 1:
                raise DemonstrationError(f"the ratio must lie between 0 and 1, got {ratio}")
            kept, held_out = split_by_episode(n, ratio, seed)
        else:
            if count is None or not 1 <= count < n:
                raise DemonstrationError(f"the count must be 1 to {n - 1}, got {count}")
            chosen = np.random.default_rng(seed).choice(n, count, replace=False)
            held_out = np.sort(chosen)
            kept = np.setdiff1d(np.arange(n), held_out)
        how = {"ratio": ratio} if ratio is not None else {"count": count}
        source = {"command": "split", **how, "seed": seed, "input": described(stored, progress)}
        parts = []
        for part, episodes, out in (("train", kept, train), ("val", held_out, val)):
            picks = [Pick(stored, int(i)) for i in episodes]
            its = replace(attributes, source={**source, "part": part})
            parts.append(rewrite(picks, its, out, progress))
        return Split(*parts)
