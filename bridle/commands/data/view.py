"""Look at a demonstration set: contact sheet, every channel over time, a video, what stands out.

Writes pictures and an index.html that shows them into a folder.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.commands.data import progress_bar
from bridle.training.viewing import view
from bridle.training.viewing.recording import has_display, spawn_viewer

_MOST_LINES = 20


@dataclass(frozen=True)
class Options:
    """Options of `bridle data view`."""

    path: Positional[str]
    """Demonstration set: a zarr folder or a .zip of one; a path or a URL."""
    episodes: str = ""
    """Episodes to look at, such as 0,3,7-9; without, twelve evenly chosen, four in the video."""
    out: Path | None = None
    """Folder for the pictures; without, <set>-view beside the set."""
    rerun: bool = False
    """Write episodes.rrd for the Rerun viewer, too."""
    spawn: bool = False
    """Open that recording in the viewer, if there is a display."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Options, "data view", arguments, __doc__)
    if options.spawn and not options.rerun:
        raise ValueError("--spawn opens what --rerun writes; give both")
    with progress_bar() as progress:
        result = view(
            options.path,
            episodes=options.episodes,
            out=options.out,
            rerun=options.rerun,
            progress=progress,
        )
    shown = len(result.episodes)
    if shown < result.n_episodes:
        how = "as asked" if options.episodes.strip() else "evenly chosen; --episodes takes others"
        print(f"{shown} of {result.n_episodes} episodes ({how})")
    lines = [finding.text for finding in result.findings if finding.kind == "look"]
    for line in lines[:_MOST_LINES]:
        print(f"look: {' '.join(line.split())}")
    if len(lines) > _MOST_LINES:
        print(f"... and {len(lines) - _MOST_LINES} more in {result.index}")
    if options.spawn:
        recording = Path(result.index).with_name("episodes.rrd")
        if has_display():
            spawn_viewer(recording)
        else:
            print(f"no display here; open it elsewhere: rerun {recording}", file=sys.stderr)
    write_json(options.json, result)
    print(result.index)
    return 0
