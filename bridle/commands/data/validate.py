"""Find every kind of damage in a demonstration set, by file, key, row and episode."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.data import progress_bar
from bridle.training.demonstrations.validation import validate


@dataclass(frozen=True)
class Options:
    """Options of `bridle data validate`."""

    path: Positional[str]
    """Demonstration set: a zarr folder or a .zip of one; a path or a URL."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; exit status 1 when it finds damage."""
    options = parse(Options, "data validate", arguments, __doc__)
    with progress_bar() as progress:
        problems = validate(options.path, progress)
    for problem in problems:
        print(f"{options.path}: {problem}")
    errors = sum(problem.severity == "error" for problem in problems)
    print(f"{options.path}: {errors} errors" if errors else f"{options.path}: valid")
    write_json(options.json, {"errors": errors, "problems": [asdict(p) for p in problems]})
    return 1 if errors else 0
