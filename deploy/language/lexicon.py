"""The phrases the grammar knows, and what they mean. Adding a phrase is adding it to a line here.

Phrases are separated by `|`; `a/b` means either word. They are written in lower case without
apostrophes and without "the" and "your", which are dropped from what people say.
"""

from __future__ import annotations

from itertools import product
from typing import Literal, NamedTuple, TypeAlias

Tag: TypeAlias = Literal[
    "dir", "high", "lift", "go", "by", "amount", "length", "percent", "number",
    "subject", "too", "notenough", "notso", "enough", "not", "dont", "no",
    "pace", "fast", "times", "speed", "at", "ofspeed", "grip",
    "filler", "polite", "request", "unknown",
]  # fmt: skip


class Meaning(NamedTuple):
    """What kind of phrase it is (`tag`), and which of its kind."""

    tag: Tag
    value: str | float = ""


class Amount(NamedTuple):
    """What a vague amount means: `metres` of a nudge, and by how much `slower` makes the pace."""

    metres: float
    slower: float


AMOUNTS = {
    "tiny": Amount(0.005, 0.9),
    "bit": Amount(0.01, 0.8),
    "plain": Amount(0.01, 0.7),  # none was said
    "lot": Amount(0.05, 0.5),
}
"""Vague amounts. "Faster" divides the pace by what "slower" multiplies it with."""

LEXICON: tuple[tuple[Meaning, str], ...] = (
    # Directions, in the robot's base frame.
    (Meaning("dir", "left"), "left | to/on left | leftward/leftwards | to left side"),
    (Meaning("dir", "right"), "right | to/on right | rightward/rightwards | to right side"),
    (Meaning("dir", "up"), "up | upward/upwards | higher | higher up"),
    (Meaning("dir", "down"), "down | downward/downwards | lower | lower down"),
    (Meaning("dir", "forward"), "forward/forwards | ahead | to front"),
    (Meaning("dir", "forward"), "away from you/yourself/base | out from base"),
    (Meaning("dir", "back"), "back/backward/backwards"),
    (Meaning("dir", "back"), "closer to you/yourself/base | towards/toward you/yourself/base"),
    (Meaning("high", "up"), "high | high up"),
    (Meaning("high", "down"), "low | low down"),
    (Meaning("lift", "up"), "raise/lift | raise/lift it/arm/hand/gripper/tool/yourself"),
    (Meaning("lift", "up"), "raise/lift it up"),
    (Meaning("lift", "down"), "lower it/arm/hand/gripper/tool/yourself"),
    # How far.
    (Meaning("amount", "tiny"), "slightly | ever so slightly | a touch/tad/hair/smidge/smidgen"),
    (Meaning("amount", "tiny"), "a tiny/teeny/wee bit | a very little | very slightly"),
    (Meaning("amount", "bit"), "a bit | a little | a little bit | a small bit | some"),
    (Meaning("amount", "lot"), "a lot | lots | much | way | a whole lot | a good bit"),
    (Meaning("by"), "by"),
    # Verbs that take a direction or a pace.
    (Meaning("go"), "go/move/shift/slide/nudge"),
    (Meaning("go"), "move/shift/slide/nudge it/arm/hand/gripper/tool/yourself"),
    # Judgements: "you are too far left", "that is not high enough", "not so fast".
    (Meaning("subject"), "you are/were | youre | you/it went"),
    (Meaning("subject"), "you are going/moving | youre going/moving | you go/move | it goes/moves"),
    (Meaning("subject"), "it/that/this/arm/hand/gripper/tool is/was | its | thats"),
    (Meaning("subject"), "its/thats/youre still"),
    (Meaning("subject"), "you/it/that/this/arm/hand/gripper/tool | still | you are still"),
    (Meaning("subject"), "it/that/arm/hand/gripper/tool is going/moving | its going/moving"),
    (Meaning("too"), "too | too far | too much | far too | far too far | too far over"),
    (Meaning("notenough"), "not/isnt/arent far enough | not/isnt/arent enough"),
    (Meaning("notso"), "not so | not so far | not so much | not that | not that far | not as"),
    (Meaning("notso"), "not quite so | not quite so far | not as far"),
    (Meaning("enough"), "enough"),
    (Meaning("not"), "not/isnt/arent/aint"),
    (Meaning("dont"), "dont | do not | never | avoid | without | no more | cant/cannot | wont"),
    (Meaning("dont"), "shouldnt | should not | mustnt | must not | doesnt | didnt | nor | neither"),
    (Meaning("no"), "no/nope/nah"),
    # Pace.
    (Meaning("pace", "slower"), "slower | more slowly | slowly | slow down | slow it down"),
    (Meaning("pace", "slower"), "slow yourself down | decelerate | less fast/quick/quickly"),
    (Meaning("pace", "faster"), "faster | quicker | more quickly | quickly | speed up"),
    (Meaning("pace", "faster"), "speed it up | hurry up | accelerate | less slow/slowly"),
    (Meaning("fast", "slower"), "slow"),
    (Meaning("fast", "faster"), "fast | quick"),
    (Meaning("times", 2.0), "twice/double as fast | double speed | two times as fast"),
    (Meaning("times", 0.5), "half as fast | twice as slow"),
    (Meaning("speed", 0.5), "half speed/pace | half of normal/full speed"),
    (Meaning("speed", 1.0), "normal/full/regular/usual speed/pace | demonstrated speed/pace"),
    (Meaning("speed", 1.0), "back to normal | back to normal/full/regular speed/pace"),
    (Meaning("at"), "at | set speed/pace to | set it to"),
    (Meaning("ofspeed"), "speed/pace | of speed/pace | of normal/full speed/pace"),
    # Gripper.
    (Meaning("grip", "open"), "open gripper/hand/fingers/claw/jaws/grip | open up gripper/hand"),
    (Meaning("grip", "open"), "open gripper/hand up | gripper/hand open"),
    (Meaning("grip", "open"), "release | release it/gripper/grip | let go | let go of it"),
    (Meaning("grip", "open"), "let it go | drop it | unclench | ungrip | ungrasp | loosen grip"),
    (Meaning("grip", "close"), "close/shut gripper/hand/fingers/claw/jaws/grip"),
    (Meaning("grip", "close"), "grab/grasp/grip/pinch/clutch/squeeze | grab/grasp/grip/pinch it"),
    (Meaning("grip", "close"), "clutch/squeeze it | gripper/hand closed"),
    (Meaning("grip", "close"), "grip tighter/harder | tighten grip"),
    # Words that change nothing. `filler` words count inside known instructions, the others not.
    (Meaning("filler"), "more | some more | further/farther | again | once more | another | over"),
    (Meaning("filler"), "about/roughly/approximately"),
    (Meaning("polite"), "please/pls/plz | robot/bridle | hey/hi/hello | ok/okay/k | just/now/then"),
    (Meaning("polite"), "um/umm/uh/uhm/er/erm/hmm/ah/oh/well/so | good/great/nice/yes/yeah"),
    (Meaning("polite"), "thanks | thank you | kindly | right now/away | all right | alright"),
    (Meaning("polite"), "you should/must | you need/have to | try to | lets | let us | for me"),
    (Meaning("polite"), "i want/need you to | i would like you to | id like you to"),
    (Meaning("request"), "can/could/would/will you"),
)  # fmt: skip

ARTICLES = frozenset({"the", "your"})

QUESTIONS = frozenset(
    {"what", "whats", "where", "wheres", "why", "how", "who", "which", "when", "is", "are", "am"}
    | {"was", "were", "does", "did", "has", "have", "should", "shall", "may", "might"}
)
"""First words that make a sentence a question."""

AMBIGUOUS: dict[str, tuple[str, tuple[str, ...]]] = {
    "right": ("'right' alone could be agreement", ("move right",)),
    "to back": ("'to the back' could be a place", ("move back",)),
    "back up": ("'back up' could mean back or up", ("move back", "move up")),
    "go back": ("'go back' could mean return to an earlier place", ("move back",)),
    "go ahead": ("'go ahead' could be consent", ("move forward",)),
    "go on": ("'go on' could be consent", ("move forward",)),
    "no": ("'no' does not say what to do instead", ("stop",)),
    "thats right": ("'that is right' is agreement", ("move right",)),
    "that is right": ("'that is right' is agreement", ("move right",)),
    "you are right": ("'you are right' is agreement", ("move right",)),
    "youre right": ("'you are right' is agreement", ("move right",)),
    "too far": ("too far in which direction?", ("too far left", "too far right")),
}
"""Whole sentences that have two readings: why, and what to say instead."""

EXAMPLES = (
    "stop", "move left", "move right", "move up", "move down", "move forward", "move back",
    "a bit to the left", "a bit to the right", "2 cm to the left", "2 cm to the right", "higher",
    "lower", "too far left", "too far right", "too high", "too low", "open the gripper",
    "close the gripper", "let go", "grab it", "slower", "faster", "a bit slower", "a bit faster",
    "half speed", "normal speed", "too fast", "too slow", "at 50 %",
)  # fmt: skip
"""Sentences the grammar reads, to suggest to whoever says something near them."""


def _expand() -> dict[tuple[str, ...], Meaning]:
    table: dict[tuple[str, ...], Meaning] = {}
    for meaning, line in LEXICON:
        for phrase in line.split("|"):
            for words in product(*(slot.split("/") for slot in phrase.split())):
                if words in table:
                    raise ValueError(f"lexicon: {' '.join(words)!r} stands in it twice")
                table[words] = meaning
    return table


PHRASES = _expand()
"""Every phrase as a tuple of words, with its meaning."""

LONGEST_PHRASE = max(map(len, PHRASES))

VOCABULARY = frozenset(word for phrase in PHRASES for word in phrase)
