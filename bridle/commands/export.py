"""Turn a trained policy into a bundle: ONNX graphs, manifest, kinematics and card.

The bundle is checked against PyTorch on random inputs before anything is written.
"""

import json as json_text
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bridle.cli import write_json
from bridle.commands import parse
from bridle.deploy.export import Source, export_policy
from bridle.deploy.robot import load_robot
from bridle.training import runs
from bridle.training.exceptions import TrainingError


@dataclass(frozen=True)
class Options:
    """Options of `bridle export`."""

    run: Path
    """Training run to export."""
    out: Path
    """Bundle folder to write; an existing bundle is replaced."""
    json: Path | None = None
    """Write the result here."""


def card(run: Path, config: runs.RunConfig) -> str:
    """The bundle's card: where the policy comes from and how well it does."""
    evaluation = run / "evaluation.json"
    if evaluation.is_file():
        e = json_text.loads(evaluation.read_text())
        low, high = e["success_interval"]
        success = (
            f"{e['successes']} of {e['episodes']} seeded episodes of {e['task']} in simulation "
            f"(95 % interval {low:.1%} to {high:.1%})"
        )
    else:
        success = "not evaluated: run `bridle evaluate` before the export"
    data = config.data
    return f"""# {data.task} on {data.robot}

- Trained on: {data.episodes} episodes, {data.steps} steps at {data.control_rate:g} Hz
- Digest of the data: {data.digest}
- Success: {success}
- Use it for: {data.task} on {data.robot}, behind the guard, on layouts like the demonstrated ones.
- Do not use it for: other robots, tools or tasks; near people without a certified safety function.
"""


def source_of(run: Path, config: runs.RunConfig) -> Source:
    """What the bundle says of its origin.

    Raises:
        TrainingError: the run has no kinematics.
    """
    if not (run / runs.ROBOT).is_file():
        raise TrainingError(f"{run / runs.ROBOT} is missing; train with `bridle train`")
    data = config.data
    return Source(
        robot=data.robot,
        robot_xml=(run / runs.ROBOT).read_text(),
        task=data.task,
        joint_names=load_robot(data.robot).joint_names,
        control_rate=data.control_rate,
        instructions=tuple(data.instructions),
        dataset_digest=data.digest,
        versions=config.versions | {n: metadata.version(n) for n in ("onnx", "onnxruntime")},
        card=card(run, config),
    )


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "export", arguments, __doc__)
    policy, config = runs.load_policy(options.run)
    result = export_policy(policy, source_of(options.run, config), options.out)
    print(
        f"{result.path}: {result.bytes / 1e6:.1f} MB; differs from PyTorch by at most "
        f"{result.onnx_max_abs_error:.1e} rad over {result.checked_chunks} random chunks"
    )
    write_json(options.json, result)
