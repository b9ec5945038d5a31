"""From scores over time to a level: slower if one is unusual, a stop if two agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bridle.deploy.familiarity.calibration import Calibration, Scores, peaks


class Level(StrEnum):
    """How a chunk may be executed."""

    NOMINAL = "NOMINAL"
    """As it is."""
    CAUTION = "CAUTION"
    """Slowly: one score is higher than in episodes that went well."""
    HOLD = "HOLD"
    """Not at all: two scores agree. Nothing latches: it is over when they have fallen again."""


@dataclass(frozen=True)
class AlarmConfig:
    """What a level does."""

    caution_speed: float = 0.5
    """Speed at CAUTION, as a share of the nominal one."""

    def __post_init__(self) -> None:
        if not 0 < self.caution_speed <= 1:
            raise ValueError(f"caution_speed must lie in (0, 1], got {self.caution_speed}")


@dataclass(frozen=True)
class AlarmState:
    """What is remembered from chunk to chunk."""

    recent: tuple[Mapping[str, float], ...] = ()
    """Heights of the last chunks, as many as the window is long, the newest last."""


@dataclass(frozen=True)
class Assessment:
    """What is to be done with one chunk, and why."""

    level: Level
    speed_scale: float
    """Share of the nominal speed; 0 at HOLD."""
    scores: Scores
    """Value of each score; NaN where it says nothing."""
    why: str
    """One sentence that names scores, values and thresholds; empty at NOMINAL."""


def assess(
    calibration: Calibration, config: AlarmConfig, state: AlarmState, scores: Scores
) -> tuple[AlarmState, Assessment]:
    """The level of a chunk.

    HOLD: the second highest peak within the window is above `together`. CAUTION: the highest one is
    above `alone`. A pure function: the same scores in the same order give the same levels.

    Args:
        calibration: of the policy.
        config: what a level does.
        state: after the chunk before; a new one for a new episode.
        scores: of the chunk.
    """
    recent = (*state.recent, calibration.heights(scores))[-calibration.window :]
    first, second, *_ = peaks(recent)
    if second[1] > calibration.together:
        level, speed = Level.HOLD, 0.0
        why = " and ".join(_sentence(calibration, *each, together=True) for each in (first, second))
    elif first[1] > calibration.alone:
        level, speed = Level.CAUTION, config.caution_speed
        why = _sentence(calibration, *first, together=False)
    else:
        level, speed, why = Level.NOMINAL, 1.0, ""
    return AlarmState(recent), Assessment(level, speed, dict(scores), why)


def _sentence(calibration: Calibration, name: str, height: float, *, together: bool) -> str:
    (scale,) = (s for s in calibration.scores if s.name == name)
    value = scale.typical + scale.spread * height
    return f"{name} {value:.3g} above {calibration.threshold(name, together=together):.3g}"
