"""What a person says to a running robot, turned into exactly one typed correction.

`parse` reads a sentence; `is_stop` answers only whether it says stop, for the guard.
"""

from bridle.deploy.language.corrections import (
    DIRECTIONS,
    MAX_NUDGE,
    MAX_PACE,
    MIN_PACE,
    Correction,
    Direction,
    Grip,
    Instruct,
    NotUnderstood,
    Nudge,
    Pace,
    Stop,
    opposite,
    to_json,
)
from bridle.deploy.language.grammar import MAX_CHARACTERS, interpret, parse
from bridle.deploy.language.stop import is_stop

__all__ = [
    "DIRECTIONS",
    "MAX_CHARACTERS",
    "MAX_NUDGE",
    "MAX_PACE",
    "MIN_PACE",
    "Correction",
    "Direction",
    "Grip",
    "Instruct",
    "NotUnderstood",
    "Nudge",
    "Pace",
    "Stop",
    "interpret",
    "is_stop",
    "opposite",
    "parse",
    "to_json",
]
