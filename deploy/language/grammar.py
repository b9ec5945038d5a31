"""The grammar of corrections: a sentence is lexed into tagged phrases whose tags must fit a shape.

Every word has to belong to a phrase, and the whole sentence to a shape; whatever does not fit is
not understood. So an antonym, a negation or an unknown word can never pass for its neighbour.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import cast

from bridle.deploy.language.corrections import (
    DIRECTIONS,
    MAX_NUDGE,
    MAX_PACE,
    MIN_PACE,
    Correction,
    Direction,
    Grip,
    Instruct,
    NotUnderstood,
    Nudge,
    Pace,
    Stop,
    opposite,
)
from bridle.deploy.language.lexicon import (
    AMBIGUOUS,
    AMOUNTS,
    ARTICLES,
    EXAMPLES,
    LONGEST_PHRASE,
    PHRASES,
    QUESTIONS,
    VOCABULARY,
    Meaning,
    Tag,
)
from bridle.deploy.language.quantities import (
    UNITS,
    is_numeral,
    read_length,
    read_number,
    read_percent,
)
from bridle.deploy.language.stop import is_stop
from bridle.deploy.language.words import words

MAX_CHARACTERS = 500
"""Longer texts are not read, except for stop words."""


_WAYS = ("dir", "high", "lift")
_KNOWN = VOCABULARY | UNITS.keys()
_QUESTION = "a question is not a correction"


@dataclass(frozen=True, slots=True)
class Phrase:
    """Some words of a sentence and what they mean; `value` is a length in metres for `length`."""

    tag: Tag
    value: str | float
    said: str


def parse(text: str, instructions: Sequence[str] = (), *, pace: float = 1.0) -> Correction:
    """Return the one correction that `text` means, or `NotUnderstood`; never a guess.

    A stop command anywhere in the text wins over all else, then a sentence equal to one of
    `instructions` (apart from case, punctuation, articles and politeness), then the grammar.

    Args:
        text: anything at all; above 500 characters only stop words are looked for.
        instructions: the sentences the policy was taught.
        pace: the pace in force, as a multiple of the demonstrated one, in [0.1, 2]. "Slower" and
            "faster" change it and saturate at the bounds; "half speed", "at 50 %" and "normal
            speed" (the demonstrated one) ignore it.

    Raises:
        ValueError: `pace` is outside [0.1, 2].
        TypeError: `instructions` is one string.
    """
    if isinstance(instructions, str):
        raise TypeError(f"parse: instructions: expected several sentences, got {instructions!r}")
    if not MIN_PACE <= pace <= MAX_PACE:
        raise ValueError(f"parse: pace: expected between {MIN_PACE} and {MAX_PACE}, got {pace}")
    if is_stop(text):
        return Stop(text[:MAX_CHARACTERS].encode("utf-8", "replace").decode())
    if len(text) > MAX_CHARACTERS:
        return NotUnderstood(f"the text has {len(text)} characters, at most {MAX_CHARACTERS}")

    spoken = words(text)
    content, requested = _without_politeness(spoken)
    if not content:
        return NotUnderstood("nothing to do was said", ("stop", "move left", "slower"))
    near = _nearest(content, instructions)
    if "?" in spoken and not requested:
        return NotUnderstood(_QUESTION, near)
    if same := _same(content, instructions):
        if len(same) == 1:
            return Instruct(same[0])
        return NotUnderstood("several known instructions read like this", tuple(same[:3]))

    if content[0] in QUESTIONS:
        return NotUnderstood(_QUESTION, near)
    phrases = [p for p in _lex(_without(content, ARTICLES)) if p.tag != "filler"]
    if (sentence := " ".join(phrase.said for phrase in phrases)) in AMBIGUOUS:
        return NotUnderstood(*AMBIGUOUS[sentence])
    tags = "".join(f"{phrase.tag}," for phrase in phrases)
    for shape, act in _RULES:
        if shape.fullmatch(tags):
            return act(phrases, pace)
    return _refuse(phrases, near)


def interpret(
    text: str, instructions: Sequence[str], *, follows_instructions: bool, pace: float = 1.0
) -> Correction:
    """`parse` for a policy: one that takes no instructions is first of all corrected.

    The words of its demonstrations ("open the gripper") then mean what the grammar says; an
    instruction is found only where the grammar finds nothing.
    """
    if not follows_instructions:
        correction = parse(text, pace=pace)
        if not isinstance(correction, NotUnderstood):
            return correction
    return parse(text, instructions, pace=pace)


def _without(tokens: Sequence[str], dropped: frozenset[str]) -> list[str]:
    return [token for token in tokens if token not in dropped]


def _without_politeness(tokens: list[str]) -> tuple[list[str], bool]:
    """Return `tokens` without polite phrases and question marks, and whether it was a request."""
    phrases = _lex(_without(tokens, frozenset("?")))
    content = [p.said for p in phrases if p.tag not in ("polite", "request")]
    return " ".join(content).split(), any(p.tag == "request" for p in phrases)


def _same(content: list[str], instructions: Sequence[str]) -> list[str]:
    """Return the instructions with the same words as `content`, apart from articles."""
    articles = frozenset({"a", "an", "the"})
    wanted = _without(content, articles)
    return [
        known
        for known in dict.fromkeys(instructions)
        if wanted and _without(_without_politeness(words(known))[0], articles) == wanted
    ]


def _nearest(content: list[str], instructions: Sequence[str]) -> tuple[str, ...]:
    # Cut to 80 characters because difflib takes quadratic time.
    known = {sentence[:80].casefold(): sentence for sentence in (*EXAMPLES, *instructions)}
    return tuple(known[near] for near in get_close_matches(" ".join(content)[:80], known))


def _lex(tokens: list[str]) -> list[Phrase]:
    """Cut `tokens` into phrases, at each place the longest known."""
    phrases: list[Phrase] = []
    at = 0
    while at < len(tokens):
        meaning, end = _read_phrase(tokens, at)
        phrases.append(Phrase(meaning.tag, meaning.value, " ".join(tokens[at:end])))
        at = end
    return phrases


def _read_phrase(tokens: list[str], at: int) -> tuple[Meaning, int]:
    if length := read_length(tokens, at):
        return Meaning("length", length[0]), length[1]
    if percent := read_percent(tokens, at):
        return Meaning("percent", percent[0]), percent[1]
    for end in range(min(at + LONGEST_PHRASE, len(tokens)), at, -1):
        if meaning := PHRASES.get(tuple(tokens[at:end])):
            return meaning, end
    if number := read_number(tokens, at):
        return Meaning("number", number[0]), number[1]
    return Meaning("number" if is_numeral(tokens[at]) else "unknown"), at + 1


def _change(phrases: list[Phrase], pace: float, *, along: bool) -> Correction:
    """Nudge or change the pace as the phrases say, or (`along` false) the other way."""
    what = next(p for p in phrases if p.tag in (*_WAYS, "pace", "fast"))
    amount = next((p for p in phrases if p.tag in ("amount", "length", "percent")), None)
    if what.tag in _WAYS:
        if amount is not None and amount.tag == "percent":
            return NotUnderstood(f"'{amount.said}' is not a length", ("2 cm to the left",))
        direction = cast(Direction, what.value)
        return _nudge(direction if along else opposite(direction), amount)
    if amount is not None and amount.tag == "length":
        return NotUnderstood(f"'{amount.said}' is not a pace", ("a bit slower", "at 50 %"))
    slower = (what.value == "slower") == along
    if amount is not None and amount.tag == "percent":
        ratio = 1 - float(amount.value) if slower else 1 + float(amount.value)
        if ratio <= 0 or ratio == 1:
            return NotUnderstood(
                f"'{amount.said} {what.said}' is no change of pace", ("at 50 %", "stop")
            )
    else:
        step = AMOUNTS[str(amount.value) if amount else "plain"].slower
        ratio = step if slower else 1 / step
    return _scaled(pace * ratio)


def _nudge(direction: Direction, amount: Phrase | None) -> Correction:
    if amount is None or amount.tag == "amount":
        return Nudge(direction, AMOUNTS[str(amount.value) if amount else "plain"].metres)
    metres = round(float(amount.value), 9)
    if metres <= 0:
        why = f"a nudge has a positive length, got '{amount.said}'"
        return NotUnderstood(why, (f"move {direction}", f"move {opposite(direction)}"))
    if metres > MAX_NUDGE:
        why = f"a nudge is at most {MAX_NUDGE} m, got '{amount.said}'"
        return NotUnderstood(why, (f"move {direction} by {100 * MAX_NUDGE:.0f} cm",))
    return Nudge(direction, metres)


def _scaled(factor: float) -> Correction:
    return Pace(min(max(factor, MIN_PACE), MAX_PACE))


def _along(phrases: list[Phrase], pace: float) -> Correction:
    return _change(phrases, pace, along=True)


def _against(phrases: list[Phrase], pace: float) -> Correction:
    return _change(phrases, pace, along=False)


def _times(phrases: list[Phrase], pace: float) -> Correction:
    return _scaled(pace * next(float(p.value) for p in phrases if p.tag == "times"))


def _absolute(phrases: list[Phrase], pace: float) -> Correction:
    said = next(p for p in phrases if p.tag in ("percent", "speed"))
    if not MIN_PACE <= float(said.value) <= MAX_PACE:
        why = f"a pace is between {MIN_PACE:.0%} and {MAX_PACE:.0%}, got '{said.said}'"
        return NotUnderstood(why, ("at 50 %", "normal speed"))
    return Pace(float(said.value))


def _grip(phrases: list[Phrase], pace: float) -> Correction:
    return Grip("open" if phrases[0].value == "open" else "close")


def _shape(pattern: str) -> re.Pattern[str]:
    """Compile tags, `[optional]` parts and `(alternatives|of tags)` to a pattern over tags."""
    pattern = pattern.replace("AMOUNT", "(amount|length|percent)")
    tags = re.sub(r"\w+", r"(?:\g<0>,)", pattern).replace(" ", "")
    return re.compile(tags.replace("[", "(?:").replace("]", ")?"))


_RULES: tuple[tuple[re.Pattern[str], Callable[[list[Phrase], float], Correction]], ...] = tuple(
    (_shape(pattern), act)
    for pattern, act in (
        # "move 2 cm to the left", "left by 2 cm", "a bit higher", "slow down a little"
        ("[go] [[by] AMOUNT] (dir|pace)", _along),
        ("[go] (dir|pace) [by] AMOUNT", _along),
        # "raise the arm by 2 cm", "lower it a bit"
        ("lift [[by] AMOUNT]", _along),
        # "you are 2 cm too far to the right", "too fast"
        ("[subject] [AMOUNT] too (dir|high|fast)", _against),
        ("[subject] too (dir|high|fast) [by] AMOUNT", _against),
        # "not so high", "not that far left"
        ("[subject] notso (dir|high|fast)", _against),
        # "not far enough left", "that is not high enough"
        ("[subject] notenough (dir|high|fast)", _along),
        ("[subject] not (dir|high|fast) enough", _along),
        # "twice as fast"
        ("[go] times", _times),
        # "at 50 %", "50 % of normal speed", "half speed"
        ("[go] at percent [ofspeed]", _absolute),
        ("[go] percent ofspeed", _absolute),
        ("[go] [at] speed", _absolute),
        # "open the gripper"
        ("grip", _grip),
    )
)


def _refuse(phrases: list[Phrase], near: tuple[str, ...]) -> NotUnderstood:
    """Say why phrases that fit no shape are not understood."""
    tags = [phrase.tag for phrase in phrases]
    said = " ".join(phrase.said for phrase in phrases).split()
    ways = list(dict.fromkeys(str(p.value) for p in phrases if p.tag in _WAYS))
    if len(ways) > 1:
        why = f"{' and '.join(ways)} are {len(ways)} directions: say one at a time"
        return NotUnderstood(why, tuple(f"move {way}" for way in ways))
    if {"not", "dont", "no", "notso", "notenough"}.intersection(tags):
        instead = tuple(f"move {opposite(cast(Direction, way))}" for way in ways)
        if "stop" in said:
            return NotUnderstood("a negated stop changes nothing", ("stop",))
        why = "a negation says what not to do: say what to do instead"
        return NotUnderstood(why, instead or near)
    for phrase in phrases:
        if phrase.tag == "unknown" and phrase.said not in _KNOWN:
            return NotUnderstood(f"unknown word {phrase.said[:40]!r}", near)
    for phrase in phrases:
        if phrase.tag == "number":
            unreadable = "has no one reading: write it like 0.5"
            bare = "needs a unit: cm, mm, inches or percent"
            why = f"'{phrase.said[:40]}' {unreadable if phrase.value == '' else bare}"
            return NotUnderstood(why, tuple(f"move {way} by 2 cm" for way in ways) or near)
    alike = {"high": "dir", "lift": "dir", "fast": "pace", "speed": "pace", "times": "pace"}
    kinds = {alike.get(tag, tag) for tag in tags}
    if len(kinds & {"dir", "pace", "grip"}) > 1:
        return NotUnderstood("these are several corrections: say one at a time", near)
    if not ways and kinds & {"length", "amount", "go"}:
        every = tuple(f"move {way}" for way in DIRECTIONS)
        return NotUnderstood("in which direction?", every)
    return NotUnderstood("the words are known, but not put like this", near)
