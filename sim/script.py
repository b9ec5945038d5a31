"""How a task tells an expert what to do: phases with words, tool targets and gripper targets."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OPEN, CLOSED = 0.0, 0.8
"""Gripper targets [rad]."""
CAREFUL = 0.25
"""Share of the expert's disturbance near contact."""
CLEARANCE = 0.14
"""Height at which the tool travels [m]."""
OPEN_THE_GRIPPER = "open the gripper"
CORRECTIONS = {
    "a bit to the left": (0, 1, 0),
    "a bit to the right": (0, -1, 0),
    "a bit forward": (1, 0, 0),
    "a bit back": (-1, 0, 0),
    "higher": (0, 0, 1),
    "lower": (0, 0, -1),
}
"""What a person says to a tool that went astray -> the way it should go, base frame."""


@dataclass(frozen=True)
class ToolTarget:
    """Where the tool should be, pointing down."""

    position: NDArray[np.float64]
    """(3,) [m], base frame."""
    yaw: float = 0.0
    """Rotation about the vertical [rad]."""

    def at_height(self, z: float) -> "ToolTarget":
        """The same at another height [m]."""
        return ToolTarget(np.array([*self.position[:2], z]), self.yaw)


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
    disturbance: float = 1.0
    """Share of the expert's disturbance: near contact a large one is no demonstration."""
    speed: float = 0.30
    """Largest speed of the tool [m/s]."""
    room: float = 0.05
    """How far the tool may be led astray here without touching anything [m]."""


def pick(
    what: str, grasp: Callable[[], ToolTarget], *, clearance: float = CLEARANCE
) -> Iterator[Phase]:
    """Go above `what`, down, close the gripper, lift it. `grasp` is where it is taken."""
    start = grasp()
    yield Phase(f"move above {what}", lambda: grasp().at_height(clearance), OPEN, tolerance=0.012)
    yield Phase(f"lower to {what}", grasp, OPEN, tolerance=0.004, disturbance=CAREFUL)
    yield Phase("close the gripper", None, CLOSED, tolerance=1.0, min_steps=8, disturbance=CAREFUL)
    yield Phase(f"lift {what}", lambda: start.at_height(clearance), CLOSED, tolerance=0.02)


def place(
    where: str,
    release: Callable[[], ToolTarget],
    *,
    move: str = "move to",
    lower: str = "lower to",
    clearance: float = CLEARANCE,
) -> Iterator[Phase]:
    """Carry what is held above `where`, down to `release`, open the gripper, move up."""
    yield Phase(f"{move} {where}", lambda: release().at_height(clearance), CLOSED, tolerance=0.012)
    yield Phase(f"{lower} {where}", release, CLOSED, tolerance=0.004, disturbance=CAREFUL)
    yield Phase(OPEN_THE_GRIPPER, None, OPEN, tolerance=1.0, min_steps=7, disturbance=CAREFUL)
    yield Phase("move up", lambda: release().at_height(clearance), OPEN, tolerance=0.012)


def stay() -> Phase:
    """Rest: a policy must know to stay, too."""
    return Phase("stay", None, OPEN, tolerance=1.0, min_steps=8, disturbance=CAREFUL)
