"""What the guard remembers from one tick to the next, and what it says."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.chunks import ActionChunk
from bridle.deploy.guard.braking import Stop

Vector = NDArray[np.float64]


class GuardError(ValueError):
    """The guard cannot start or be reset like this."""


class Mode(StrEnum):
    """What the guard is doing."""

    NOMINAL = "NOMINAL"
    """Following the running chunk."""
    HOLD = "HOLD"
    """Braking or at rest; goes on by itself with the next chunk once the cause is gone."""
    LATCHED = "LATCHED"
    """Stopped by a person; only a reset leads out."""


@dataclass(frozen=True)
class Intervention:
    """A rule that kept the command from what was asked for."""

    rule: str
    """`position`, `velocity`, `acceleration`, `braking` (shaping); `joint_states`, `tracking`,
    `chunk`, `stop`, `workspace`, `check`, `failure` (a stop)."""
    joint: str
    """Joint, or other quantity, that the numbers are about; empty when there is none."""
    value: float
    """What was asked for or measured, in the unit of `bound`."""
    bound: float
    """What is allowed."""
    unit: str
    moved: float
    """Largest distance of any joint between the command and what the chunk asked for [rad];
    nan when that is unknown."""
    detail: str = ""

    def __str__(self) -> str:
        what = " ".join(part for part in (self.rule, self.joint) if part)
        numbers = f" {self.value:.4g} against {self.bound:.4g} {self.unit}" if self.unit else ""
        return f"{what}:{numbers}{' ' + self.detail if self.detail else ''}"


@dataclass(frozen=True, eq=False)
class Command:
    """What the robot is to do until the next tick."""

    position: Vector
    """(n,) [rad]."""
    velocity: Vector
    """(n,) [rad/s]: the step from the previous command over one control period."""
    mode: Mode
    intervention: Intervention | None
    """The rule that acted in this tick."""


@dataclass(frozen=True, eq=False)
class GuardState:
    """Everything that changes. Times are monotonic [s]; arrays are never written to."""

    mode: Mode
    why: str
    """One sentence on the mode; empty in NOMINAL."""
    since: float
    """When the mode was entered."""
    q: Vector
    """Last command (n,) [rad]."""
    v: Vector
    """Its velocity (n,) [rad/s]."""
    stop: Stop
    """The stop that is carried out, or in NOMINAL the one that would be."""
    stopping: float
    """Time into the stop [s]; 0 in NOMINAL."""
    chunk: ActionChunk | None
    started_at: float
    """Start or last reset: what was observed before does not count."""
    observed_at: float
    """Observation time of the last chunk accepted."""
    seen: Vector
    """Where the robot was at `seen_at` (n,) [rad]."""
    seen_at: float
    """When it was last seen to move, or to be where it was commanded."""
    accepted: int = 0
    """Chunks accepted."""
    interventions: int = 0
    """Ticks in which a rule acted."""
    holds: int = 0
    """Times that NOMINAL ended in HOLD."""

    @property
    def at_rest(self) -> bool:
        """Whether the command stands still."""
        return not np.any(self.v)
