"""What a conversion did, and the journal that survives a kill."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bridle.training.converters.source import ConversionError, Gap
from bridle.training.demonstrations.resuming import first_difference

JOURNAL = ".convert.jsonl"


@dataclass(frozen=True)
class Skipped:
    """An episode that was left out."""

    episode: int
    name: str
    reason: str


@dataclass
class Report:
    """The result of a conversion, also of one that went on after a kill."""

    source: str
    format: str
    out: str
    to: str
    episodes: int = 0
    steps: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Columns that were not converted, with the reason."""
    notes: list[str] = field(default_factory=list)
    resumed_at: int = 0
    """Episodes that were there already."""
    seconds: float = 0.0
    """This time, without earlier attempts."""
    steps_per_second: float = 0.0
    """Of this time."""
    psnr: dict[str, dict[str, float]] = field(default_factory=dict)
    """Camera -> lowest and mean peak signal to noise ratio of sampled frames [dB], for video."""

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return asdict(self)


class Journal:
    """A line of JSON per episode beside the data: what the data itself cannot tell after a kill.

    The first line says what is being converted, and how. A line is written before its episode is
    committed; `resume` drops the lines of episodes that were not.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL

    def check(self, identity: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What the first line says, if it is of this conversion or not there.

        Raises:
            ConversionError: the journal is of another conversion.
        """
        lines = self._lines()
        found = lines[0] if lines else None
        difference = first_difference("", found, identity) if found is not None else None
        if difference is not None:
            raise ConversionError(
                f"{self.path.parent} was begun by another conversion: {difference}; "
                "choose another --out or remove it"
            )
        return found

    def resume(self, identity: Mapping[str, Any], report: Report, next_episode: int) -> None:
        """Begin or go on, and take what earlier attempts found into the report.

        Raises:
            ConversionError: as `check`.
        """
        found = self.check(identity)
        kept = [line for line in self._lines()[1:] if line["episode"] < next_episode]
        if found is None and next_episode:
            report.notes.append("the journal is lost: skips and gaps before the restart are not")
        partial = self.path.with_name(f"{JOURNAL}.partial")
        partial.write_text("".join(f"{json.dumps(x)}\n" for x in [identity, *kept]))
        partial.replace(self.path)
        for line in kept:
            self._into(report, line)

    def write(self, report: Report, line: dict[str, Any]) -> None:
        """Add what was found out about an episode."""
        with self.path.open("a") as file:
            file.write(f"{json.dumps(line)}\n")
        self._into(report, line)

    def _into(self, report: Report, line: Mapping[str, Any]) -> None:
        if "reason" in line:
            report.skipped.append(Skipped(line["episode"], line["name"], line["reason"]))
        report.gaps += [Gap(**gap) for gap in line.get("gaps", [])]

    def _lines(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        lines = []
        for text in self.path.read_text().split("\n"):
            try:
                lines.append(json.loads(text))
            except ValueError:
                # Where a kill tore the last line.
                break
        return lines
