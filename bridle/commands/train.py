"""Train a policy on a demonstration set.

The run folder takes the averaged weights, the settings, the learning curves and TensorBoard events.
The same command again continues a run that was cut off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from bridle import sim
from bridle.cli import write_json
from bridle.commands import parse
from bridle.training.config import TrainConfig
from bridle.training.trainer import train


@dataclass(frozen=True)
class Options(TrainConfig):
    """See `TrainConfig`."""

    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "train", arguments, __doc__)
    settings = {f.name: getattr(options, f.name) for f in fields(TrainConfig)}
    result = train(TrainConfig(**settings), sim.kinematics_xml())
    validation = "" if result.val_loss is None else f", validation {result.val_loss:.4f}"
    print(
        f"{result.run}: {result.parameters:,} parameters, {result.steps} steps in "
        f"{result.seconds:.0f} s, loss {result.train_loss:.4f}{validation}"
    )
    write_json(options.json, result)
