"""Look at demonstration sets, check them and change them: one action a file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from bridle.commands import dispatch

if TYPE_CHECKING:  # a list of the actions needs no numpy
    from bridle.training.demonstrations.progress import Progress

ACTIONS = {
    "info": "what is in a set",
    "stats": "a set in numbers: per channel, per episode, per sentence",
    "view": "look at a set: contact sheet, plots, video, rerun",
    "validate": "every kind of damage, by file, key, row and episode",
    "repair": "bring a damaged set back, or what can be saved of it",
    "merge": "several sets as one",
    "split": "one set as two, by episode",
    "filter": "the episodes and keys of a set that are wanted",
    "embed": "a set with what a trained image encoder makes of its pictures",
    "convert": "bring sets of other projects in, and out again: diffusion_policy, UMI, robomimic, "
    "LeRobot, MCAP",
}
"""Action -> what it does; each lives in `bridle.commands.data.<action>`."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return dispatch("data", ACTIONS, arguments)


@contextmanager
def progress_bar() -> Iterator["Progress"]:
    """A bar on the terminal, gone when the work is done; nothing where there is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("")

        def tell(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield tell
