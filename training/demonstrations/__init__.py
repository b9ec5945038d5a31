"""Demonstration sets: the front door to everything about them.

docs/demonstrations.md describes the format.
"""

from bridle.training.demonstrations.digest import ContentDigest
from bridle.training.demonstrations.loading import DemonstrationSet, load, split_by_episode
from bridle.training.demonstrations.schema import (
    KNOWN_KEYS,
    Attributes,
    DemonstrationError,
    KeySpec,
    known_key,
)
from bridle.training.demonstrations.storage import Problem
from bridle.training.demonstrations.writer import DemonstrationWriter

__all__ = [
    "KNOWN_KEYS",
    "Attributes",
    "ContentDigest",
    "DemonstrationError",
    "DemonstrationSet",
    "DemonstrationWriter",
    "KeySpec",
    "Problem",
    "known_key",
    "load",
    "split_by_episode",
]
