"""The corrections a person can make, as frozen dataclasses, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

Direction: TypeAlias = Literal["left", "right", "up", "down", "forward", "back"]

DIRECTIONS: Mapping[Direction, tuple[int, int, int]] = MappingProxyType(
    {
        "forward": (1, 0, 0),
        "back": (-1, 0, 0),
        "left": (0, 1, 0),
        "right": (0, -1, 0),
        "up": (0, 0, 1),
        "down": (0, 0, -1),
    }
)
"""Unit vector (x, y, z) of each direction in the robot's base frame.

x points forward, away from the base, y left and z up (REP 103). Left and right are the robot's.
"""

MAX_NUDGE = 0.10
"""The longest nudge, in metres."""

MIN_PACE = 0.1
"""The slowest pace, as a multiple of the demonstrated one."""

MAX_PACE = 2.0
"""The fastest pace, as a multiple of the demonstrated one."""


def opposite(direction: Direction) -> Direction:
    """Return the direction whose unit vector is the negative of that of `direction`."""
    x, y, z = DIRECTIONS[direction]
    return next(name for name, vector in DIRECTIONS.items() if vector == (-x, -y, -z))


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop now. `text` is what was said, cut to 500 characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Nudge:
    """Displace the running motion by `metres` along `direction` of the robot's base frame.

    Raises:
        ValueError: the direction or the frame is unknown, or `metres` is outside (0, 0.10].
    """

    direction: Direction
    metres: float
    frame: Literal["base"] = "base"

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ValueError(
                f"Nudge.direction: expected one of {', '.join(DIRECTIONS)}, got {self.direction!r}"
            )
        if not 0.0 < self.metres <= MAX_NUDGE:
            raise ValueError(
                f"Nudge.metres: expected more than 0 and at most {MAX_NUDGE}, got {self.metres}"
            )
        if self.frame != "base":
            raise ValueError(f"Nudge.frame: expected 'base', got {self.frame!r}")


@dataclass(frozen=True, slots=True)
class Grip:
    """Open or close the gripper.

    Raises:
        ValueError: `grip` is neither "open" nor "close".
    """

    grip: Literal["open", "close"]

    def __post_init__(self) -> None:
        if self.grip not in ("open", "close"):
            raise ValueError(f"Grip.grip: expected 'open' or 'close', got {self.grip!r}")


@dataclass(frozen=True, slots=True)
class Pace:
    """Play motion at `factor` times the demonstrated pace: 1 as demonstrated, 0.5 half as fast.

    The factor is never relative to the pace in force, so that a message delivered twice changes
    nothing.

    Raises:
        ValueError: `factor` is outside [0.1, 2].
    """

    factor: float

    def __post_init__(self) -> None:
        if not MIN_PACE <= self.factor <= MAX_PACE:
            raise ValueError(
                f"Pace.factor: expected between {MIN_PACE} and {MAX_PACE}, got {self.factor}"
            )


@dataclass(frozen=True, slots=True)
class Instruct:
    """Follow `instruction`, spelled as in the list of known instructions.

    Raises:
        ValueError: `instruction` is blank.
    """

    instruction: str

    def __post_init__(self) -> None:
        if not self.instruction.strip():
            raise ValueError("Instruct.instruction: expected a sentence, got a blank one")


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """Nothing is done: `why`, in one sentence, and the `nearest` sentences that would be read."""

    why: str
    nearest: tuple[str, ...] = ()


Correction: TypeAlias = Stop | Nudge | Grip | Pace | Instruct | NotUnderstood


def to_json(correction: Correction) -> dict[str, str | float | list[str]]:
    """Return a dict for `json.dumps`, told apart by its key `kind`.

    | kind             | other keys                    |
    |------------------|-------------------------------|
    | `stop`           |                               |
    | `nudge`          | `direction`, `metres`, `frame`|
    | `grip`           | `grip`                        |
    | `pace`           | `factor`                      |
    | `instruct`       | `instruction`                 |
    | `not_understood` | `why`, `nearest`              |
    """
    match correction:
        case Stop():
            return {"kind": "stop"}
        case Nudge(direction, metres, frame):
            return {"kind": "nudge", "direction": direction, "metres": metres, "frame": frame}
        case Grip(grip):
            return {"kind": "grip", "grip": grip}
        case Pace(factor):
            return {"kind": "pace", "factor": factor}
        case Instruct(instruction):
            return {"kind": "instruct", "instruction": instruction}
        case NotUnderstood(why, nearest):
            return {"kind": "not_understood", "why": why, "nearest": list(nearest)}
