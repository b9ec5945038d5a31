"""Train a policy on a demonstration set.

The run folder takes the averaged weights, the settings, the learning curves and TensorBoard events.
The same command again continues a run that was cut off. On several GPUs:
torchrun --nproc_per_node N -m bridle train ...
"""

from argparse import ArgumentError, ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import tyro

from bridle import sim
from bridle.cli import write_json
from bridle.commands import parse
from bridle.training.config import TrainConfig
from bridle.training.processes import processes
from bridle.training.train_presets import read_preset, with_preset
from bridle.training.trainer import TrainResult, train


@dataclass(frozen=True)
class Options(TrainConfig):
    """See `TrainConfig`."""

    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "train", arguments, __doc__, _defaults(arguments))
    settings = {f.name: getattr(options, f.name) for f in fields(TrainConfig)}
    result = train(with_preset(TrainConfig(**settings)), sim.kinematics_xml())
    if processes().is_main_process:
        print(_sentence(result))
        write_json(options.json, result)


def _defaults(arguments: Sequence[str]) -> Options | None:
    """What holds where nothing is given: the preset's settings, if a preset is asked for."""
    first = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--preset")
    try:
        name = first.parse_known_args(list(arguments))[0].preset
    except ArgumentError:  # without a name, which the whole command line is then told
        return None
    if name is None:
        return None
    # Settings of its parts are joined to those given, not replaced by them: `with_preset`.
    preset = {key: value for key, value in read_preset(name).items() if key != "set"}
    return Options(data=tyro.MISSING, out=tyro.MISSING, preset=name, **preset)


def _sentence(result: TrainResult) -> str:
    text = (
        f"{result.run}: {result.parameters:,} parameters, {result.steps} steps in "
        f"{result.seconds:.0f} s, loss {result.train_loss:.4f}"
    )
    if result.val_loss is not None:
        text += f", validation {result.val_loss:.4f}"
    if result.success_rate is not None:
        text += f"; best after {result.model_step} steps, {result.success_rate:.0%} success"
    return text
