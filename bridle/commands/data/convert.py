"""Convert a data set of others to a demonstration set, or any to a LeRobot dataset.

Reads diffusion_policy and UMI zarr, robomimic HDF5, LeRobot datasets and ROS 2 bags; goes on where
a kill stopped it if it is run again. docs/converters.md has an example for each.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.data import progress_bar
from bridle.training.converters import ConvertConfig, Report, convert

_MOST_LINES = 20


@dataclass(frozen=True)
class Options:
    """Options of `bridle data convert`."""

    path: Positional[Path]
    """Zarr folder, .zip or URL, HDF5 file, LeRobot folder, .mcap file, or folder of bags."""
    out: Path
    """Folder to create, or to go on with; a demonstration set also as a .zip or to a URL."""
    format: Annotated[
        Literal["auto", "bridle", "diffusion_policy", "umi", "robomimic", "lerobot", "mcap"],
        arg(name="from"),
    ] = "auto"
    """What it is."""
    to: Literal["bridle", "lerobot"] = "bridle"
    """A demonstration set, or a LeRobot dataset of version 3.0."""
    robot: str | None = None
    """Name of the robot, where the data set does not say."""
    task: str | None = None
    """Name of the task, where the data set does not say."""
    rate: float | None = None
    """Steps per second [Hz], where the data set does not say."""
    instruction: str | None = None
    """Sentence of all episodes, for data sets without their own."""
    map: UseAppendAction[tuple[str, ...]] = ()
    """SOURCE=KEY renames, A+B=KEY joins, SOURCE=KEY:UNIT says the unit, SOURCE= leaves out."""
    topics: Path | None = None
    """YAML that says which topics of a bag become which keys."""
    filter_key: str | None = None
    """Split of a robomimic file, such as train."""
    images: Literal["png", "video"] = "png"
    """Cameras of a LeRobot dataset: without loss in the tables, or as video."""
    codec: Literal["h264", "av1"] = "h264"
    """Codec of the videos."""
    skip_bad: bool = False
    """Leave out episodes that are wrong instead of stopping."""
    json: Path | None = None
    """Write the report here."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Options, "data convert", arguments, __doc__)
    settings = {name: value for name, value in vars(options).items() if name != "json"}
    with progress_bar() as progress:
        report = convert(ConvertConfig(**settings), progress)
    _tell(report)
    write_json(options.json, report)
    return 0


def _tell(report: Report) -> None:
    before = f", {report.resumed_at} of them were there" if report.resumed_at else ""
    print(
        f"{report.out}: {report.episodes} episodes{before}, {report.steps} steps from "
        f"{report.format} ({report.seconds:.1f} s, {report.steps_per_second:.0f} steps/s)"
    )
    lines = [f"skipped {s.name}: {s.reason}" for s in report.skipped]
    lines += [
        f"gap in {g.recording}: {g.topic} from {g.start:.3f} s to {g.end:.3f} s"
        for g in report.gaps
    ]
    lines += [f"left out {name}: {why}" for name, why in report.left_out.items()]
    lines += [f"note: {note}" for note in report.notes]
    lines += [
        f"{camera}: {found['mean']:.1f} dB PSNR, {found['lowest']:.1f} dB at worst"
        for camera, found in report.psnr.items()
    ]
    for line in lines[:_MOST_LINES]:
        print(line)
    if len(lines) > _MOST_LINES:
        print(
            f"... and {len(lines) - _MOST_LINES} lines more; --json FILE has them", file=sys.stderr
        )
