"""The commands of `bridle`, one file each, with a `main(args)` that parses and runs it."""

import io
import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import tyro

T = TypeVar("T")


def parse(
    options: type[T],
    command: str,
    arguments: Sequence[str],
    about: str | None,
    default: T | None = None,
) -> T:
    """Parse a command's arguments into its options, a dataclass whose field docs are the help.

    Args:
        options: the dataclass.
        command: name after `bridle`.
        arguments: what follows the name.
        about: first text of the help, the command module's docstring.
        default: what holds where nothing is given; None takes the defaults of the fields.

    Raises:
        ValueError: an argument is missing, unknown, or wrong; in one line.
    """
    errors = io.StringIO()
    try:
        with redirect_stderr(errors):
            parsed = tyro.cli(
                options,
                prog=f"bridle {command}",
                description=about,
                args=list(arguments),
                config=(tyro.conf.OmitArgPrefixes,),
                default=tyro.MISSING_NONPROP if default is None else default,
            )
    except SystemExit as end:
        if end.code == 0:  # --help
            raise
        raise ValueError(
            f"{_first_sentence(errors.getvalue())}; see bridle {command} --help"
        ) from None
    _check_target(getattr(parsed, "json", None))
    return parsed


def dispatch(group: str, actions: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Run one action of a command that has several, `bridle <group> <action> ...`.

    Args:
        group: name of the command; its actions live in `bridle.commands.<group>.<action>`.
        actions: name -> what it does.
        arguments: what follows the group's name.

    Returns:
        The exit status of the action's `main(args)`.

    Raises:
        ValueError: there is no such action.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, actions))
        print(f"usage: bridle {group} ACTION [options]        each explains itself with --help\n")
        print("\n".join(f"  {name:<{width}}  {what}" for name, what in actions.items()))
        return 0 if arguments else 2
    action, *rest = arguments
    if action not in actions:
        near = get_close_matches(action, actions, 1)
        hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(actions)}"
        raise ValueError(f"bridle {group} has no action {action!r}; {hint}")
    status: int | None = import_module(f"bridle.commands.{group}.{action}").main(rest)
    return status or 0


def _first_sentence(box: str) -> str:
    """What tyro says in a box, up to its first rule, without the frame."""
    lines = [line.strip("│ ").strip() for line in box.splitlines()]
    said: list[str] = []
    for line in lines[1:]:
        if not line.strip("─╰╯"):
            break
        said.append(line)
    return " ".join(said).removeprefix("Error parsing Options: ")


def _check_target(target: Path | None) -> None:
    """Refuse a result file that cannot be written before the work is done, not after."""
    if target is None:
        return
    if target.is_dir():
        raise ValueError(f"--json {target} is a folder; give a file")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise ValueError(f"--json {target} cannot be written")
