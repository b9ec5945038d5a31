"""Teach a bundle what going well looks like, so that it notices when something is unfamiliar.

The bundle is run in simulation as it is deployed. The episodes that succeed say how high the scores
of its chunks may become: guard.json, and the conditions of the demonstrations: support.npz. Both
are added to the bundle; its weights stay as they are. Calibrate before you sign.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.progress import track

from bridle import sim
from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.export import real_observations
from bridle.deploy.bundle import GUARD, SUPPORT, Bundle, amend_bundle, load_bundle
from bridle.deploy.confinement import verify_confined
from bridle.deploy.execution import ExecutionConfig, Mask, Strategy, suited
from bridle.deploy.familiarity.calibration import UNITS, Scores, calibrate
from bridle.deploy.familiarity.rehearsing import ScoredRehearsal
from bridle.deploy.familiarity.support import Support
from bridle.deploy.rehearsal import RehearsalConfig, SimulatedRobot
from bridle.deploy.runtime import Runtime
from bridle.training import runs

FIRST_SEED = 5000
"""Seeds of calibration start here: evaluations begin at 500, demonstrations at 10 000."""
CONDITIONS = 4000
"""Observations of the demonstrations that the support is made from."""


@runtime_checkable
class Resettable(SimulatedRobot, Protocol):
    """A simulated robot that begins again."""

    def reset(self, *, seed: int) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        ...


@dataclass(frozen=True)
class Options:
    """Options of `bridle calibrate`."""

    run: Path
    """Training run that the bundle was exported from; its demonstrations must be in place."""
    bundle: Path
    """Bundle to calibrate."""
    episodes: int = 300
    """Episodes to run; those that succeed count. Few leave the rate of false alarms to chance."""
    alpha: float = 0.05
    """Share of episodes that go well in which an alarm may be raised, at most."""
    strategy: Strategy | None = None
    """How a chunk follows the one before; by default what suits the policy, as on the robot."""
    mask: Mask = ExecutionConfig.mask
    """What rtc guides a chunk by, see policy_node; auto: hard for policies that see pictures or
    points."""
    delay: int = 1
    """Control steps that an inference takes."""
    window: int = 3
    """Chunks within which two scores must agree."""
    scores: tuple[str, ...] = ()
    """Scores to use, of support, continuity, residual, score; by default the first three, with
    score in place of residual for generators that have none."""
    first_seed: int = FIRST_SEED
    """Seed of the first episode."""
    json: Path | None = None
    """Write the result here."""

    def __post_init__(self) -> None:
        if self.episodes < 1 or not 0 < self.alpha < 1:
            raise ValueError(
                f"episodes must be at least 1 and alpha between 0 and 1, got {self.episodes}, "
                f"{self.alpha}"
            )
        if self.window < 1 or self.delay < 0:
            raise ValueError(
                f"window must be at least 1 and delay not negative, got {self.window}, {self.delay}"
            )
        chosen = set(self.scores)
        if self.scores and (not chosen <= UNITS.keys() or not 2 <= len(chosen) == len(self.scores)):
            raise ValueError(
                f"scores must be two or more of {', '.join(UNITS)}, got {' '.join(self.scores)}"
            )


def support_of(run: Path, bundle: Bundle) -> tuple[Support, Mapping[str, Any]]:
    """The training conditions of a bundle, and what its environment is asked for.

    Raises:
        ValueError: the run is another one's, or its demonstrations are not in place.
    """
    _, config = runs.load_policy(run)
    if config.data.digest != bundle.manifest.dataset_digest:
        raise ValueError(f"{bundle.path} was not exported from {run}: it is of other data")
    observations = real_observations(config, CONDITIONS)
    if not observations:
        raise ValueError(f"the demonstrations of {run}, {config.data.path}, are not in place")
    conditions = Runtime(bundle).encode(observations).cond
    return Support.of(conditions), config.data.environment


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "calibrate", arguments, __doc__)
    bundle = load_bundle(options.bundle)
    verify_confined(bundle)
    support, environment = support_of(options.run, bundle)
    strategy = options.strategy or suited(Runtime(bundle))
    execution = ExecutionConfig(strategy, mask=options.mask)
    config = RehearsalConfig(execution, options.delay)
    rehearsal = ScoredRehearsal(bundle, config, support, options.scores or None)
    went_well: list[tuple[Scores, ...]] = []
    with closing(sim.make(bundle.manifest.task, **environment)) as env:
        if not isinstance(env, Resettable):
            raise ValueError(f"{bundle.manifest.task} cannot be rehearsed: it is not Bridle's own")
        seeds = range(options.first_seed, options.first_seed + options.episodes)
        for seed in track(seeds, "rehearsing"):
            _, info = env.reset(seed=seed)
            found = rehearsal.run(env, seed, info["instruction"])
            if found.episode.success:
                went_well.append(found.scores)
    calibration = calibrate(
        went_well,
        weights_digest=bundle.manifest.weights_digest,
        strategy=strategy,
        mask=execution.mask_for(bundle.manifest.sees),
        delay=options.delay,
        alpha=options.alpha,
        window=options.window,
    )
    files = {GUARD: calibration.to_bytes(), SUPPORT: support.to_bytes()}
    amend_bundle(bundle, files)
    print(
        f"{options.bundle}: calibrated on {len(went_well)} of {options.episodes} episodes, "
        f"{strategy}, {options.delay} steps of delay; each alarm is false in at most "
        f"{options.alpha:.1%} of episodes like these"
    )
    for scale in calibration.scores:
        alone, both = (calibration.threshold(scale.name, together=b) for b in (False, True))
        print(f"  {scale.name}: alone above {alone:.3g}, with another above {both:.3g}")
    write_json(
        options.json,
        {
            "bundle": str(options.bundle),
            "episodes": options.episodes,
            "successes": len(went_well),
            "calibration": asdict(calibration),
            "bytes": sum(map(len, files.values())),
        },
    )
