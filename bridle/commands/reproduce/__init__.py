"""Make again what the documentation reports, with the commands that anyone has."""

from collections.abc import Sequence

from bridle.commands import dispatch

ACTIONS = {
    "results": "how well policies do on the suite: docs/results.md",
}
"""Action -> what it makes; each lives in `bridle.commands.reproduce.<action>`."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return dispatch("reproduce", ACTIONS, arguments)
