"""The whole way in one go: demonstrations, training, evaluation, export, ROS 2, corrections.

Every step is what its own command does. What is already in the folder is used again, so a demo that
was cut off goes on where it was; --fresh starts over. Ends with a table, demo.json and videos.
"""

import json as json_text
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bridle import sim
from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.export import source_of
from bridle.deploy.bundle import load_bundle
from bridle.deploy.confinement import verify_confined
from bridle.deploy.export import export_policy
from bridle.training import runs
from bridle.training.collection import CollectConfig, CollectResult, collect
from bridle.training.config import TrainConfig
from bridle.training.evaluation import (
    ChunkPolicy,
    TorchPolicy,
    evaluate,
    record_video,
)
from bridle.training.outcomes import Evaluation
from bridle.training.trainer import train


@dataclass(frozen=True)
class Options:
    """Options of `bridle demo`."""

    out: Path = Path("demo")
    """Folder of everything the demo writes."""
    demonstrations: int = 400
    """Demonstrations to collect."""
    steps: int = 9000
    """Training steps."""
    episodes: int = 50
    """Evaluation episodes in simulation."""
    ros_episodes: int = 6
    """Episodes on the ROS 2 graph."""
    seed: int = 0
    """Seed of everything."""
    fresh: bool = False
    """Start over instead of using what is there."""
    json: Path | None = None
    """Write the result here as well."""


console = Console()


def _collect(options: Options) -> CollectResult:
    path = options.out / "demonstrations"
    return collect(CollectConfig(out=path, episodes=options.demonstrations, seed=options.seed))


def _prepare_folder(options: Options) -> None:
    """An empty folder, or one of the same demo; anything else is left alone."""
    settings = {"demonstrations": options.demonstrations, "seed": options.seed}
    path = options.out / "settings.json"
    if options.out.exists() and any(options.out.iterdir()) and not path.exists():
        raise ValueError(f"{options.out} holds something that is no demo; choose another --out")
    if options.fresh and options.out.exists():
        shutil.rmtree(options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    if path.exists() and (found := json_text.loads(path.read_text())) != settings:
        raise ValueError(f"{options.out} holds a demo with {found}; add --fresh to start over")
    write_json(path, settings)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "demo", arguments, __doc__)
    began = time.monotonic()
    out = options.out
    _prepare_folder(options)

    console.rule("1 of 5  demonstrations")
    collected = _collect(options)
    console.rule("2 of 5  training")
    trained = train(
        TrainConfig(
            data=out / "demonstrations", out=out / "run", steps=options.steps, seed=options.seed
        ),
        sim.kinematics_xml(),
    )
    console.rule("3 of 5  evaluation")
    policy, config = runs.load_policy(out / "run")
    player = TorchPolicy(policy, config.data.task)
    evaluation = evaluate(player, config.data.task, episodes=options.episodes)
    write_json(out / "run" / "evaluation.json", evaluation)
    video = _video(player, evaluation, out / "evaluation.mp4")
    console.rule("4 of 5  export")
    exported = export_policy(policy, source_of(out / "run", config, policy), out / "bundle")
    verify_confined(load_bundle(out / "bundle"))
    console.rule("5 of 5  the robot: ROS 2, guard, corrections")
    robot = run_robot(options, out / "bundle", config.data.task)

    result: dict[str, Any] = {
        "episodes": evaluation.episodes,
        "success_rate": evaluation.success_rate,
        "success_interval": list(evaluation.success_interval),
        "expert_success_rate": collected.success_rate,
        "demonstrations": collected.episodes,
        "train_seconds": trained.seconds,
        "train_loss": trained.train_loss,
        "onnx_max_abs_error": exported.onnx_max_abs_error,
        **robot,
        "video": video,
        "seconds": time.monotonic() - began,
    }
    write_json(out / "demo.json", result)
    write_json(options.json, result)
    _show(result, out)


def _video(policy: ChunkPolicy, evaluation: Evaluation, path: Path) -> str | None:
    try:
        record_video(policy, evaluation, path)
    except RuntimeError as error:
        console.print(f"[yellow]no video: {error}")
        return None
    return str(path)


def run_robot(options: Options, bundle: Path, task: str) -> dict[str, Any]:
    """Episodes and provocations on the ROS 2 graph; the measurements."""
    from bridle.ros_nodes.operator import Operator
    from bridle.ros_nodes.trials import Trials
    from bridle.ros_nodes.up import Graph, simulated_graph, use_own_domain

    use_own_domain()
    first = 200 + 1000 * options.seed
    specs = simulated_graph(
        str(bundle.resolve()), task=task, robot="ur5e_2f85", seed=first, camera_rate=10.0, log=""
    )
    with Graph(specs) as graph, Operator(sim.JOINT_NAMES, images=True) as operator:
        trials = Trials(graph, operator)
        with console.status("starting the nodes"):
            trials.wait_until_up()
        outcomes = []
        for i in range(options.ros_episodes):
            with console.status(f"episode {i + 1} of {options.ros_episodes}"):
                outcomes.append(trials.run_episode(first + i))
            word = "succeeded" if outcomes[-1].success else "failed"
            console.print(f"episode {i + 1}: {word} after {outcomes[-1].seconds:.1f} s")
        with console.status('a person says "move 3 cm to the left"'):
            nudge = trials.nudge_cm(first, "move 3 cm to the left", axis=1)
        console.print(f'"move 3 cm to the left": the tool went {nudge:.1f} cm further left')
        with console.status('a person says "stop"'):
            stop = trials.stop_ms(first + 1)
        console.print(f'"stop": at rest after {stop:.0f} ms')
        with console.status("the policy is killed"):
            killed = trials.policy_killed_rest_ms(first + 2)
        console.print(f"policy killed: at rest after {killed:.0f} ms")
        trials.count_violations()
        frames = operator.frames
    video = None
    if frames:
        import imageio.v2 as imageio

        video = str(options.out / "robot.mp4")
        imageio.mimwrite(video, frames, fps=10, macro_block_size=1)  # type: ignore[arg-type]
    return {
        "ros_episodes": len(outcomes),
        "ros_successes": sum(o.success for o in outcomes),
        "ros_seconds": [round(o.seconds, 2) for o in outcomes],
        "nudge_cm": nudge,
        "nudge_obeyed": bool(2.0 <= nudge <= 4.0),
        "stop_ms": stop,
        "policy_killed_rest_ms": killed,
        "limit_violations": sum(trials.violations.values()),
        "limit_violations_by_kind": trials.violations,
        "largest_share_of_limit": trials.largest_share,
        "physics_steps_checked": trials.physics_steps,
        "robot_video": video,
    }


def _show(result: dict[str, Any], out: Path) -> None:
    low, high = result["success_interval"]
    table = Table("what", "result", title="Bridle demo")
    for what, value in (
        ("expert", f"{result['expert_success_rate']:.1%} success"),
        (
            "policy in simulation",
            f"{result['success_rate']:.0%} of {result['episodes']} episodes "
            f"(95 %: {low:.0%} to {high:.0%})",
        ),
        ("ONNX against PyTorch", f"{result['onnx_max_abs_error']:.1e} rad"),
        ("episodes on ROS 2", f"{result['ros_successes']} of {result['ros_episodes']} succeeded"),
        ('"move 3 cm to the left"', f"{result['nudge_cm']:.1f} cm"),
        ('"stop"', f"at rest after {result['stop_ms']:.0f} ms"),
        ("policy killed", f"at rest after {result['policy_killed_rest_ms']:.0f} ms"),
        (
            "limit violations",
            f"{result['limit_violations']} in {result['physics_steps_checked']} physics steps",
        ),
        ("time", f"{result['seconds'] / 60:.1f} min"),
        ("written", f"{out}/demo.json, {result['video']}, {result['robot_video']}"),
    ):
        table.add_row(what, value)
    console.print(table)
