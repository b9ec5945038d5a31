"""Properties of the correction grammar over generated sentences."""

import json
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridle.deploy.language import (
    DIRECTIONS,
    Correction,
    Grip,
    Instruct,
    NotUnderstood,
    Nudge,
    Pace,
    Stop,
    is_stop,
    opposite,
    parse,
    to_json,
)
from bridle.deploy.language.lexicon import PHRASES
from bridle.deploy.language.stop import COMPLAINTS, NEGATIONS, STOP_WORDS
from tests.deploy.test_language import INSTRUCTIONS, TABLE

KINDS = {
    Stop: "stop",
    Nudge: "nudge",
    Grip: "grip",
    Pace: "pace",
    Instruct: "instruct",
    NotUnderstood: "not_understood",
}
SPOKEN = {
    "left": ("left", "to the left", "leftwards"),
    "right": ("to the right", "rightwards", "right"),
    "up": ("up", "higher", "upwards"),
    "down": ("down", "lower", "downward"),
    "forward": ("forward", "forwards", "ahead", "away from you"),
    "back": ("back", "backwards", "closer to you"),
}
LENGTHS = {"2 cm": 0.02, "a centimetre": 0.01, "7,5 mm": 0.0075, "two inches": 0.0508}
VAGUE = {"slightly": 0.005, "a little": 0.01, "a lot": 0.05}
ALONG = ("move {a} {d}", "go {d} {a}", "{a} {d} please", "could you move {a} {d}?")
AGAINST = ("{a} too far {d}", "you are {a} too far {d}")
JUDGEMENTS = ("too far {d}", "not so far {d}", "not far enough {d}", "move {d}")
UNDERSTOOD = [sentence for expected, sentence in TABLE if expected[0] not in "?s"]
VOCABULARY = sorted({word for phrase in PHRASES for word in phrase} | {"2 cm", "50 %", "?", "3"})
mixtures = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=9)


def swapped(sentence: str) -> str:
    other = {"left": "right", "right": "left"}
    return re.sub("left|right", lambda found: other[found[0]], sentence)


@given(st.one_of(st.text(), st.text(st.characters()), mixtures.map(" ".join)))
def test_any_text_gives_exactly_one_kind_and_never_raises(text):
    correction = parse(text, INSTRUCTIONS)
    assert isinstance(correction, get_args(Correction))
    record = to_json(correction)
    assert record["kind"] == KINDS[type(correction)]
    json.dumps(record).encode("utf-8")
    assert isinstance(correction, Stop) == is_stop(text)


@given(mixtures, st.floats(0.1, 2.0))
def test_any_sequence_of_known_words_stays_within_the_bounds(spoken, pace):
    correction = parse(" ".join(spoken), INSTRUCTIONS, pace=pace)
    if isinstance(correction, Nudge):
        assert 0 < correction.metres <= 0.10
    if isinstance(correction, Pace):
        assert 0.1 <= correction.factor <= 2.0


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("template", [*ALONG, *AGAINST])
@pytest.mark.parametrize(("amount", "metres"), [*LENGTHS.items(), *VAGUE.items()])
def test_every_direction_amount_and_template_round_trips(direction, template, amount, metres):
    wanted = opposite(direction) if template in AGAINST else direction
    for spoken in SPOKEN[direction]:
        if template in AGAINST and spoken in ("higher", "lower", "closer to you"):
            continue  # nobody says "too far higher"
        assert parse(template.format(a=amount, d=spoken)) == Nudge(wanted, metres)


@given(st.integers(1, 1000), st.sampled_from(sorted(DIRECTIONS)), st.sampled_from(".,"))
def test_decimals_are_read_to_the_tenth_of_a_millimetre(tenths, direction, separator):
    text = f"move {direction} by {tenths // 10}{separator}{tenths % 10} mm"
    assert parse(text) == Nudge(direction, round(tenths / 10_000, 9))


@pytest.mark.parametrize("negation", ["don't", "not", "do not", "never", "no", "isn't"])
def test_an_inserted_negation_never_leaves_the_action(negation):
    for sentence in UNDERSTOOD:
        spoken = sentence.split()
        for at in range(len(spoken) + 1):
            negated = " ".join([*spoken[:at], negation, *spoken[at:]])
            assert parse(negated, INSTRUCTIONS) != parse(sentence, INSTRUCTIONS), negated


@given(mixtures)
def test_swapping_left_and_right_swaps_the_direction(spoken):
    sentence = " ".join(spoken)
    here, there = parse(sentence), parse(swapped(sentence))
    if isinstance(here, Nudge) and isinstance(there, Nudge):
        sideways = here.direction in ("left", "right")
        assert there.metres == here.metres
        assert there.direction == (opposite(here.direction) if sideways else here.direction)


@pytest.mark.parametrize("template", JUDGEMENTS)
@pytest.mark.parametrize("spoken", ["left", "to the left"])
def test_swapping_left_and_right_swaps_every_template(template, spoken):
    sentence = template.format(d=spoken)
    here, there = parse(sentence), parse(swapped(sentence))
    assert isinstance(here, Nudge)
    assert there == Nudge(opposite(here.direction), here.metres)


@given(mixtures, mixtures, st.sampled_from(STOP_WORDS.split()))
def test_a_stop_word_without_a_negation_before_it_stops(before, after, stop):
    if set(" ".join(before).split()) & (NEGATIONS | COMPLAINTS):
        before = ["please"]
    assert is_stop(" ".join([*before, stop, *after]))


@given(st.text(max_size=40), st.sampled_from(STOP_WORDS.split()))
def test_a_stop_sentence_beside_any_text_stops(text, stop):
    assert is_stop(f"{text}. {stop}")
    assert is_stop(f"{stop}! {text}")


@given(st.sampled_from(STOP_WORDS.split()), st.integers(0, 20), st.data())
def test_a_stretched_stop_word_stops(stop, times, data):
    at = data.draw(st.integers(0, len(stop) - 1))
    assert is_stop(stop[:at] + stop[at] * times + stop[at:])


@pytest.mark.parametrize("wrapper", ["{}", "please {}", "um, {}", "hey robot, {}"])
def test_case_spacing_and_politeness_change_nothing(wrapper):
    for _, sentence, *_ in TABLE:
        plain = parse(sentence, INSTRUCTIONS)
        for variant in (sentence.upper(), sentence.lower(), f"  {sentence}\n", f"({sentence})"):
            said = parse(wrapper.format(variant), INSTRUCTIONS)
            assert type(said) is type(plain), variant
            if not isinstance(plain, Stop | NotUnderstood):
                assert said == plain
