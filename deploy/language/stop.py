"""Whether a sentence says stop: no network, no context, and in doubt yes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import ascii_lowercase

from bridle.deploy.language.words import CONTROL, fold

STOP_WORDS = """
    stop stops stopped stopping halt freeze wait whoa woah woa pause cease abort cancel quit
    emergency estop hault ouch danger
"""
"""Words that stop the robot wherever they stand in a sentence, unless negated ("don't stop")."""

STOP_PHRASES = """
    hold it | hold on | hold still | hold up | hold everything | hold your position | hold position
    hold , | hold now | hold please
    stay still | stay put | stay there | stay where you are | stand still | keep still | be still
    dont move | do not move | dont you move | do not you move | dont you dare move | never move
    don t move | no moving | e stop | cut it out | knock it off | kill it | shut down | power off
    shut it down | shut it off | turn off | turn it off | switch off | switch it off
    thats enough | that is enough | enough of | watch out | look out | back off | get off
    s t o p | s , t , o , p | st op | sto p | s top
"""
"""Word sequences that stop the robot; a comma stands for a break or an end of the sentence."""

NEGATIONS = frozenset({"dont", "not", "never", "without", "non"})
"""Words that, right before a stop word, say to go on. Two of them cancel out."""

COMPLAINTS = frozenset(
    ["why", "it", "you", "does", "did", "will", "would", "can", "could", "is", "has", "still"]
)
"""Words that, right before a negation, turn it into a wish to stop: "it does not stop"."""

_FRIENDLY = """
    please pls plz robot bridle hey hi hello ok okay k just now then um umm uh er ah oh yes yeah
    thanks thank you kindly already alright all right
"""
FRIENDLY = frozenset(_FRIENDLY.split())
"""Words that leave "enough" alone in its clause, where it means stop: "please, enough now"."""

REAL_WORDS = frozenset({"step", "shop", "top", "atop", "stomp", "slop", "stow"})
"""English words one typing mistake away from "stop" that do not stop."""

_TOKEN = re.compile(r"[^\W\d_]+(?:0[^\W\d_]+)*|[.,!?;:]")
_BREAK = re.compile(r"[.!?;:]")
_STRETCHED = re.compile(r"(.)\1{2,}")
_RUN_TOGETHER = re.compile(
    r"(?:stop|halt|freeze|wait|whoa|please|robot|moving|move|now|it|that|the|there|go)+"
)


def is_stop(text: str) -> bool:
    """Return whether `text` tells the robot to stop.

    A stop word stops whatever else the sentence says: "stop going left" and "don't stop, stop!"
    both stop. Spelling mistakes of "stop" stop too, and so does the word where it is no command
    ("the bus stop"). Only a negation in the same clause right before it voids it ("don't stop");
    "don't move" stops, also in "don't move left". Never raises; takes time linear in the length.
    """
    folded = fold(text)
    if CONTROL not in folded:
        return _says_stop(folded)
    # A control character may stand inside a word or between two: both readings count.
    return _says_stop(folded.replace(CONTROL, "")) or _says_stop(folded.replace(CONTROL, " "))


def _says_stop(folded: str) -> bool:
    spoken = _BREAK.sub(",", _STRETCHED.sub(r"\1", folded))
    tokens = [",", *_TOKEN.findall(spoken), ","]
    for at, token in enumerate(tokens):
        if token in _WORDS or ("stop" in token and _RUN_TOGETHER.fullmatch(token)):
            if not _negated(tokens, at):
                return True
        elif token == "enough" and _alone(tokens, at):
            return True
        elif token in _PHRASES:
            for phrase in _PHRASES[token]:
                if tuple(tokens[at : at + len(phrase)]) == phrase and (
                    NEGATIONS.intersection(phrase) or not _negated(tokens, at)
                ):
                    return True
    return False


def _alone(tokens: list[str], at: int) -> bool:
    """Whether nothing that matters stands beside a word in its clause."""
    for step in (-1, 1):
        beside = at + step
        while tokens[beside] in FRIENDLY:
            beside += step
        if tokens[beside] != ",":
            return False
    return True


def _negated(tokens: list[str], at: int) -> bool:
    negations = 0
    for token in reversed(tokens[max(0, at - 6) : at]):
        if token in NEGATIONS:
            negations += 1
        elif token in COMPLAINTS and negations:
            return False
        elif token not in ("ever", "to", "do"):
            break
    return negations % 2 == 1


def _misspellings(word: str) -> Iterator[str]:
    yield word
    for i in range(len(word)):
        yield word[:i] + word[i] + word[i:]
        if i + 1 < len(word):
            yield word[:i] + word[i + 1] + word[i] + word[i + 2 :]
            if word[i] == word[i + 1]:
                yield word[:i] + word[i + 1 :]


def _one_mistake(word: str) -> Iterator[str]:
    for i in range(len(word) + 1):
        yield word[:i] + word[i + 1 :]
        for letter in ascii_lowercase + "0":
            yield word[:i] + letter + word[i:]
            yield word[:i] + letter + word[i + 1 :]


def _by_first_word(phrases: str) -> dict[str, list[tuple[str, ...]]]:
    table: dict[str, list[tuple[str, ...]]] = {}
    for line in phrases.strip().splitlines():
        for phrase in line.split("|"):
            tokens = tuple(phrase.split())
            table.setdefault(tokens[0], []).append(tokens)
    return table


_WORDS = frozenset(
    {spelling for word in STOP_WORDS.split() for spelling in _misspellings(word)}
    | (set(_one_mistake("stop")) - REAL_WORDS)
)
_PHRASES = _by_first_word(STOP_PHRASES)
