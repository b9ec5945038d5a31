"""Release a stopped robot: the guard leaves LATCHED and takes chunks again.

Look first: the robot moves on as soon as the policy's next chunk arrives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bridle.commands import parse


@dataclass(frozen=True)
class Options:
    """Options of `bridle reset`."""

    timeout: float = 5.0
    """Seconds to wait for the guard."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "reset", arguments, __doc__)
    from bridle.ros_nodes.operator import Operator

    with Operator() as operator:
        print(operator.trigger("reset", seconds=options.timeout))
