"""What happens in a case, but for the chunks themselves: drawn from its seed, told in words."""

from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import numpy as np

from bridle.fuzzing.places import PLACES, Place
from bridle.fuzzing.rig import GRIPS
from bridle.fuzzing.sources import KINDS

CLEAN = "clean"
CLEAN_SHARE = 0.25
"""Share of cases in which nothing is wrong."""
Cause = Literal["stop", "joint states", "silence", "familiarity"]
"""Why the robot has to stop: a person, lost joint states, no more chunks, the policy's guardian."""
CAUSES: tuple[Cause, ...] = get_args(Cause)
Scenario = Literal["limits", "people", "standstill"]
"""What cases are about: `people`: somebody moves around the robot; `standstill`: the robot stops by
itself at some time, as in a protective stop, and follows no command any more."""
WATCHED = 2.5
"""What a robot that stands is looked at for [s]."""


@dataclass(frozen=True)
class Setting:
    """One case. Times are of the guard's clock, from the beginning of the case [s]."""

    place: Place
    grip: int
    kind: str
    """Of the chunks: `CLEAN` or a key of `KINDS`."""
    seconds: float
    every: float
    """Between observations that are planned from [s]."""
    latency: float
    """Of a chunk, to which a little is added at random [s]."""
    faults: float
    """Share of chunks that are lost, and of those that come twice, late, or with a wrong stamp."""
    late: float
    """Share of ticks that are 1 to 4 periods late."""
    jitter: float
    """Of ticks [s]."""
    states_every: int
    """Control periods between joint states."""
    clock_step: tuple[float, float] | None
    """When the sender's clock is set, and by how much [s]."""
    cause: Cause | None
    cause_at: float
    flips: bool
    """Whether the guardian of the policy changes its mind all the time."""
    resets: bool
    """Whether the robot is stopped and released now and then."""
    stands_at: float | None = None
    """When the robot stops following its commands."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return self.kind == CLEAN

    def __str__(self) -> str:
        """Field by field."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in values.items()
        )


def draw(random: np.random.Generator) -> Setting:
    """A case, of all kinds alike."""
    grip = int(random.integers(GRIPS))
    if random.random() < CLEAN_SHARE:
        return Setting(
            "anywhere", grip, CLEAN, 0.0, random.uniform(0.05, 0.2), random.uniform(0, 0.2),
            0.0, 0.0, 0.0, 1, None, None, 0.0, flips=False, resets=False,
        )  # fmt: skip
    place = PLACES[0] if random.random() < 0.5 else PLACES[1 + random.integers(len(PLACES) - 1)]
    kind = list(KINDS)[random.integers(len(KINDS))]
    seconds = 0.3 + 1.2 * random.random() ** 2
    cause = CAUSES[random.integers(len(CAUSES))] if random.random() < 0.35 else None
    often = random.random() < 0.5
    step = None
    if random.random() < 0.1:
        step = (random.uniform(0, seconds), random.choice([-1, 1]) * 10 ** random.uniform(-2, 1))
    return Setting(
        place,
        grip,
        kind,
        seconds,
        every=random.uniform(0.02, 0.3),
        latency=random.uniform(0, 0.4) if often else random.uniform(0, 0.1),
        faults=random.uniform(0, 0.3) if random.random() < 0.3 else 0.0,
        late=random.uniform(0, 0.1) if random.random() < 0.3 else 0.0,
        jitter=random.uniform(0, 2e-3) if random.random() < 0.5 else 0.0,
        states_every=int(random.integers(1, 5)),
        clock_step=step,
        cause=cause,
        cause_at=random.uniform(0.1, seconds),
        flips=cause is None and random.random() < 0.1,
        resets=cause is None and random.random() < 0.1,
    )


def among_people(setting: Setting, random: np.random.Generator) -> Setting:
    """The same case, in most of which the robot goes on moving for long enough to be met."""
    if setting.clean or random.random() < 0.2:
        return setting
    seconds = random.uniform(0.8, 2.0)
    return replace(setting, seconds=seconds, cause=None, flips=False, resets=False)


def standing_still(setting: Setting, random: np.random.Generator) -> Setting:
    """The same case with a robot that follows no more at some time, and no other reason to stop."""
    stands_at = random.uniform(0.1, 0.8)
    return replace(
        setting,
        kind="wander" if setting.clean else setting.kind,
        seconds=stands_at + WATCHED,
        cause=None,
        flips=False,
        resets=False,
        stands_at=stands_at,
    )
