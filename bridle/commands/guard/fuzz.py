"""Try to make the guard let something through.

Each case puts a simulated UR5e somewhere inside its limits, half of them close to one, and runs the
guard in closed loop with it. Chunks come late, twice, out of order or not at all; they are good, or
they leap, drift, tremble, push through the table, are in degrees, of other joints, or no numbers;
people stop and release it; joint states are lost; ticks are late. The simulated robot is looked at
after every physics step by arithmetic of its own: joints, tool, distances, contacts. With
--scenario people somebody moves around it too, and into it, and is reported now and then; with
--scenario standstill the robot stops by itself at some time, and follows no command any more.

A case depends on the seed and its number alone: --case shows one again, event by event. What is
done is kept beside the JSON file until the end, so that a run that was killed goes on where it was.
The exit status is 1 if a limit was broken, something failed, or a robot did not stop in time.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.benchmark import machine
from bridle.deploy.robot import load_robot
from bridle.deploy.tightening import load_tightening, tighten
from bridle.fuzzing.campaign import Campaign
from bridle.fuzzing.judging import judge
from bridle.fuzzing.running import World, run
from bridle.fuzzing.setting import Scenario
from bridle.fuzzing.tally import SHARES, Tally


@dataclass(frozen=True)
class Options:
    """Options of `bridle guard fuzz`."""

    cases: int = 1000
    """Cases to run; one to eight a second and core."""
    first: int = 0
    """Number of the first one, for a campaign in parts: --first 500 goes on after 500 cases."""
    seed: int = 0
    """Seed of the campaign."""
    workers: int | None = None
    """Processes; by default one for each core."""
    scenario: Scenario = "limits"
    """What the cases are about."""
    robot: str = "ur5e_2f85"
    """Robot file (YAML) with the joints of the simulated arm, or the name of a shipped one."""
    limits: Path | None = None
    """File with tighter limits for a task (docs/guard.md)."""
    case: int | None = None
    """Run this one case only, and print what happens in it."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Options, "guard fuzz", arguments, __doc__)
    robot = load_robot(options.robot)
    if options.limits is not None:
        robot = tighten(robot, load_tightening(options.limits))
    if robot.model is None:
        raise ValueError(f"{options.robot} has no model of the robot's body to look at")
    if options.case is not None:
        world = World(robot, scenario=options.scenario)
        return _show_case(world, options.seed, options.case)
    workers = options.workers or os.cpu_count() or 1
    campaign = Campaign(
        robot, options.seed, options.cases, workers, options.first, options.scenario
    )
    if options.json is not None:
        journal = options.json.with_name(f"{options.json.name}.cases.jsonl")
        tally = _run(campaign, journal)
    else:
        with tempfile.TemporaryDirectory() as folder:
            tally = _run(campaign, Path(folder) / "cases.jsonl")
    result = tally.result() | {
        "robot": robot.name,
        "scenario": options.scenario,
        "seed": options.seed,
        "first": options.first,
        "digest": campaign.digest,
        "workers": campaign.workers,
        "machine": machine("mujoco", "ruckig", "daqp", "numpy"),
    }
    _show(result)
    write_json(options.json, result)
    if options.json is not None:
        journal.unlink()
    return 0 if tally.ok else 1


def _run(campaign: Campaign, journal: Path) -> Tally:
    tally = Tally()
    with Progress() as progress:
        bar = progress.add_task("fuzzing", total=campaign.cases)
        for tally in campaign.run(journal):
            bad = len(tally.cases_with.get("violations", []))
            progress.update(
                bar, completed=tally.cases, description=f"fuzzing, {bad} cases with violations"
            )
    return tally


def _show_case(world: World, seed: int, case: int) -> int:
    trace = run(world, seed, case, print)
    verdict = judge(world, trace)
    for line in (*verdict.details, *trace.errors):
        print(line)
    if verdict.stopped is not None:
        print("stopped in time" if verdict.stopped else "did not stop in time")
    if verdict.moved is not None and verdict.path_error is not None:
        arrived = "arrived as asked for" if verdict.moved else "did not arrive as asked for"
        print(f"{arrived}, {1e3 * verdict.path_error:.3f} mm off the path at most")
    bad = verdict.details or trace.errors or verdict.stopped is False
    print("nothing was wrong" if not bad else f"case {case} of seed {seed} is bad")
    return 1 if bad else 0


def _show(result: dict[str, Any]) -> None:
    console = Console()
    table = Table("limit", "robot", "worst", "commands", "worst", title="violations")
    for kind in result["violations"]:
        table.add_row(
            kind,
            str(result["violations"][kind]),
            _margin(kind, result["worst_margins"]),
            str(result["violations_of_commands"][kind]),
            _margin(kind, result["worst_margins_of_commands"]),
            end_section=kind == "contact",
        )
    table.caption = (
        "physics steps and ticks; worst: share of the limit, or what was left to it, in m or rad"
    )
    console.print(table)
    stopped, moved = result["stopped_when_it_should"], result["moved_when_it_could"]
    errors = result["clean_chunks"]["path_error_mm"]
    console.print(
        f"{result['cases']} cases, {result['physics_steps']} physics steps, "
        f"{result['violating_cases']} cases with violations, {result['failures']} failures\n"
        f"stopped when it should: {_percent(stopped)}; moved when it could: {_percent(moved)}\n"
        + ("" if errors is None else _path(errors))
        + f"{result['seconds_per_case']:.3f} s a case and process"
    )
    for name, found in result["cases_with"].items():
        shown = ", ".join(str(each["case"]) for each in found[:10])
        console.print(f"{name.replace('_', ' ')}: cases {shown} (--case N shows one)")


def _margin(kind: str, worst: dict[str, float]) -> str:
    if kind not in worst:
        return ""
    return f"{worst[kind]:.1%}" if kind in SHARES else f"{worst[kind]:.2g}"


def _percent(found: dict[str, Any]) -> str:
    return "-" if found["rate"] is None else f"{found['rate']:.2%} of {found['n']}"


def _path(errors: dict[str, float]) -> str:
    return (
        f"off the path of clean chunks: median {errors['median']:.3f} mm, "
        f"p99 {errors['p99']:.3f} mm, max {errors['max']:.3f} mm\n"
    )
