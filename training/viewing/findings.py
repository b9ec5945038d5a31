"""What a person would want to know about a set before training on it, in words."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bridle.training.viewing.oddities import NAMED, Finding, Oddities
from bridle.training.viewing.reading import Reader, identifies
from bridle.training.viewing.survey import Survey
from bridle.training.viewing.totals import Totals

ODD_LENGTH = 3.0
"""Times longer or shorter than the median episode."""
STILL = 0.5
"""Share of frames that are exactly the frame before."""


def find(reader: Reader, totals: Totals, surveys: Mapping[str, Survey]) -> list[Finding]:
    """Everything that stands out, what deserves a look first."""
    found = [
        *_lengths(reader),
        *_outcomes(reader, totals),
        *(f for survey in surveys.values() for f in _key(reader, survey)),
        *_unused_words(reader),
    ]
    return sorted(found, key=lambda finding: finding.kind == "note")


def _lengths(reader: Reader) -> Iterator[Finding]:
    median = float(np.median(reader.lengths))
    for what, odd in (
        ("long", reader.lengths > ODD_LENGTH * median),
        ("short", reader.lengths < median / ODD_LENGTH),
    ):
        episodes = np.flatnonzero(odd).tolist()
        if episodes:
            steps = int(reader.lengths[episodes[0]])
            yield Finding(
                "look",
                f"{_episodes(episodes)} very {what}: episode {episodes[0]} has "
                f"{_steps(steps)}, the median is {median:g}",
                episode=episodes[0],
            )


def _outcomes(reader: Reader, totals: Totals) -> Iterator[Finding]:
    if totals.success is not None and not totals.success.all():
        failed = np.flatnonzero(~totals.success).tolist()
        yield Finding(
            "look",
            f"{len(failed)} of {reader.n_episodes} episodes do not succeed: {_some(failed)}",
            episode=failed[0],
        )
    if totals.costs is not None and totals.costs.any():
        costly = np.flatnonzero(totals.costs).tolist()
        have = "1 episode has" if len(costly) == 1 else f"{len(costly)} episodes have"
        yield Finding("look", f"{have} cost: {_some(costly)}", "cost", costly[0])
    if totals.interventions is not None and totals.interventions.any():
        steps = int(totals.interventions.sum())
        share = 100 * steps / int(reader.lengths.sum())
        yield Finding("note", f"a person chose the action in {_steps(steps)} ({share:.1f} %)")


def _key(reader: Reader, survey: Survey) -> Iterator[Finding]:
    key = survey.key
    if survey.first_not_finite is not None:
        episode, step = survey.first_not_finite
        yield Finding(
            "look",
            f"{key.name}: {survey.not_finite} values are not finite, the first in episode "
            f"{episode}, step {step}",
            key.name,
            episode,
            step,
        )
    if key.layout is not None:
        yield from _pictures(survey)
        return
    if identifies(key):
        if survey.constant.all() and np.isfinite(survey.high).all():
            words = reader.words(int(survey.high[0]))
            yield Finding("note", f'{key.name} is "{words}" throughout', key.name)
        return
    oddities = Oddities(survey)
    yield from oddities.constant()
    if key.name == "timestamp":
        yield from _clock(reader, survey)
        return
    yield from oddities.all()


def _pictures(survey: Survey) -> Iterator[Finding]:
    key = survey.key
    for episode in survey.episodes:
        high = survey.extremes[episode][1]
        if not key.is_depth and np.isfinite(high).all() and not high.any():
            yield Finding("look", f"{key.name} is black in episode {episode}", key.name, episode)
        elif survey.still_frames[episode] > STILL:
            share = round(100 * survey.still_frames[episode])
            yield Finding(
                "look",
                f"{key.name} stands still in episode {episode}: {share} % of its frames are "
                "exactly the one before",
                key.name,
                episode,
            )


def _clock(reader: Reader, survey: Survey) -> Iterator[Finding]:
    if reader.rate is None or survey.key.n_channels != 1:
        return
    usual, longest = 1 / reader.rate, float(survey.steepest.value[0])
    if longest > 1.5 * usual:
        episode, step = int(survey.steepest.episode[0]), int(survey.steepest.step[0])
        yield Finding(
            "look",
            f"timestamp: step {step} of episode {episode} comes {longest:.3g} s after the one "
            f"before, {usual:.3g} s is usual",
            "timestamp",
            episode,
            step,
        )


def _unused_words(reader: Reader) -> Iterator[Finding]:
    attributes = reader.stored.attributes
    if attributes is None or not reader.phase_steps:
        return
    goal = reader.scalar("goal_id")
    spoken = set(reader.phase_steps)
    if goal is not None:
        for _, ids in reader.all_scalars("goal_id"):
            spoken |= set(np.unique(ids).astype(int).tolist())
    unused = [i for i in range(len(attributes.instructions)) if i not in spoken]
    if unused:
        said = ", ".join(f'"{reader.words(i)}"' for i in unused[:NAMED])
        more = f" and {len(unused) - NAMED} more" if len(unused) > NAMED else ""
        yield Finding("note", f"instructions that no step has: {said}{more}", "instruction_id")


def _steps(n: int) -> str:
    return f"{n} step" if n == 1 else f"{n} steps"


def _episodes(episodes: Sequence[int]) -> str:
    return "1 episode is" if len(episodes) == 1 else f"{len(episodes)} episodes are"


def _some(episodes: Sequence[int]) -> str:
    return ", ".join(map(str, episodes[:8])) + (" ..." if len(episodes) > 8 else "")
