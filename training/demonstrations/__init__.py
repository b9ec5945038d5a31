"""Demonstration sets: the front door to everything about them.

docs/demonstrations.md describes the format.
"""

from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.digest import ContentDigest
from bridle.training.demonstrations.loading import DemonstrationSet, load, split_by_episode
from bridle.training.demonstrations.resuming import create_or_resume
from bridle.training.demonstrations.schema import (
    KNOWN_KEYS,
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
    "create_or_resume",
    "known_key",
    "load",
    "split_by_episode",
]
