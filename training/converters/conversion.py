"""Converting a data set: one loop for all formats, that a kill at any moment cannot spoil."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from bridle.training.converters.formats import FORMATS, detect, open_source
from bridle.training.converters.keys import KeyMap
from bridle.training.converters.report import Journal, Report
from bridle.training.converters.sinks import SOURCE_EPISODE, LeRobotSink, SetSink, Sink
from bridle.training.converters.source import (
    UNKNOWN,
    ConversionError,
    Episode,
    Rule,
    SkippedEpisode,
    Source,
    SourceOptions,
)
from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.places import locate
from bridle.training.demonstrations.progress import Progress, silent
from bridle.training.demonstrations.schema import INSTRUCTION_KEYS, Array, DemonstrationError


@dataclass(frozen=True)
class ConvertConfig:
    """Settings of a conversion.

    Raises:
        ConversionError: a value is wrong.
    """

    path: Path
    """What is converted."""
    out: Path
    """Where to: a folder that does not exist yet, or that this same conversion began; a set also
    as a .zip or to a URL."""
    format: str = "auto"
    """A name of `FORMATS`, or "auto"."""
    to: Literal["bridle", "lerobot"] = "bridle"
    robot: str | None = None
    task: str | None = None
    rate: float | None = None
    instruction: str | None = None
    map: tuple[str, ...] = ()
    topics: Path | None = None
    filter_key: str | None = None
    images: Literal["png", "video"] = "png"
    codec: Literal["h264", "av1"] = "h264"
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise ConversionError(f"--rate must be positive [Hz], got {self.rate}")
        if self.format not in ("auto", *FORMATS):
            raise ConversionError(
                f"--from must be auto or one of {', '.join(FORMATS)}, got {self.format!r}"
            )
        source, out = self.path.resolve(), self.out.resolve()
        if out == source or out.is_relative_to(source):
            raise ConversionError(f"--out {self.out} lies within what is converted")


def convert(config: ConvertConfig, progress: Progress = silent) -> Report:
    """Convert a data set, or go on where a kill stopped it.

    Args:
        config: what and how.
        progress: told how far it is.

    Raises:
        ConversionError: the data or the settings do not allow it; the message says what would.
        DemonstrationError: an episode is wrong, and `skip_bad` was not asked for.
    """
    began = time.monotonic()
    name = detect(config.path) if config.format == "auto" else config.format
    options = SourceOptions(config.rate, config.filter_key, config.topics)
    if config.filter_key is not None and name != "robomimic":
        raise ConversionError(f"--filter-key is for robomimic, not for {name}")
    if config.topics is not None and name != "mcap":
        raise ConversionError(f"--topics is for bags, not for {name}")
    with closing(open_source(config.path, name, options)) as source:
        keys = _key_map(source, config)
        attributes = _attributes(source, keys, config)
        report = Report(str(config.path), name, str(config.out), config.to)
        report.left_out = dict(keys.left_out)
        with closing(_sink(config, attributes)) as sink:
            journal = Journal(sink.folder)
            journal.resume(attributes.to_json(), report, sink.next_episode)
            report.resumed_at, steps = sink.n_episodes, sink.n_steps
            if not sink.finished:
                _run(source, keys, sink, journal, report, config, progress)
            sink.finish(report)
            report.notes += source.notes
            report.episodes, report.steps = sink.n_episodes, sink.n_steps
            report.seconds = round(time.monotonic() - began, 3)
            report.steps_per_second = round((sink.n_steps - steps) / max(report.seconds, 1e-3), 1)
    if not report.episodes:
        reason = f": {report.skipped[0].reason}" if report.skipped else ""
        raise ConversionError(f"{config.path}: no episode could be converted{reason}")
    return report


def _run(
    source: Source,
    keys: KeyMap,
    sink: Sink,
    journal: Journal,
    report: Report,
    config: ConvertConfig,
    progress: Progress,
) -> None:
    def tell() -> None:
        done, total = source.position or (sink.n_episodes, source.n_episodes or 0)
        what = f"converting {config.path.name}: {sink.n_episodes} episodes, {sink.n_steps} steps"
        progress(what, done, total)

    with closing(source.episodes(sink.next_episode, keys.sources)) as episodes:
        for episode in episodes:
            _take(episode, keys, sink, journal, report, config.skip_bad, tell)
            tell()


def _take(
    episode: Episode,
    keys: KeyMap,
    sink: Sink,
    journal: Journal,
    report: Report,
    skip_bad: bool,
    tell: Callable[[], None],
) -> None:
    line: dict[str, Any] = {"episode": episode.index, "name": episode.name}

    def blocks() -> Iterator[dict[str, Array]]:
        rows = 0
        for block in keys.convert(episode.blocks()):
            rows += len(block["action"])
            yield block
            tell()
        if not rows:
            raise SkippedEpisode("it holds no steps")
        # Before the commit: a kill in between leaves a line that the next attempt drops.
        if episode.gaps:
            journal.write(report, line | {"gaps": [asdict(gap) for gap in episode.gaps]})

    try:
        sink.append(episode.index, blocks(), episode.values)
    except SkippedEpisode as skipped:
        reason = str(skipped)
    except DemonstrationError as error:
        if not skip_bad:
            raise DemonstrationError(
                f"{episode.name}: {error}; --skip-bad leaves such episodes out"
            ) from error
        reason = str(error)
    else:
        return
    gaps = [asdict(gap) for gap in episode.gaps]
    journal.write(report, line | {"reason": reason, "gaps": gaps})


def _key_map(source: Source, config: ConvertConfig) -> KeyMap:
    def peek(name: str) -> Array:
        for episode in source.episodes(0, [name]):
            for block in episode.blocks():
                return block[name]
        raise ConversionError(f"{config.path}: there is no row to look at")

    return KeyMap(
        source.columns,
        [Rule.parse(text) for text in config.map],
        peek,
        derived=source.derived,
        instruction=config.instruction,
        instructions=source.instructions,
    )


def _attributes(source: Source, keys: KeyMap, config: ConvertConfig) -> Attributes:
    rate = config.rate or source.control_rate
    if rate is None:
        raise ConversionError(
            f"{config.path} does not say how many steps a second has; give --rate HZ"
        )
    options = {
        "map": list(config.map),
        "filter_key": config.filter_key,
        "skip_bad": config.skip_bad,
        "images": config.images if config.to == "lerobot" else None,
        "codec": config.codec if (config.to, config.images) == ("lerobot", "video") else None,
    }
    made: dict[str, Any] = {
        "command": "data convert",
        "format": source.format,
        "name": config.path.resolve().name,
        "content": source.fingerprint,
        "options": {name: value for name, value in options.items() if value},
    }
    if source.origin:
        made["origin"] = source.origin
    return Attributes(
        robot=config.robot or source.robot or UNKNOWN,
        task=config.task or source.task or UNKNOWN,
        control_rate=rate,
        keys=keys.specs,
        instructions=keys.instructions if keys.specs.keys() & set(INSTRUCTION_KEYS) else (),
        source=made,
        episode_keys={**source.episode_keys, SOURCE_EPISODE: "int64"},
    )


def _sink(config: ConvertConfig, attributes: Attributes) -> Sink:
    place = locate(config.out)
    if config.to == "bridle":
        return SetSink(place, attributes)
    if isinstance(place, str):
        raise ConversionError(f"--out must be a folder on this machine for LeRobot, got {place}")
    found = Journal(place).check(attributes.to_json())
    if found is None and place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConversionError(f"{place} exists; choose another --out")
    return LeRobotSink(place, attributes, config.codec if config.images == "video" else None)
