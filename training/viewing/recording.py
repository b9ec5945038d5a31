"""A recording for the Rerun viewer, which turns and scrubs through what pictures only show."""

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bridle.training.demonstrations.progress import Progress, silent
from bridle.training.exceptions import TrainingError
from bridle.training.viewing.keys import Key
from bridle.training.viewing.oddities import Finding
from bridle.training.viewing.palette import INTERVENTION, LINE, rgb
from bridle.training.viewing.pictures import Scale, to_rgb
from bridle.training.viewing.reading import Reader
from bridle.training.viewing.schematic import path_of

JPEG_QUALITY = 90
MOST_TABS = 24
"""Episodes that get a tab in the viewer; the others are in its list of entities."""


def rerun() -> Any:
    """Rerun's Python module.

    Raises:
        TrainingError: it is not installed.
    """
    try:
        return import_module("rerun")
    except ModuleNotFoundError as error:
        raise TrainingError("--rerun needs Rerun: pip install bridle[viewer]") from error


def write_recording(
    reader: Reader,
    scales: Mapping[str, Scale],
    findings: list[Finding],
    path: Path,
    progress: Progress = silent,
) -> None:
    """Write the chosen episodes, each below an entity of its own, on timelines that start at 0.

    Channels are scalars, the tool's way is a line and a moving point, cameras are images (JPEG),
    phases are a text log; what stands out in the set is a document.

    Raises:
        TrainingError: Rerun is not installed.
        DemonstrationError: a chunk cannot be decoded.
    """
    rr = rerun()
    recording = rr.RecordingStream("bridle data view")
    recording.save(path, default_blueprint=_arrangement(reader))
    try:
        recording.send_recording_name(reader.name)
        text = "\n".join(f"{finding.kind}: {finding.text}" for finding in findings)
        recording.log("findings", rr.TextDocument(text or "nothing stands out"), static=True)
        for i, episode in enumerate(reader.episodes):
            progress(f"episode {episode} for rerun", i, len(reader.episodes))
            _Episode(rr, recording, reader, episode).write(scales)
    finally:
        recording.flush()
        recording.disconnect()


def _arrangement(reader: Reader) -> Any:
    """A tab for each episode: the tool's way and the cameras beside the channels and the words."""
    rrb = import_module("rerun.blueprint")
    series = [name for name in ("action", "gripper", "reward") if name in reader.keys]
    tabs = []
    for episode in reader.episodes[:MOST_TABS]:
        name = f"episode_{episode}"
        left = [rrb.Spatial2DView(origin=f"/{name}/{key.name}") for key in reader.pictures]
        if reader.position is not None:
            left.insert(0, rrb.Spatial3DView(origin=f"/{name}/world", name="tool"))
        right = [rrb.TimeSeriesView(origin=f"/{name}/{key}", name=key) for key in series]
        if reader.scalar("instruction_id") is not None:
            right.append(rrb.TextLogView(origin=f"/{name}/phase", name="phase"))
        sides = [rrb.Vertical(*side) for side in (left, right) if side]
        tabs.append(rrb.Horizontal(*sides, name=f"episode {episode}"))
    return rrb.Blueprint(rrb.Tabs(*tabs))


class _Episode:
    """One episode on its way into a recording."""

    def __init__(self, rr: Any, recording: Any, reader: Reader, episode: int) -> None:
        self._rr, self._recording = rr, recording
        self._reader, self._episode = reader, episode
        self._name = f"episode_{episode}"

    def write(self, scales: Mapping[str, Scale]) -> None:
        reader = self._reader
        for key in reader.keys.values():
            if key.layout is None:
                self._channels(key)
            else:
                self._images(key, scales[key.name])
        if reader.position is not None:
            self._path(reader.position)
        self._phases()

    def _times(self, first: int, count: int) -> list[Any]:
        steps = np.arange(first, first + count)
        times = [self._rr.TimeColumn("step", sequence=steps)]
        if self._reader.rate is not None:
            times.append(self._rr.TimeColumn("time", duration=steps / self._reader.rate))
        return times

    def _entity(self, *parts: str) -> str:
        path: str = self._rr.new_entity_path([self._name, *parts])
        return path

    def _channels(self, key: Key) -> None:
        rr, channels = self._rr, key.channels
        names = [key.channel_name(channel) for channel in channels]
        for first, rows in self._reader.blocks(key.name, self._episode):
            flat = rows.reshape(len(rows), -1).astype(np.float64)
            for channel, name in zip(channels, names, strict=True):
                entity = self._entity(key.name, *([name] if key.n_channels > 1 else []))
                columns = rr.Scalars.columns(scalars=flat[:, channel])
                rr.send_columns(
                    entity, self._times(first, len(rows)), columns, recording=self._recording
                )

    def _images(self, key: Key, scale: Scale) -> None:
        entity = self._entity(key.name)
        for first, rows in self._reader.blocks(key.name, self._episode):
            for i, row in enumerate(rows):
                self._set_time(first + i)
                image = self._rr.Image(to_rgb(key, row, scale))
                self._recording.log(entity, image.compress(jpeg_quality=JPEG_QUALITY))

    def _path(self, key: Key) -> None:
        rr, reader = self._rr, self._reader
        path = path_of(reader, key, self._episode)
        runs = [(r.start, r.stop, reader.colours[r.phase]) for r in path.runs]
        runs = runs or [(0, len(path.points), LINE)]
        lines = rr.LineStrips3D(
            [path.points[start : stop + 1] for start, stop, _ in runs],
            colors=[rgb(colour) for *_, colour in runs],
        )
        self._recording.log(self._entity("world"), rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        self._recording.log(self._entity("world", "path"), lines, static=True)
        colours = np.array([rgb(colour) for a, b, colour in runs for _ in range(a, b)], np.uint8)
        colours[path.interventions] = rgb(INTERVENTION)
        columns = rr.Points3D.columns(
            positions=path.points, colors=colours, radii=np.full(len(path.points), 0.008)
        )
        rr.send_columns(
            self._entity("world", "tool"),
            self._times(0, len(path.points)),
            columns,
            recording=self._recording,
        )
        for name, steps in (("closes", path.closes), ("opens", path.opens)):
            if steps:
                marks = rr.Points3D(path.points[steps], labels=[f"gripper {name}"] * len(steps))
                self._recording.log(self._entity("world", f"gripper_{name}"), marks, static=True)

    def _phases(self) -> None:
        entity = self._entity("phase")
        person = self._reader.interventions(self._episode)
        for run in self._reader.phases(self._episode):
            self._set_time(run.start)
            level = "WARN" if person[run.start] else "INFO"
            words = self._reader.words(run.phase)
            self._recording.log(entity, self._rr.TextLog(words, level=level))

    def _set_time(self, step: int) -> None:
        self._recording.set_time("step", sequence=step)
        if self._reader.rate is not None:
            self._recording.set_time("time", duration=step / self._reader.rate)


def has_display() -> bool:
    """Whether a window can be opened here."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def spawn_viewer(path: Path) -> None:
    """Open a recording in Rerun's viewer, which lives on after this process."""
    command = [sys.executable, "-m", "rerun", str(path)]
    subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
