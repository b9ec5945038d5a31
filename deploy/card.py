"""The card of a bundle: where a policy comes from, how well it does, what it must not be for."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bridle.deploy.robot import RobotDescription


@dataclass(frozen=True)
class Origin:
    """Where a policy comes from."""

    task: str
    dataset_digest: str
    episodes: int
    """Of the demonstrations; none if the policy was trained elsewhere and imported."""
    demonstrated_steps: int
    control_rate: float
    """Of the demonstrations and of the policy [Hz]."""
    instructions: tuple[str, ...]
    observes: tuple[str, ...]
    generator: str
    network: str
    n_steps: int
    """Of the sampler."""
    training_steps: int
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Score:
    """How an evaluation went, in simulation."""

    task: str
    episodes: int
    successes: int
    interval: tuple[float, float]
    """Of the rate of success, 95 %."""
    episodes_with_cost: int
    """In which something happened that should not, such as a collision."""


def card(origin: Origin, robot: RobotDescription, score: Score | None) -> str:
    """The text of `card.md`.

    Args:
        origin: of the policy.
        robot: the only one that it may move.
        score: its last evaluation; None if there was none.
    """
    versions = ", ".join(f"{name} {version}" for name, version in sorted(origin.versions.items()))
    said = "\n".join(f"- {text}" for text in origin.instructions) or "- none"
    trained = f"{origin.training_steps} steps of training" if origin.episodes else "imported"
    return f"""# {origin.task} on {robot.name}

## Where it comes from

{_data(origin, robot)}
- Policy: {origin.generator} of {origin.n_steps} steps, network {origin.network}, {trained}
- Observes: {", ".join(origin.observes)}
- Made with: {versions}

## How well it does

{_score(score)}

The numbers are of the simulation. They say nothing of a real robot until it was measured there.

## What it may be used for

{origin.task} on {robot.name}, behind the guard, in scenes like those of the demonstrations: the
same kinds of objects, in the same range of places, seen in the same way. Instructions in its data:

{said}

## What it must not be used for

- **Safety.** Neither the policy nor the guard is a certified safety function. Keep people out of
  reach of the robot, or use a safety function that is certified and independent of this software.
- **Other robots, grippers or mounts.** Positions are absolute and of this arm and this gripper:
{_limits(robot)}
- **Other tasks, objects or cameras**, or scenes that differ from the demonstrations. The policy
  gives a chunk for any observation; it does not say that it knows what it sees.
- **Without the guard**, or with limits wider than those above.
- **Anything where a failure does harm.** It fails sometimes, see above.
"""


def half_precision(radians: float, normalised: float, chunks: int) -> str:
    """What a card says of a policy in float16.

    Args:
        radians: largest difference of a joint to float32 [rad].
        normalised: the same in standard deviations of the actions.
        chunks: over which it was found.
    """
    return f"""
## Precision

The networks compute in float16, for GPUs. Largest difference to float32 over {chunks} chunks:
{radians:.1e} rad, {normalised:.1e} standard deviations of the actions.
"""


def learned_feasibility() -> str:
    """What a card says of a bundle with a critic of feasibility."""
    return """
## Learned feasibility

A critic learned from the costs in the data which chunks lead to one. It chooses among the policy's
chunks. It knows of no harm but what had a cost there, and is no guarantee.
"""


def _data(origin: Origin, robot: RobotDescription) -> str:
    what = f"{origin.control_rate:g} Hz, of {origin.task} on {robot.name}"
    if not origin.episodes:
        return (
            f"- Trained elsewhere, on data of which nothing is known here; said to be at {what}\n"
            f"- Digest of the imported weights: {origin.dataset_digest}"
        )
    return (
        f"- Trained on: {origin.episodes} episodes, {origin.demonstrated_steps} steps at {what}\n"
        f"- Digest of the data: {origin.dataset_digest}"
    )


def _score(score: Score | None) -> str:
    if score is None:
        return (
            "Not evaluated. Run `bridle evaluate` before the export, and do not use it until then."
        )
    low, high = score.interval
    return (
        f"- Success: {score.successes} of {score.episodes} seeded episodes of {score.task} "
        f"(95 % interval {low:.1%} to {high:.1%})\n"
        f"- Episodes with a cost, such as a collision: {score.episodes_with_cost}"
    )


def _limits(robot: RobotDescription) -> str:
    rows = [
        f"  - {joint.name}: {joint.position[0]:.2f} to {joint.position[1]:.2f} rad, "
        f"up to {joint.velocity:.2f} rad/s ({np.degrees(joint.velocity):.0f} °/s)"
        for joint in robot.joints
    ]
    return "\n".join(rows)
