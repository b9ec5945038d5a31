"""Looking at a demonstration set: pictures, plots, a video and a page that shows them."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from bridle.training.demonstrations import DemonstrationError
from bridle.training.demonstrations.places import locate
from bridle.training.demonstrations.progress import Progress, silent
from bridle.training.demonstrations.storage import StoredSet, opened_sound
from bridle.training.exceptions import TrainingError
from bridle.training.viewing import recording
from bridle.training.viewing.findings import find
from bridle.training.viewing.oddities import Finding
from bridle.training.viewing.overview import draw_overview
from bridle.training.viewing.page import MARK, write_page
from bridle.training.viewing.pictures import sampled_scale
from bridle.training.viewing.plots import draw_key
from bridle.training.viewing.reading import Reader, set_name
from bridle.training.viewing.selection import MOST_EPISODES, MOST_IN_VIDEO, asked, evenly
from bridle.training.viewing.sheets import seconds, write_sheets
from bridle.training.viewing.strips import telling
from bridle.training.viewing.survey import Survey, survey
from bridle.training.viewing.totals import totals
from bridle.training.viewing.video import write_video

INDEX = "index.html"
_OURS = ("sheet*.png", "plot-*.png", "summary.png", "episodes.mp4", "episodes.rrd")


@dataclass(frozen=True)
class ViewResult:
    """What was looked at, and where the pictures are."""

    path: str
    index: str
    """The page that shows everything."""
    n_episodes: int
    """Episodes of the set."""
    episodes: tuple[int, ...]
    """Those in the pictures."""
    episodes_in_video: tuple[int, ...]
    frames: int
    """Of the video."""
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    """About the files of the set."""
    files: tuple[str, ...]
    seconds: float


def view(
    path: Path | str,
    *,
    episodes: str = "",
    out: Path | None = None,
    rerun: bool = False,
    progress: Progress = silent,
) -> ViewResult:
    """Look at a set (zarr folder or zip, path or URL); reads the chosen episodes, in small blocks.

    Args:
        path: the set.
        episodes: which ones, such as "0,3,7-9"; "" takes twelve evenly chosen ones, and four of
            them for the video.
        out: folder for the pictures, created if need be; None takes `<set>-view` beside the set,
            or in the working directory for a set behind a URL.
        rerun: whether to write a recording for the Rerun viewer, too.
        progress: is told how far it is.

    Raises:
        DemonstrationError: the set is damaged or empty, or an episode does not exist.
        TrainingError: the folder holds something else, or Rerun is not installed.
    """
    began = time.monotonic()
    if rerun:
        recording.rerun()
    with opened_sound(path) as (stored, problems):
        n = stored.n_episodes
        if not n:
            raise DemonstrationError(f"{path}: no episode is committed, there is nothing to see")
        named = bool(episodes.strip())
        chosen = asked(episodes, n) if named else evenly(range(n), MOST_EPISODES)
        in_video = chosen if named else evenly(chosen, MOST_IN_VIDEO)
        folder = _prepared(out or _beside(path), path)
        look = _Look(Reader(stored, path, chosen), folder, progress)
        subtitle = _subtitle(stored, chosen, named=named)
        notes = tuple(str(problem) for problem in problems)
        return look.write(in_video, subtitle, notes, rerun=rerun, began=began)


class _Look:
    """Writes everything about the chosen episodes into a folder."""

    def __init__(self, reader: Reader, folder: Path, progress: Progress) -> None:
        self._reader, self._folder, self._progress = reader, folder, progress
        self._surveys: dict[str, Survey] = {}
        self._plots: dict[str, list[Path]] = {}

    def _draw_keys(self) -> None:
        """Survey and draw one key after the other, so that the lines of one are in memory."""
        reader = self._reader
        for i, (name, key) in enumerate(reader.keys.items()):
            self._progress(f"drawing {name}", i, len(reader.keys))
            self._surveys[name] = survey(reader, key)
            stem = f"plot-{i:02}-{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:60]}"
            self._plots[name] = draw_key(reader, self._surveys[name], self._folder, stem)
            self._surveys[name].forget_lines()

    def write(
        self,
        in_video: Sequence[int],
        subtitle: str,
        notes: tuple[str, ...],
        *,
        rerun: bool,
        began: float,
    ) -> ViewResult:
        """Write it all."""
        reader, folder, progress = self._reader, self._folder, self._progress
        scales = {key.name: sampled_scale(reader, key) for key in reader.pictures}
        outcomes = totals(reader)
        self._draw_keys()
        surveys = self._surveys
        findings = find(reader, outcomes, surveys)
        strips = telling(surveys)
        sheets = write_sheets(reader, outcomes, scales, strips, subtitle, folder)
        draw_overview(reader, outcomes, surveys, findings, subtitle, folder / "summary.png")
        video = folder / "episodes.mp4"
        frames = write_video(reader, outcomes, scales, strips, in_video, video, progress)
        files = {"Summary": [folder / "summary.png"], "Episodes": sheets, "Video": [video]}
        if rerun:
            files["Rerun"] = [folder / "episodes.rrd"]
            recording.write_recording(reader, scales, findings, folder / "episodes.rrd", progress)
        write_page(reader, subtitle, findings, notes, files, self._plots, folder / INDEX)
        made = [*chain(*files.values(), *self._plots.values()), folder / INDEX]
        return ViewResult(
            path=str(reader.path),
            index=str(folder / INDEX),
            n_episodes=reader.n_episodes,
            episodes=reader.episodes,
            episodes_in_video=tuple(in_video),
            frames=frames,
            findings=tuple(findings),
            notes=notes,
            files=tuple(file.name for file in made),
            seconds=time.monotonic() - began,
        )


def _beside(path: Path | str) -> Path:
    place = locate(path)
    name = f"{set_name(path)}-view"
    return place.resolve().with_name(name) if isinstance(place, Path) else Path(name)


def _prepared(folder: Path, path: Path | str) -> Path:
    """The folder, empty of what an earlier view wrote; anything else in it is not ours to touch."""
    place = locate(path)
    if isinstance(place, Path) and folder.resolve().is_relative_to(place.resolve()):
        raise TrainingError(f"{folder} lies in the set; choose another folder with --out")
    if folder.exists() and not folder.is_dir():
        raise TrainingError(f"{folder} is not a folder; choose another with --out")
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / INDEX
    if any(folder.iterdir()):
        if not (index.is_file() and MARK in index.read_text(errors="replace")[:500]):
            raise TrainingError(
                f"{folder} holds something other than an earlier view; choose another with --out"
            )
        for pattern in _OURS:
            for file in folder.glob(pattern):
                file.unlink()
    # From here on the folder is known as ours, also after a kill.
    index.write_text(f"<!doctype html>{MARK}<title>not finished</title>")
    return folder


def _subtitle(stored: StoredSet, chosen: Sequence[int], *, named: bool) -> str:
    attributes, n, steps = stored.attributes, stored.n_episodes, stored.n_steps
    parts = [f"{n} episode{'s' * (n != 1)}", f"{steps} step{'s' * (steps != 1)}"]
    if attributes is not None:
        parts = [attributes.task, attributes.robot, f"{attributes.control_rate:g} Hz", *parts]
        lasts = steps / attributes.control_rate
        parts.append(f"{lasts / 60:.1f} min" if lasts >= 60 else seconds(lasts))
    else:
        parts.append("not written by Bridle: rate and units are unknown")
    if len(chosen) < n:
        parts.append(f"{len(chosen)} of them shown, {'as asked' if named else 'evenly chosen'}")
    return " · ".join(parts)
