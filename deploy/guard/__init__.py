"""Hard limits between a policy and a robot.

`Guard` holds what does not change (limits, rates, watchdogs); `GuardState` is everything that does.
Every function returns a new state, so the same inputs always give the same commands.
This is not a certified safety function.
"""

from bridle.deploy.guard.guard import Guard
from bridle.deploy.guard.limits import Obstacle
from bridle.deploy.guard.state import Command, GuardError, GuardState, Intervention, Mode

__all__ = ["Command", "Guard", "GuardError", "GuardState", "Intervention", "Mode", "Obstacle"]
