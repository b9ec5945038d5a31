"""Turn a trained policy into a bundle: ONNX graphs, manifest, kinematics and card.

The bundle is checked against PyTorch before anything is written: on random inputs, on extremes,
and on observations of the demonstrations where these are still in their place.
"""

import json as json_text
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bridle.cli import write_json
from bridle.commands import parse
from bridle.deploy.card import Origin, Score, card
from bridle.deploy.export import Precision, Source, export_policy
from bridle.deploy.robot import load_robot
from bridle.policies import INSTRUCTION, Judge, Policy
from bridle.training import runs
from bridle.training.demonstrations import DemonstrationError
from bridle.training.demonstrations.storage import opened_sound
from bridle.training.exceptions import TrainingError
from bridle.training.observations import stored_observations
from bridle.training.observer import Observer
from bridle.training.offline import critics_for
from bridle.training.outcomes import EVALUATION

REAL = 64
"""Observations of the demonstrations that an export is checked on."""


@dataclass(frozen=True)
class Options:
    """Options of `bridle export`."""

    run: Path
    """Training run to export."""
    out: Path
    """Bundle folder to write; an existing bundle is replaced."""
    precision: Precision = "float32"
    """What the networks compute in. float16 is for GPUs: half the memory, and errors that are
    measured, shown and written on the card."""
    critics: Path | None = None
    """Run of bridle finetune fisor whose critic of feasibility the bundle takes along; its encoder
    must be the same. By default the exported run's own critic, if it has one."""
    json: Path | None = None
    """Write the result here."""


def score_of(run: Path) -> Score | None:
    """The last evaluation of a run; None if there was none."""
    evaluation = run / EVALUATION
    if not evaluation.is_file():
        return None
    e = json_text.loads(evaluation.read_text())
    low, high = e["success_interval"]
    return Score(e["task"], e["episodes"], e["successes"], (low, high), e["episodes_with_cost"])


def origin_of(config: runs.RunConfig, policy: Policy, versions: dict[str, str]) -> Origin:
    """Where a policy comes from, for its card."""
    data = config.data
    return Origin(
        task=data.task,
        dataset_digest=data.digest,
        episodes=data.episodes,
        demonstrated_steps=data.steps,
        control_rate=data.control_rate,
        instructions=tuple(data.instructions),
        observes=tuple(policy.config.encoder.inputs),
        generator=type(policy.generator).__name__.lower(),
        network=type(policy.network).__name__,
        n_steps=len(policy.generator.table()),
        training_steps=config.train["steps"],
        versions=versions,
    )


def real_observations(config: runs.RunConfig, n: int = REAL) -> dict[str, NDArray[Any]]:
    """`n` that the policy was trained on; none if the set has gone or is another one now."""
    card, wanted = config.data, config.policy.encoder.inputs
    try:
        with opened_sound(card.path) as (stored, _):
            # Its digest would take as long as reading all of it.
            same = (stored.n_episodes, stored.n_steps) == (card.episodes, card.steps) and all(
                key in stored.arrays and stored.arrays[key].shape[1:] == each.shape
                for key, each in wanted.items()
                if key != INSTRUCTION
            )
            return stored_observations(config.policy, stored, n) if same else {}
    except (DemonstrationError, TrainingError):
        return {}


def source_of(run: Path, config: runs.RunConfig, policy: Policy) -> Source:
    """What the bundle says of its origin.

    Raises:
        TrainingError: the run has no kinematics.
    """
    if not (run / runs.ROBOT).is_file():
        raise TrainingError(f"{run / runs.ROBOT} is missing; train with `bridle train`")
    data = config.data
    seen = Observer.of(policy, data.environment).environment
    size = (seen.get("image_width", 0), seen.get("image_height", 0))
    robot = load_robot(data.robot)
    versions = config.versions | {n: metadata.version(n) for n in ("onnx", "onnxruntime")}
    return Source(
        robot=data.robot,
        robot_xml=(run / runs.ROBOT).read_text(),
        task=data.task,
        joint_names=robot.joint_names,
        control_rate=data.control_rate,
        instructions=tuple(data.instructions),
        dataset_digest=data.digest,
        versions=versions,
        card=card(origin_of(config, policy, versions), robot, score_of(run)),
        cameras=dict.fromkeys(seen.get("cameras", ()), size),
        observations=real_observations(config),
    )


def critic_of(run: Path, policy: Policy, critics: Path | None) -> Judge | None:
    """The critic of feasibility that goes with a policy, see `critics_for`; None if there is none.

    Raises:
        TrainingError: another run is to give one and has none, or none that fits.
    """
    found = critics_for(policy, run, critics)
    judge = None if found is None else found.feasibility
    if critics is not None and judge is None:
        raise TrainingError(
            f"{critics} has no critic of feasibility; bridle finetune fisor makes one"
        )
    return judge


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "export", arguments, __doc__)
    policy, config = runs.load_policy(options.run)
    result = export_policy(
        policy,
        source_of(options.run, config, policy),
        options.out,
        precision=options.precision,
        feasibility=critic_of(options.run, policy, options.critics),
    )
    print(
        f"{result.path}: {result.bytes / 1e6:.1f} MB, {result.precision}; differs from PyTorch by "
        f"at most {result.onnx_max_abs_error:.1e} rad, {result.onnx_max_normalised_error:.1e} "
        f"standard deviations of the actions, over {result.checked_chunks} chunks"
    )
    if result.feasibility_max_error is not None:
        print(
            "with a critic of feasibility, which differs from PyTorch by at most "
            f"{result.feasibility_max_error:.1e} of its value"
        )
    write_json(options.json, result)
