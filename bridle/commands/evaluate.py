"""Count a policy's successes over seeded episodes in simulation, with a 95 % interval.

Takes a run (PyTorch) or a bundle (ONNX Runtime): both must do equally well.
"""

import json as json_text
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Column, Table

from bridle.cli import write_json
from bridle.commands import parse
from bridle.deploy.bundle import (
    FEASIBILITY,
    INSTRUCTION,
    TOKENIZER,
    Bundle,
    Manifest,
    load_bundle,
)
from bridle.deploy.confinement import verify_confined
from bridle.deploy.execution import ExecutionConfig
from bridle.deploy.execution.feasibility import Feasibility, safest
from bridle.deploy.runtime import Runtime
from bridle.deploy.tokens import Tokenizer
from bridle.sim import RenderingError
from bridle.training.evaluation import (
    FIRST_SEED,
    ChoosingPolicy,
    ChunkPolicy,
    TorchPolicy,
    evaluate,
    record_video,
)
from bridle.training.observations import CLOUD
from bridle.training.observer import Observer
from bridle.training.offline import JudgedPolicy, critics_for
from bridle.training.offline.judging import N_CANDIDATES, Choose
from bridle.training.outcomes import EVALUATION, Evaluation
from bridle.training.runs import load_policy


@dataclass(frozen=True)
class Options:
    """Options of `bridle evaluate`."""

    run: Path | None = None
    """Training run to evaluate."""
    bundle: Path | None = None
    """Bundle to evaluate instead of a run."""
    task: str | None = None
    """Task; by default the one the policy was trained on."""
    episodes: int = 50
    """Number of episodes."""
    first_seed: int = FIRST_SEED
    """Seed of the first episode; demonstrations use seeds from 10 000 on."""
    sampling_steps: int | None = None
    """Steps in which a run generates its chunks; by default as many as it was made for."""
    candidates: int | None = None
    """Chunks that are generated each time, to execute one of them: with critics, from bridle
    finetune, the first that is safe, by default of 16; of a run with a history, the one whose past
    is most like what was done, by default of 1."""
    choose: Choose = "first"
    """What critics of a run choose: the first chunk that is safe, as on a robot, the best of those,
    or the safest whatever it is worth."""
    critics: Path | None = None
    """Run of bridle finetune whose critics judge the run's chunks; its encoder must be the same. By
    default its own, if it has any."""
    threads: int | None = None
    """Threads that run physics; by default one per core."""
    video: Path | None = None
    """Write a video of some episodes here, failures first."""
    json: Path | None = None
    """Write the result here."""


class BundlePolicy:
    """A bundle as evaluation sees it."""

    def __init__(self, bundle: Bundle) -> None:
        """Load a verified bundle."""
        self._runtime = Runtime(bundle)
        manifest = bundle.manifest
        self.observer = _observer(bundle)
        self.task = manifest.task
        self.n_obs_steps, self.n_action_steps = manifest.n_obs_steps, manifest.n_action_steps
        self.first_action, self.horizon = manifest.first_action, manifest.horizon
        self.action_size = len(manifest.joint_names)
        self.keys = tuple(spec.name for spec in manifest.inputs)

    def __call__(
        self, observation: Mapping[str, NDArray[np.float32]], noise: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Observations (B, To, d) and noise (B, H, A) -> chunks (B, H, A)."""
        return self._runtime.infer(observation, noise).chunk


class JudgedBundle(BundlePolicy):
    """A bundle whose critic chooses among several chunks, as it does on a robot."""

    def __init__(self, bundle: Bundle, n_candidates: int) -> None:
        """Load a verified bundle that has a critic."""
        super().__init__(bundle)
        self._feasibility = Feasibility(self._runtime, n_candidates)
        self.n_candidates = self._feasibility.candidates

    def best_of(
        self,
        observation: Mapping[str, NDArray[np.float32]],
        noise: NDArray[np.float32],
        executed: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """See `Choosing`; what was done before does not matter."""
        return np.stack([self._chosen(observation, i, each) for i, each in enumerate(noise)])

    def _chosen(
        self, observation: Mapping[str, NDArray[np.float32]], i: int, noise: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The chunk (H, A) of one of the observations."""
        seen = {key: value[i : i + 1] for key, value in observation.items()}
        chunks = self._runtime.infer(seen, noise).chunk
        q_h = self._feasibility(seen, chunks[:, self.first_action :])
        chosen: NDArray[np.float32] = chunks[safest(q_h, np.zeros(len(q_h)))]
        return chosen


def environment_for(manifest: Manifest) -> dict[str, Any]:
    """What an environment is asked for, so that it gives what a bundle reads."""
    environment: dict[str, Any] = {}
    if manifest.cameras:
        width, height = next(iter(manifest.cameras.values()))
        environment = {"cameras": [*manifest.cameras], "image_width": width, "image_height": height}
    for spec in manifest.inputs:
        if spec.name == CLOUD:
            environment["points"] = spec.shape[2]
    return environment


def _observer(bundle: Bundle) -> Observer:
    """How the policy of a bundle sees an environment of the simulator."""
    manifest = bundle.manifest
    shapes = {spec.name: spec.shape for spec in manifest.inputs}
    words = None
    if manifest.follows_instructions:
        words = Tokenizer(bundle.contents[TOKENIZER], shapes[INSTRUCTION][2])
    return Observer(tuple(shapes), words, environment_for(manifest))


def _run_policy(run: Path, options: Options) -> ChunkPolicy:
    """A run as evaluation sees it, with the choice among candidates that it knows."""
    trained, config = load_policy(run)
    task, rest = config.data.task, (options.sampling_steps, config.data.environment)
    critics = critics_for(trained, run, options.critics)
    n = options.candidates
    if n is None:
        n = 1 if critics is None else N_CANDIDATES
    if n == 1:
        return TorchPolicy(trained, task, *rest)
    if critics is None:
        return ChoosingPolicy(trained, task, n, *rest)
    return JudgedPolicy(trained, critics, task, n, *rest, choose=options.choose)


def _bundle_policy(path: Path, options: Options) -> ChunkPolicy:
    """A bundle as evaluation sees it; with a critic it chooses as it does on a robot."""
    bundle = load_bundle(path)
    verify_confined(bundle)
    judges, n = FEASIBILITY in bundle.contents, options.candidates
    if (options.sampling_steps, options.critics) != (None, None) or (
        n not in (None, 1) and not judges
    ):
        raise ValueError(
            "--sampling-steps and --critics go with --run, and --candidates too where a bundle has "
            "no critic"
        )
    if not judges or n == 1:
        return BundlePolicy(bundle)
    return JudgedBundle(bundle, ExecutionConfig.safest if n is None else n)


def show(result: Evaluation) -> None:
    """Print what lies behind the success rate: modes, instructions, milestones, time and cost."""
    console = Console()
    print(
        f"{result.mean_steps:.0f} steps an episode; cost {result.mean_cost:.1f} an episode, "
        f"{result.episodes - result.episodes_with_cost} of {result.episodes} without any"
    )
    for what, shares in (("mode", result.by_mode), ("instruction", result.by_instruction)):
        if shares:
            table = Table(what, *(_right(head) for head in ("episodes", "success", "95 %")))
            for s in shares:
                rate = f"{s.successes} ({s.success_rate:.0%})"
                table.add_row(s.name, str(s.episodes), rate, _interval(s.success_interval))
            console.print(table)
    if result.milestones:
        table = Table("milestone", *(_right(head) for head in ("passed", "95 %", "failed here")))
        for m in result.milestones:
            rate = f"{m.passed} ({m.passed_rate:.0%})"
            table.add_row(m.name, rate, _interval(m.passed_interval), str(m.failed or ""))
        console.print(table)


def _right(head: str) -> Column:
    return Column(head, justify="right", no_wrap=True)


def _interval(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{low:.0%} to {high:.0%}"


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "evaluate", arguments, __doc__)
    if (options.run is None) == (options.bundle is None):
        raise ValueError("give either --run or --bundle")
    policy: ChunkPolicy
    if options.run is not None:
        policy = _run_policy(options.run, options)
    else:
        assert options.bundle is not None
        policy = _bundle_policy(options.bundle, options)
    task = options.task or policy.task
    result = evaluate(
        policy,
        task,
        episodes=options.episodes,
        first_seed=options.first_seed,
        threads=options.threads,
    )
    low, high = result.success_interval
    print(
        f"{result.task}: {result.successes} of {result.episodes} episodes succeeded, "
        f"{result.success_rate:.1%} (95 %: {low:.1%} to {high:.1%}), {result.seconds:.0f} s"
    )
    show(result)
    if options.run is not None:
        # The card of an exported bundle quotes it.
        (options.run / EVALUATION).write_text(json_text.dumps(asdict(result), indent=2))
    write_json(options.json, result)
    if options.video is not None:
        try:
            record_video(policy, result, options.video)
        except RenderingError as error:
            print(f"no video: {error}")
        else:
            print(f"video: {options.video}")
