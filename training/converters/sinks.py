"""Where converted episodes go: a demonstration set, or a LeRobot dataset."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from bridle.training.converters.lerobot_writer import LeRobotWriter
from bridle.training.converters.report import JOURNAL, Report
from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.resuming import create_or_resume_with
from bridle.training.demonstrations.schema import Array

SOURCE_EPISODE = "source_episode"
"""Per-episode value: number of the episode in what was converted."""


class Sink(Protocol):
    """A place for episodes that survives a kill."""

    @property
    def folder(self) -> Path:
        """Where it is written, with the journal beside the data."""

    @property
    def n_episodes(self) -> int:
        """Episodes that are there."""

    @property
    def n_steps(self) -> int:
        """Time steps that are there."""

    @property
    def next_episode(self) -> int:
        """Number of the first episode of the source that may be missing."""

    @property
    def finished(self) -> bool:
        """Whether nothing is to be done."""

    def append(
        self, index: int, blocks: Iterator[Mapping[str, Array]], values: Mapping[str, float]
    ) -> None:
        """Take one episode in, as a whole or not at all."""

    def finish(self, report: Report) -> None:
        """Complete it."""

    def close(self) -> None:
        """Let others write."""


class SetSink:
    """A demonstration set."""

    finished = False

    def __init__(self, out: Path | str, attributes: Attributes) -> None:
        self._out = out
        self._writer = create_or_resume_with(out, attributes)

    @property
    def folder(self) -> Path:
        """See `Sink`."""
        return self._writer.path

    @property
    def n_episodes(self) -> int:
        """See `Sink`."""
        return self._writer.n_episodes

    @property
    def n_steps(self) -> int:
        """See `Sink`."""
        return self._writer.n_steps

    @property
    def next_episode(self) -> int:
        """See `Sink`."""
        done = self._writer.episode_values(SOURCE_EPISODE)
        return int(done[-1]) + 1 if len(done) else 0

    def append(
        self, index: int, blocks: Iterator[Mapping[str, Array]], values: Mapping[str, float]
    ) -> None:
        """See `Sink`."""
        self._writer.append_blocks(blocks, {**values, SOURCE_EPISODE: index})

    def finish(self, report: Report) -> None:
        """See `Sink`."""
        if self.folder != self._out:
            # What is packed or sent elsewhere is the set alone.
            (self.folder / JOURNAL).unlink(missing_ok=True)
        self._writer.finish()

    def close(self) -> None:
        """See `Sink`."""
        self._writer.close()


class LeRobotSink:
    """A LeRobot dataset."""

    def __init__(self, out: Path, attributes: Attributes, codec: str | None) -> None:
        self._writer = LeRobotWriter(out, attributes, codec)
        self.folder = out

    @property
    def n_episodes(self) -> int:
        """See `Sink`."""
        return self._writer.n_episodes

    @property
    def n_steps(self) -> int:
        """See `Sink`."""
        return self._writer.n_steps

    @property
    def next_episode(self) -> int:
        """See `Sink`."""
        return self._writer.next_episode

    @property
    def finished(self) -> bool:
        """See `Sink`."""
        return self._writer.finished

    def append(
        self, index: int, blocks: Iterator[Mapping[str, Array]], values: Mapping[str, float]
    ) -> None:
        """See `Sink`."""
        self._writer.append(index, blocks, {**values, SOURCE_EPISODE: index})

    def finish(self, report: Report) -> None:
        """See `Sink`."""
        self._writer.finish()
        report.psnr = {
            key: {
                "lowest": min(low for low, _ in found),
                "mean": sum(mean for _, mean in found) / len(found),
            }
            for key, found in self._writer.psnr.items()
            if found
        }

    def close(self) -> None:
        """See `Sink`."""
        self._writer.close()
