"""Say whether a robot's limits are sane.

No robot is needed: what the limits mean in numbers, over random postures, and what is odd about
them. A table of the joints says how long and how far each takes to stop from full speed, how long
its acceleration takes to build up, and what its motor has to give; under it, how fast the tool can
become, which parts of the body are too near each other by construction, and how much of what the
arm reaches the workspace leaves. --picture draws the workspace from the side and from above.

The exit status is 1 if there is an error, 0 with warnings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from bridle.cli import write_json
from bridle.commands import parse
from bridle.deploy.guard.sanity import POSTURES, JointReport, Report, examine
from bridle.deploy.robot import load_robot
from bridle.deploy.tightening import load_tightening, tighten

_NAME = 20


@dataclass(frozen=True)
class Options:
    """Options of `bridle guard check`."""

    robot: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ROBOT")]
    """Robot file (YAML), or the name of one that comes with Bridle."""
    limits: Path | None = None
    """File (YAML) with tighter limits for a task."""
    postures: int = POSTURES
    """Random postures to look at."""
    picture: Path | None = None
    """Draw the workspace here (PNG)."""
    json: Path | None = None
    """Write the result here."""

    def __post_init__(self) -> None:
        if self.postures < 1:
            raise ValueError(f"postures must be at least 1, got {self.postures}")


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Options, "guard check", arguments, __doc__)
    robot = load_robot(options.robot)
    if options.limits is not None:
        robot = tighten(robot, load_tightening(options.limits))
    report, samples = examine(robot, postures=options.postures)
    _show(report)
    write_json(options.json, report)
    if options.picture is not None:
        if samples is None:
            raise ValueError(f"no picture of {robot.name}: it has no model that can be used")
        # Only here: drawing takes matplotlib, which a robot need not have.
        from bridle.commands.guard.picture import draw_workspace

        draw_workspace(robot, samples, options.picture)
        print(f"{options.picture}: the workspace, from the side and from above")
    return 1 if report.errors else 0


def _show(report: Report) -> None:
    console = Console()
    # Made for 80 columns.
    heads = ("from", "to", "v", "a", "jerk", "a/j ms", "stop ms", "rad", "still", "full")
    table = Table(
        Column("joint", no_wrap=True, max_width=_NAME),
        *(Column(head, justify="right", no_wrap=True) for head in heads),
        title=report.robot,
        padding=(0, 0),
        caption="range, largest velocity, acceleration and jerk in rad and s; time to build the "
        "acceleration up; time and way of a stop from full speed; largest share of the torque "
        "that standing still and full acceleration take, by estimate",
    )
    for joint in report.joints:
        table.add_row(joint.name, *_cells(joint))
    console.print(table)
    if (body := report.body) is not None:
        speed = "not limited" if body.tool_speed is None else f"limit {body.tool_speed:g} m/s"
        console.print(
            f"tool: up to {body.reachable_speed:.2f} m/s with the joints' velocities, {speed}\n"
            f"model: {body.geoms} geoms, {body.pairs} pairs; too near in {1 - body.free:.0%} of "
            f"postures\nworkspace: the tool is in it in {body.inside:.1%} of postures; "
            f"{body.allowed:.1%} keep all limits",
            highlight=False,
        )
    for kind, colour, said in (
        ("error", "red", report.errors),
        ("warning", "yellow", report.warnings),
    ):
        for each in said:
            console.print(f"[{colour}]{kind}[/]: {escape(each)}", highlight=False, soft_wrap=True)
    if not report.errors:
        n = len(report.warnings)
        console.print("the guard can work with these limits" + (f"; {n} warnings" if n else ""))


def _cells(joint: JointReport) -> tuple[str, ...]:
    torques = (joint.standing_torque, joint.full_torque)
    return (
        f"{joint.low:.2f}",
        f"{joint.high:.2f}",
        f"{joint.velocity:g}",
        f"{joint.acceleration:g}",
        f"{joint.jerk:g}",
        f"{1e3 * joint.build_up:.0f}",
        f"{1e3 * joint.stop_time:.0f}",
        f"{joint.stop_distance:.3f}",
        *("-" if torque is None else f"{torque:.0%}" for torque in torques),
    )
