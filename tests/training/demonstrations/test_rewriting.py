"""Merging, splitting and filtering."""

import json
from itertools import pairwise

import numpy as np
import pytest

from bridle.training.demonstrations import (
    DemonstrationError,
    DemonstrationWriter,
    known_key,
    load,
    split_by_episode,
)
from bridle.training.demonstrations.filtering import Wanted, filter_set
from bridle.training.demonstrations.merging import merge
from bridle.training.demonstrations.rewriting import Rewritten
from bridle.training.demonstrations.splitting import split
from bridle.training.demonstrations.validation import validate
from tests.training.demonstrations.sets import (
    KEYS,
    SETTINGS,
    assert_holds,
    episode,
    errors,
    files_of,
    foreign,
    poke,
    record,
)

SEEDS = {"episode_keys": {"seed": "int64"}}


@pytest.fixture
def pair(tmp_path):
    """Two sets that fit; the second one has another task and an instruction of its own."""
    paths = [tmp_path / "a", tmp_path / "b"]
    first = record(paths[0], (30, 1, 20), **SEEDS)
    second = record(paths[1], (5, 1100), 7, task="stack", instructions=["grasp", "lift"], **SEEDS)
    return paths, first, second


# Merging


def test_a_merge_holds_all_episodes_with_their_sentences(pair, tmp_path):
    paths, first, second = pair
    result = merge(paths, tmp_path / "out")
    assert result == Rewritten(str(tmp_path / "out"), 5, 1156, 0)
    assert validate(tmp_path / "out") == []
    merged = load(tmp_path / "out")
    assert merged.instructions == ("reach", "grasp", "lift")
    assert merged.task == "mixed"
    for rows in second:
        rows["instruction_id"] += 1
    assert_holds(merged, first + second)
    assert merged.episode_values["seed"].tolist() == [0, 1, 2, 7, 8]
    source = merged.attributes.source
    assert source["command"] == "merge"
    assert [its["digest"] for its in source["inputs"]] == [load(path).digest for path in paths]
    assert [its["task"] for its in source["inputs"]] == ["pick-place", "stack"]


def test_a_merge_may_be_named(pair, tmp_path):
    merge(pair[0], tmp_path / "out", task="tidy-up")
    assert load(tmp_path / "out").task == "tidy-up"


def test_running_a_merge_again_changes_nothing(pair, tmp_path):
    merge(pair[0], tmp_path / "out")
    before = files_of(tmp_path / "out")
    assert merge(pair[0], tmp_path / "out").resumed == 5
    assert files_of(tmp_path / "out") == before


GOALS = {**KEYS, "goal_id": known_key("goal_id")}


def test_goals_are_renumbered_too(tmp_path):
    for name, sentences in (("a", ["reach"]), ("b", ["lift", "reach"])):
        rows = episode(5)
        rows["instruction_id"] = np.zeros(5, np.int32)
        rows["goal_id"] = np.full(5, len(sentences) - 1, np.int32)
        settings = SETTINGS | {"keys": GOALS, "instructions": sentences}
        with DemonstrationWriter.create(tmp_path / name, **settings) as writer:
            writer.append(rows)
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    merged = load(tmp_path / "out")
    assert merged.instructions == ("reach", "lift")
    assert merged.arrays["instruction_id"].tolist() == [0] * 5 + [1] * 5
    assert merged.arrays["goal_id"].tolist() == [0] * 10


WITHOUT_REWARD = {key: spec for key, spec in KEYS.items() if key != "reward"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"robot": "panda"}, "a and .*b do not fit: robot is 'ur5e' and 'panda'"),
        ({"control_rate": 10.0}, "do not fit: control_rate is 20.0 and 10.0"),
        (
            {"keys": WITHOUT_REWARD},
            "b has no 'reward', .*a has it; bridle data filter --drop reward removes it",
        ),
        (
            {"keys": KEYS | {"camera_front": known_key("camera_front", (4, 6, 3))}},
            r"shape of 'camera_front' is \(4, 5, 3\) and \(4, 6, 3\)",
        ),
    ],
)
def test_sets_that_do_not_fit_are_named(tmp_path, change, message):
    record(tmp_path / "a", (3,))
    record(tmp_path / "b", (), **change)
    with pytest.raises(DemonstrationError, match=message):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_set_is_no_merge(recorded, tmp_path):
    with pytest.raises(DemonstrationError, match="at least 2 sets, got 1"):
        merge([recorded], tmp_path / "out")


def test_columns_that_not_all_have_are_left_out_and_noted(tmp_path):
    record(tmp_path / "a", (3,), **SEEDS)
    record(tmp_path / "b", (4,))
    result = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert result.notes == (
        f"{tmp_path / 'a'}: the episodes' seed is left out: not all sets have it",
    )
    assert load(tmp_path / "out").episode_values == {}


def test_the_same_set_twice_is_noted(recorded, tmp_path):
    result = merge([recorded, recorded], tmp_path / "out")
    assert result.episodes == 6
    assert "same content" in result.notes[0]


def test_a_set_of_others_is_to_be_converted_first(recorded, tmp_path):
    foreign(tmp_path / "foreign")
    for work in (
        lambda out: merge([recorded, tmp_path / "foreign"], out),
        lambda out: split(tmp_path / "foreign", out, tmp_path / "other", count=1),
        lambda out: filter_set(tmp_path / "foreign", out, Wanted()),
    ):
        with pytest.raises(DemonstrationError, match="bridle data convert"):
            work(tmp_path / "out")


def test_damage_is_not_copied(recorded, tmp_path):
    record(tmp_path / "other")
    poke(recorded, "data/action", (40, 1), 3.5)
    with pytest.raises(DemonstrationError, match="data/action, episode 2: the rows are not those"):
        merge([tmp_path / "other", recorded], tmp_path / "out")
    poke(recorded, "data/action", (40, 1), np.nan)
    with pytest.raises(DemonstrationError, match="episode 2"):
        filter_set(recorded, tmp_path / "out", Wanted())
    assert not (tmp_path / "out").exists()


def test_another_set_at_the_place_is_left_alone(pair, tmp_path):
    paths, *_ = pair
    before = files_of(paths[0])
    with pytest.raises(DemonstrationError, match=f"{paths[0]} holds another set: task is"):
        merge(paths, paths[0])
    assert files_of(paths[0]) == before


def test_other_inputs_do_not_continue_a_merge(pair, tmp_path):
    paths, *_ = pair
    merge(paths, tmp_path / "out")
    with pytest.raises(DemonstrationError, match="holds another set: task is 'mixed', asked for"):
        merge([paths[0], paths[0]], tmp_path / "out")
    with pytest.raises(DemonstrationError, match="holds another set: instructions is"):
        merge(paths[::-1], tmp_path / "out")


# Splitting


def test_a_split_is_that_of_training(tmp_path):
    episodes = record(tmp_path / "set", range(1, 21), **SEEDS)
    result = split(tmp_path / "set", tmp_path / "train", tmp_path / "val", ratio=0.2, seed=3)
    for part, chosen in zip(("train", "val"), split_by_episode(20, 0.2, 3), strict=True):
        found = load(tmp_path / part)
        assert_holds(found, [episodes[i] for i in chosen])
        assert found.episode_values["seed"].tolist() == chosen.tolist()
        assert found.attributes.source["part"] == part
        assert validate(tmp_path / part) == []
    assert (result.train.episodes, result.val.episodes) == (16, 4)


def test_a_split_by_count(tmp_path):
    record(tmp_path / "set", range(1, 8))
    split(tmp_path / "set", tmp_path / "t", tmp_path / "v", count=6, seed=1)
    lengths = [np.diff(load(tmp_path / p).episode_ends, prepend=0).tolist() for p in ("t", "v")]
    assert [len(part) for part in lengths] == [1, 6]
    assert sorted(lengths[0] + lengths[1]) == list(range(1, 8))
    assert all(a < b for a, b in pairwise(lengths[1]))
    again = split(tmp_path / "set", tmp_path / "t", tmp_path / "v", count=6, seed=1)
    assert (again.train.resumed, again.val.resumed) == (1, 6)
    with pytest.raises(DemonstrationError, match=r"source.seed is 1, asked for 2"):
        split(tmp_path / "set", tmp_path / "t", tmp_path / "v", count=6, seed=2)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "either a ratio or a count"),
        ({"ratio": 0.5, "count": 1}, "either a ratio or a count"),
        ({"ratio": 1.0}, "between 0 and 1, got 1.0"),
        ({"ratio": 0.0}, "between 0 and 1, got 0.0"),
        ({"count": 3}, "1 to 2, got 3"),
        ({"count": 0}, "1 to 2, got 0"),
    ],
)
def test_a_split_that_leaves_a_part_empty_is_refused(recorded, tmp_path, how, message):
    with pytest.raises(DemonstrationError, match=message):
        split(recorded, tmp_path / "train", tmp_path / "val", **how)
    with pytest.raises(DemonstrationError, match="cannot both be"):
        split(recorded, tmp_path / "train", tmp_path / "train", count=1)


# Filtering


def filtered(path, out, **wanted):
    filter_set(path, out, Wanted(**wanted))
    assert errors(out) == []
    return load(out)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("0", [0]), ("1-2", [1, 2]), ("3-", [3, 4]), ("0, 2 ,4", [0, 2, 4]), ("0-4,1", range(5))],
)
def test_episodes_by_number(tmp_path, text, chosen):
    episodes = record(tmp_path / "set", (4, 3, 2, 5, 1), **SEEDS)
    found = filtered(tmp_path / "set", tmp_path / "out", episodes=text)
    assert_holds(found, [episodes[i] for i in chosen])
    assert found.episode_values["seed"].tolist() == list(chosen)
    assert found.attributes.source["wanted"] == {"episodes": text}


def test_episodes_by_length(tmp_path):
    record(tmp_path / "set", (4, 3, 2, 5, 1))
    found = filtered(tmp_path / "set", tmp_path / "out", min_length=2, max_length=4)
    assert np.diff(found.episode_ends, prepend=0).tolist() == [4, 3, 2]


def written(path, key, columns, keys=("action", "reward", "cost", "instruction_id")):
    """A set of one episode for each column of values of a key."""
    specs = {"action": known_key("action", (1,))} | {k: known_key(k) for k in keys if k != "action"}
    with DemonstrationWriter.create(path, **SETTINGS | {"keys": specs}) as writer:
        for values in columns:
            rows = {k: np.zeros((len(values), *s.shape), s.dtype) for k, s in specs.items()}
            rows[key] = np.array(values, specs[key].dtype)
            writer.append(rows)


def lengths_of(demonstrations):
    return np.diff(demonstrations.episode_ends, prepend=0).tolist()


def test_successes_end_with_a_reward(tmp_path):
    written(tmp_path / "set", "reward", [[0, 1], [1, 0, 0], [0, 0, 0, 0.5], [1, 1, 1, 1, -1]])
    assert lengths_of(filtered(tmp_path / "set", tmp_path / "out", success=True)) == [2, 4]


def test_safe_episodes_cost_nothing(tmp_path):
    written(tmp_path / "set", "cost", [[0, 0], [0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0, 2]])
    assert lengths_of(filtered(tmp_path / "set", tmp_path / "out", safe=True)) == [2, 4]


def test_episodes_by_their_sentences(tmp_path):
    written(tmp_path / "set", "instruction_id", [[0, 0], [1, 0, 0], [0] * 4, [1] * 5])
    found = filtered(tmp_path / "set", tmp_path / "out", instruction="GRAS")
    assert lengths_of(found) == [3, 5]
    assert found.instructions == ("reach", "grasp")
    with pytest.raises(DemonstrationError, match="no instruction holds 'fly'"):
        filter_set(tmp_path / "set", tmp_path / "none", Wanted(instruction="fly"))


def test_all_that_is_asked_for_must_hold(tmp_path):
    written(tmp_path / "set", "reward", [[0, 1], [1, 0, 0], [0, 0, 1], [1, 1, 1, 1]])
    found = filtered(tmp_path / "set", tmp_path / "out", success=True, max_length=3, episodes="1-")
    assert lengths_of(found) == [3]


def test_keys_are_kept_or_dropped(recorded, tmp_path):
    kept = filtered(recorded, tmp_path / "kept", keys=("reward", "timestamp"))
    assert set(kept.arrays) == {"action", "reward", "timestamp"} == set(kept.attributes.keys)
    dropped = filtered(recorded, tmp_path / "dropped", drop=("reward", "camera_front"))
    assert set(dropped.arrays) == KEYS.keys() - {"reward", "camera_front"}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"episodes": "0-3"}, "expected 0 to 2, got '0-3'"),
        ({"episodes": "2-1"}, "expected 0 to 2, got '2-1'"),
        ({"episodes": "x"}, "expected such as 0-9,15,20-, got 'x'"),
        ({"episodes": "-1"}, "expected such as"),
        ({"min_length": 0}, "1 <= min <= max"),
        ({"min_length": 5, "max_length": 4}, "1 <= min <= max"),
        ({"min_length": 99}, "none of its 3 episodes is wanted"),
        ({"keys": ("torque",)}, "has no torque; it has action"),
        ({"drop": ("torque",)}, "has no torque; it has action"),
        ({"drop": ("action",)}, "action cannot be dropped"),
        ({"safe": True}, "has no 'cost' with one number per step"),
    ],
)
def test_what_cannot_be_wanted_is_refused(recorded, tmp_path, wanted, message):
    with pytest.raises(DemonstrationError, match=message):
        filter_set(recorded, tmp_path / "out", Wanted(**wanted))
    assert not (tmp_path / "out").exists()


def test_what_was_asked_for_is_json(recorded, tmp_path):
    found = filtered(recorded, tmp_path / "out", keys=("reward",), max_length=25)
    assert json.loads(json.dumps(found.attributes.source))["wanted"] == {
        "keys": ["reward"],
        "max_length": 25,
    }
