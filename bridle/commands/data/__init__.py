"""Look at demonstration sets, check them and change them: one action a file."""

from collections.abc import Sequence

from bridle.commands import dispatch

ACTIONS = {
    "info": "what is in a set",
    "validate": "every kind of damage, by file, key, row and episode",
}
"""Action -> what it does; each lives in `bridle.commands.data.<action>`."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return dispatch("data", ACTIONS, arguments)
