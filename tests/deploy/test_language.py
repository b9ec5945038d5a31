"""What a sentence is read as: a table of hard sentences, bounds, errors and hostile input."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from bridle.deploy.language import (
    DIRECTIONS,
    Correction,
    Grip,
    Instruct,
    NotUnderstood,
    Nudge,
    Pace,
    Stop,
    interpret,
    is_stop,
    opposite,
    parse,
    to_json,
)
from bridle.deploy.language.lexicon import EXAMPLES, PHRASES
from bridle.deploy.language.quantities import read_number
from bridle.deploy.language.words import words

INSTRUCTIONS = ("Pick up the cube.", "place the cube left of the cup", "Lift")

TABLE = [
    tuple(part.strip() for part in line.split(":", 1))
    for line in Path(__file__).with_name("hard_sentences.txt").read_text("utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


def in_words(correction: Correction) -> str:
    match correction:
        case Stop():
            return "stop"
        case Nudge(direction, metres):
            return f"{direction} {1000 * metres:.6g}"
        case Grip(grip):
            return grip
        case Pace(factor):
            return f"pace {factor:.17g}"
        case Instruct(instruction):
            return f"do {instruction}"
        case NotUnderstood(why):
            return f"? {why}"


def test_the_table_is_large_and_says_nothing_twice():
    sentences = [sentence for _, sentence in TABLE]
    assert len(sentences) >= 300
    assert len(set(sentences)) == len(sentences)


@pytest.mark.parametrize(("expected", "sentence"), TABLE, ids=lambda value: ascii(value))
def test_sentence(expected, sentence):
    said = in_words(parse(sentence, INSTRUCTIONS))
    if expected.startswith("?"):
        assert said.startswith("?")
        assert expected[1:].strip() in said
    elif expected.startswith("pace"):
        assert said.startswith("pace")
        assert float(said[5:]) == pytest.approx(float(expected[5:]), abs=1e-12)
    else:
        assert said == expected


@pytest.mark.parametrize(("expected", "sentence"), TABLE, ids=lambda value: ascii(value))
def test_is_stop_agrees_with_parse(expected, sentence):
    assert is_stop(sentence) == (expected == "stop")


def test_only_known_instructions_are_followed():
    assert isinstance(parse("pick up the cube"), NotUnderstood)
    assert parse("pick up the cube", ["Pick up the cube"]) == Instruct("Pick up the cube")


def test_an_unknown_instruction_names_its_nearest():
    answer = parse("pick up the cup", ["Pick up the cube", "open the drawer"])
    assert isinstance(answer, NotUnderstood)
    assert answer.nearest[0] == "Pick up the cube"


def test_two_instructions_that_read_alike_are_not_chosen_between():
    answer = parse("pick up the cube", ["pick up the cube", "Pick up a cube!"])
    assert answer == NotUnderstood(
        "several known instructions read like this", ("pick up the cube", "Pick up a cube!")
    )


def test_a_known_instruction_wins_over_the_grammar_but_not_over_stop():
    assert parse("raise the arm", ["Raise the arm"]) == Instruct("Raise the arm")
    assert isinstance(parse("stop", ["stop"]), Stop)
    assert isinstance(parse("stop the drill", ["stop the drill"]), Stop)


def test_relative_pace_multiplies_the_one_in_force_and_saturates():
    assert parse("slower", pace=0.5) == Pace(0.5 * 0.7)
    assert parse("slower", pace=0.1) == Pace(0.1)
    assert parse("faster", pace=2.0) == Pace(2.0)
    assert parse("twice as fast", pace=1.5) == Pace(2.0)
    assert parse("half speed", pace=0.2) == Pace(0.5)
    assert parse("normal speed", pace=0.2) == Pace(1.0)


@pytest.mark.parametrize("amount", ["", "a bit ", "slightly ", "much "])
def test_faster_undoes_slower(amount):
    slower = parse(f"{amount}slower")
    assert isinstance(slower, Pace)
    faster = parse(f"{amount}faster", pace=slower.factor)
    assert isinstance(faster, Pace)
    assert faster.factor == pytest.approx(1.0)


@pytest.mark.parametrize("sentence", EXAMPLES)
def test_every_suggested_sentence_is_read(sentence):
    assert not isinstance(parse(sentence), NotUnderstood)


def test_no_phrase_of_the_grammar_stops_inside_a_sentence():
    assert [phrase for phrase in PHRASES if is_stop(f"go {' '.join(phrase)} left")] == []


@pytest.mark.parametrize(
    ("spoken", "value"),
    [
        ("zero", 0),
        ("nine", 9),
        ("thirteen", 13),
        ("twenty", 20),
        ("forty-two", 42),
        ("ninety nine", 99),
        ("a hundred", 100),
        ("one hundred and five", 105),
        ("one hundred seventeen", 117),
        ("zero point two five", 0.25),
        ("two and a half", 2.5),
        ("two and three quarters", 2.75),
        ("half", 0.5),
        ("three quarters", 0.75),
        ("1 1/2", 1.5),
        ("0,25", 0.25),
    ],
)
def test_numbers(spoken, value):
    tokens = words(f"{spoken} mm")
    assert read_number(tokens, 0) == (value, len(tokens) - 1)


@pytest.mark.parametrize("text", ["", " ", "\n\t", "...", "!?", "\0", "\u200b", "please", "the"])
def test_nothing_said_is_not_understood(text):
    assert isinstance(parse(text), NotUnderstood)


@pytest.mark.parametrize(
    "text",
    ["st\u200bop", "s\u0301t\u0336op", "st\0op", "stop\0now", "\ud800stop\ud800", "\x1bstop"],
)
def test_stop_is_found_among_invisible_and_broken_characters(text):
    assert is_stop(text)
    assert isinstance(parse(text), Stop)


def test_a_stop_that_holds_broken_characters_can_be_sent():
    stop = parse("stop \ud800")
    assert isinstance(stop, Stop)
    assert stop.text.encode("utf-8") == b"stop ?"


def test_a_long_text_is_read_for_stop_words_only():
    assert parse("left" + " " * 497) == NotUnderstood("the text has 501 characters, at most 500")
    assert isinstance(parse("left" + " " * 496), Nudge)
    stop = parse("blah " * 200_000 + "stop")
    assert isinstance(stop, Stop)
    assert len(stop.text) == 500


@pytest.mark.parametrize(
    "piece",
    ["a", "don't ", "stop", "not ", "hold ", "\u0315\u0300", "\ufdfa", "9", "9.", "a/", "-", "😀"],
)
def test_a_megabyte_of_anything_is_read_at_once(piece):
    text = piece * (1_000_000 // len(piece)) + "x"
    assert isinstance(parse(text), Stop | NotUnderstood)
    assert isinstance(parse(text[:500]), Stop | NotUnderstood)


def test_json_has_one_kind_and_the_keys_of_that_kind():
    assert [to_json(parse(text, INSTRUCTIONS)) for text in ("stop", "left 2 cm", "let go")] == [
        {"kind": "stop"},
        {"kind": "nudge", "direction": "left", "metres": 0.02, "frame": "base"},
        {"kind": "grip", "grip": "open"},
    ]
    assert to_json(Pace(0.5)) == {"kind": "pace", "factor": 0.5}
    assert to_json(Instruct("Lift")) == {"kind": "instruct", "instruction": "Lift"}
    refusal = to_json(NotUnderstood("why", ("move left",)))
    assert refusal == {"kind": "not_understood", "why": "why", "nearest": ["move left"]}
    assert json.loads(json.dumps(refusal)) == refusal


def test_directions_are_six_unit_vectors_and_opposites_cancel():
    assert DIRECTIONS["left"] == (0, 1, 0)
    for direction, vector in DIRECTIONS.items():
        assert sum(abs(component) for component in vector) == 1
        assert opposite(opposite(direction)) == direction
        assert all(a == -b for a, b in zip(vector, DIRECTIONS[opposite(direction)], strict=True))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Nudge("sideways", 0.01), "Nudge.direction: expected one of forward"),
        (lambda: Nudge("left", 0.0), "Nudge.metres: expected more than 0"),
        (lambda: Nudge("left", 0.11), "at most 0.1, got 0.11"),
        (lambda: Nudge("left", float("nan")), "Nudge.metres"),
        (lambda: Nudge("left", 0.01, "tool"), "Nudge.frame: expected 'base'"),
        (lambda: Grip("ajar"), "Grip.grip: expected 'open' or 'close', got 'ajar'"),
        (lambda: Pace(0.0), "Pace.factor: expected between 0.1 and 2.0, got 0.0"),
        (lambda: Pace(float("inf")), "Pace.factor"),
        (lambda: Instruct(" "), "Instruct.instruction: expected a sentence"),
        (lambda: parse("slower", pace=0.0), "parse: pace: expected between"),
    ],
)
def test_impossible_values_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_one_string_is_no_list_of_instructions():
    with pytest.raises(TypeError, match="expected several sentences, got 'lift'"):
        parse("lift", "lift")


def test_corrections_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        parse("left").metres = 1.0


def test_a_policy_that_takes_no_instructions_is_corrected_in_the_words_of_its_demonstrations():
    known = ["open the gripper", "lift the cube"]
    assert interpret("open the gripper", known, follows_instructions=False) == Grip("open")
    assert interpret("open the gripper", known, follows_instructions=True) == Instruct(
        "open the gripper"
    )
    assert interpret("lift the cube", known, follows_instructions=False) == Instruct(
        "lift the cube"
    )
    assert isinstance(interpret("stop", known, follows_instructions=True), Stop)
