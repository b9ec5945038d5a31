"""How a task tells an expert what to do: phases with words, tool targets and gripper targets."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OPEN, CLOSED = 0.0, 0.8
"""Gripper targets [rad]."""


@dataclass(frozen=True)
class ToolTarget:
    """Where the tool should be, pointing down."""

    position: NDArray[np.float64]
    """(3,) [m], base frame."""
    yaw: float
    """Rotation about the vertical [rad]."""


@dataclass(frozen=True)
class Phase:
    """One step of a script."""

    words: str
    """What a person would say the robot does."""
    target: Callable[[], ToolTarget] | None = None
    """Evaluated when the phase begins; None stays where the tool is."""
    gripper: float = OPEN
    """Gripper target [rad]."""
    tolerance: float = 0.006
    """The phase ends when the tool is this close to its target [m] ..."""
    min_steps: int = 0
    """... and this many control steps have passed (a gripper takes its time)."""
    precise: bool = False
    """Whether disturbances are damped: near contact a large one is no demonstration."""
