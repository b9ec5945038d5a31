"""The commands of `bridle`, one file each, with a `main(args)` that parses and runs it."""

from collections.abc import Sequence
from typing import TypeVar

import tyro

T = TypeVar("T")


def parse(options: type[T], command: str, arguments: Sequence[str], about: str | None) -> T:
    """Parse a command's arguments into its options, a dataclass whose field docs are the help.

    Args:
        options: the dataclass.
        command: name after `bridle`.
        arguments: what follows the name.
        about: first text of the help, the command module's docstring.
    """
    return tyro.cli(
        options,
        prog=f"bridle {command}",
        description=about,
        args=list(arguments),
        config=(tyro.conf.OmitArgPrefixes,),
    )
