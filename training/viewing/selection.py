"""Which episodes are looked at."""

import re
from collections.abc import Sequence

import numpy as np

from bridle.training.demonstrations import DemonstrationError

MOST_EPISODES = 12
"""Episodes that are shown unless others are asked for."""
MOST_IN_VIDEO = 4
_PART = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")


def evenly(episodes: Sequence[int], most: int) -> list[int]:
    """At most `most` of them, evenly spread, with the first and the last."""
    if len(episodes) <= most:
        return list(episodes)
    places = np.linspace(0, len(episodes) - 1, most).round().astype(int)
    return [episodes[i] for i in places]


def asked(text: str, n_episodes: int) -> list[int]:
    """Episodes written as 0,3,7-9, each once, in that order.

    Raises:
        DemonstrationError: it is not written so, or there is no such episode.
    """
    chosen: dict[int, None] = {}
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        if found is None:
            raise DemonstrationError(f"--episodes: expected numbers like 0,3,7-9, got {text!r}")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise DemonstrationError(f"--episodes: {part.strip()} runs backwards")
        if last >= n_episodes:
            raise DemonstrationError(
                f"--episodes: expected 0 to {n_episodes - 1}, the set's episodes; "
                f"got {part.strip()}"
            )
        chosen |= dict.fromkeys(range(first, last + 1))
    return list(chosen)
