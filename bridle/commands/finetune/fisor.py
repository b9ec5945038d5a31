"""Make a policy safer out of demonstrations of which some touched what they must not.

Critics learn from the set's `cost` from where a safe way is known, and from its `reward` which is
the best; the policy then imitates by what they say. `bridle evaluate`, and the robot of an exported
bundle, generate several chunks and execute the first that is safe. FISOR, arXiv 2401.10700.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from bridle.cli import write_json
from bridle.commands import parse
from bridle.training.offline import Finetuned, FISORConfig, finetune


@dataclass(frozen=True)
class Options(FISORConfig):
    """See `FISORConfig`."""

    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "finetune fisor", arguments, __doc__)
    result = finetune(
        FISORConfig(**{f.name: getattr(options, f.name) for f in fields(FISORConfig)})
    )
    print(sentence(result))
    write_json(options.json, result)


def sentence(result: Finetuned) -> str:
    """What was learned, for people."""
    training, judgement = result.training, result.judgement
    text = (
        f"{training.run}: {training.steps} steps in {training.seconds:.0f} s, weighted loss "
        f"{training.train_loss:.4f}; of the set's chunks {judgement.costly:.1%} had a cost"
    )
    if judgement.infeasible is not None and judgement.leaving is not None:
        text += (
            f", {judgement.infeasible:.1%} began where no way is safe, "
            f"{judgement.leaving:.1%} left a safe way"
        )
    return f"{text}; {judgement.effective:.0%} count in effect"
