"""Write the wanted episodes and keys of a demonstration set to a new one.

Everything that is asked for must hold. A filter that was killed goes on when it is run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.data import progress_bar
from bridle.training.demonstrations.filtering import Wanted, filter_set


@dataclass(frozen=True, kw_only=True)
class Options(Wanted):
    """See `Wanted`."""

    path: Positional[str]
    """Set to take from: a folder, a .zip or a URL."""
    out: str
    """New set: a folder, a .zip or a URL."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "data filter", arguments, __doc__)
    wanted = Wanted(**{name: getattr(options, name) for name in Wanted.__dataclass_fields__})
    with progress_bar() as progress:
        result = filter_set(options.path, options.out, wanted, progress)
    print(f"{result.path}: {result.episodes} episodes, {result.steps} steps")
    write_json(options.json, result)
