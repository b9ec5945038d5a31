"""Look at the guard of a robot: try to make it fail, and check the limits it is to hold."""

from collections.abc import Sequence

from bridle.commands import dispatch

ACTIONS = {
    "fuzz": "send it everything that can go wrong, and watch a simulated robot at every step",
    "check": "say whether a robot's limits are sane, with numbers, warnings and a picture",
}
"""Action -> what it does; each lives in `bridle.commands.guard.<action>`."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return dispatch("guard", ACTIONS, arguments)
