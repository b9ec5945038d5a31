"""Make a policy better by the rewards of demonstrations of which some are better than others.

Critics learn from the set's `reward` what each chunk is worth; the policy then imitates the better
ones more. Implicit Q-learning, arXiv 2110.06169.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.finetune.fisor import sentence
from bridle.training.offline import IQLConfig, finetune


@dataclass(frozen=True)
class Options(IQLConfig):
    """See `IQLConfig`."""

    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "finetune iql", arguments, __doc__)
    settings = {f.name: getattr(options, f.name) for f in fields(IQLConfig)}
    result = finetune(IQLConfig(**settings))
    print(sentence(result))
    write_json(options.json, result)
