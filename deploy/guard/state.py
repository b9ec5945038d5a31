"""What the guard remembers from one tick to the next, and what it says."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.chunks import ActionChunk
from bridle.deploy.guard.limits import Obstacle
from bridle.deploy.guard.motion import Motion, Posture
from bridle.deploy.guard.records import Record
from bridle.deploy.guard.reference import Reference

Vector = NDArray[np.float64]


class GuardError(ValueError):
    """The guard cannot start or be reset like this."""


class Mode(StrEnum):
    """What the guard is doing."""

    NOMINAL = "NOMINAL"
    """Following the running chunk."""
    CAUTION = "CAUTION"
    """Following it slowly: the policy is on unfamiliar ground and asks for help."""
    HOLD = "HOLD"
    """Braking or at rest; goes on by itself with the next chunk once the cause is gone."""
    LATCHED = "LATCHED"
    """Stopped by a person; only a reset leads out."""


@dataclass(frozen=True)
class Intervention:
    """A rule that kept the command from what was asked for."""

    rule: str
    """`position`, `velocity`, `acceleration`, `jerk`, `tool_speed`, `workspace`, `collision`,
    `separation`, `singularity`: the command was bent or slowed down. `joint_states`, `tracking`,
    `chunk`, `obstacles`, `familiarity`, `check`, `failure`: a stop."""
    what: str
    """Joint, tool or parts of the body that the numbers are about; empty when there is none."""
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
        what = " ".join(part for part in (self.rule, self.what) if part)
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


@dataclass(frozen=True)
class Advice:
    """What the guardian of the policy says of its newest chunk."""

    mode: Mode = Mode.NOMINAL
    """NOMINAL, CAUTION or HOLD."""
    speed: float = 1.0
    """Share of the velocity limits that is used at CAUTION."""
    why: str = ""


@dataclass(frozen=True, eq=False)
class GuardState(Record):
    """Everything that changes. Times are monotonic [s]; arrays are never written to."""

    mode: Mode
    why: str
    """One sentence on the mode; empty in NOMINAL."""
    since: float
    """When the mode was entered."""
    posture: Posture
    """Last command."""
    step: Vector
    """Mean velocity of the period that led to it (n,) [rad/s]."""
    stop: Motion
    """The stop that is carried out, or the one that would be."""
    stopping: float
    """Time into the stop [s]; 0 where a chunk is followed."""
    reference: Reference | None
    """What the running chunk asks for."""
    chunk: ActionChunk | None
    started_at: float
    """Start or last reset: what was observed before does not count."""
    observed_at: float
    """Observation time of the last chunk accepted."""
    seen: Vector
    """Where the robot was at `seen_at` (n,) [rad]."""
    seen_at: float
    """When it was last seen to move, or to be where it was commanded."""
    still: Vector
    """Where the robot has been, to a hair, since `still_since` (n,) [rad]."""
    still_since: float
    joined: Vector | None = None
    """Where the robot stood when the command went to it (n,) [rad]; None once it has been seen to
    follow its commands away from there."""
    advice: Advice = field(default_factory=Advice)
    obstacles: tuple[Obstacle, ...] = ()
    """What moved around the robot when it was last reported."""
    reported_at: float = -math.inf
    accepted: int = 0
    """Chunks accepted."""
    interventions: int = 0
    """Ticks in which a rule acted."""
    holds: int = 0
    """Times that following ended in HOLD."""

    @property
    def q(self) -> Vector:
        """Last command (n,) [rad]."""
        return self.posture.q

    @property
    def v(self) -> Vector:
        """Its velocity (n,) [rad/s]."""
        return self.posture.v

    @property
    def at_rest(self) -> bool:
        """Whether the command stands still."""
        return not (np.any(self.posture.v) or np.any(self.posture.a))
