"""`bridle data ...`: the commands as a person uses them."""

import json

import pytest

from bridle import cli
from bridle.commands.data import ACTIONS
from bridle.training.demonstrations import load
from bridle.training.demonstrations.validation import validate
from tests.training.demonstrations.sets import foreign, poke, record

SEEDS = {"episode_keys": {"seed": "int64"}, "source": {"command": "collect", "seed": 3}}


@pytest.fixture
def run(capsys):
    """Run `bridle data ...`: status, output and error output."""

    def runs(*arguments):
        status = cli.main(["data", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return runs


def test_every_action_is_listed_and_explains_itself(run, capsys):
    assert run("--help")[0] == 0
    names = ["info", "stats", "view", "validate", "repair", "merge", "split", "filter"]
    names += ["embed", "convert"]
    assert list(ACTIONS) == names
    for action in ("info", "stats", "validate", "repair", "merge", "split", "filter", "embed"):
        with pytest.raises(SystemExit) as end:
            run(action, "--help")
        assert end.value.code == 0
        said = capsys.readouterr().out
        assert f"usage: bridle data {action}" in said
        assert "--json" in said


def test_info_says_what_is_in_a_set(run, tmp_path):
    record(tmp_path / "set", **SEEDS)
    status, out, err = run("info", tmp_path / "set", "--json", tmp_path / "info.json")
    assert (status, err) == (0, "")
    for text in ("3 episodes of 1 to 30 steps", "instruction 1: grasp", "seed (int64)"):
        assert text in out
    assert '{"command": "collect", "seed": 3}' in out
    found = json.loads((tmp_path / "info.json").read_text())
    assert found["digest"] == load(tmp_path / "set").digest
    assert found["source"] == {"command": "collect", "seed": 3}


def test_stats_measures_a_set(run, recorded, tmp_path):
    status, out, err = run("stats", recorded, "--json", tmp_path / "stats.json")
    assert (status, err) == (0, "")
    assert "action[6]" in out
    assert "a person chose 100.0% of the actions" in out
    found = json.loads((tmp_path / "stats.json").read_text())
    assert len(found["keys"]["action"]["q99"]) == 7
    assert found["episode_lengths"] == [30, 1, 20]


def test_validate_says_yes_or_no(run, recorded, tmp_path):
    status, out, _ = run("validate", recorded)
    assert (status, out) == (0, f"{recorded}: valid\n")
    poke(recorded, "data/action", (31, 2), float("nan"))
    status, out, err = run("validate", recorded, "--json", tmp_path / "found.json")
    assert (status, err) == (1, "")
    assert out.startswith(f"{recorded}: error: data/action, row 31, episode 2: expected finite")
    assert out.endswith(f"{recorded}: 1 errors\n")
    (found,) = json.loads((tmp_path / "found.json").read_text())["problems"]
    assert (found["row"], found["episode"]) == (31, 2)
    assert run("validate", tmp_path / "nowhere")[0] == 1


def test_repair_says_what_it_does_and_what_is_lost(run, recorded, tmp_path):
    assert run("repair", recorded)[:2] == (
        0,
        f"{recorded}: nothing to repair\n{recorded}: 3 episodes\n",
    )
    (recorded / ".zgroup").unlink()
    status, out, _ = run("repair", recorded, "--dry-run")
    assert status == 0
    assert ".zgroup: written again\n" in out
    assert "nothing was written: this was a dry run" in out
    assert not (recorded / ".zgroup").exists()
    assert run("repair", recorded)[0] == 0
    poke(recorded, "data/action", (31, 2), float("nan"))
    status, out, err = run("repair", recorded)
    assert (status, err) == (1, "")
    assert "wrong: error: data/action, row 31, episode 2" in out
    assert "still damaged; --out makes a set of the episodes that are whole" in out
    status, out, _ = run(
        "repair", recorded, "--out", tmp_path / "out", "--json", tmp_path / "repair.json"
    )
    assert status == 0
    assert "lost: episode 2 (rows 31 to 50): data/action: row 31: expected finite" in out
    assert json.loads((tmp_path / "repair.json").read_text())["episodes"] == 2
    assert run("validate", tmp_path / "out")[0] == 0


def test_merge_split_and_filter_write_new_sets(run, recorded, tmp_path):
    record(tmp_path / "other", (5, 9), first_seed=3)
    status, out, err = run("merge", recorded, tmp_path / "other", "--out", tmp_path / "all.zip")
    assert (status, out, err) == (0, f"{tmp_path}/all.zip: 5 episodes, 65 steps\n", "")
    parts = ("--train", tmp_path / "train", "--val", tmp_path / "val")
    status, out, err = run("split", tmp_path / "all.zip", *parts, "--count", 2, "--seed", 1)
    assert (status, err) == (0, "")
    assert out.splitlines()[1].startswith(f"{tmp_path}/val: 2 episodes, ")
    status, out, err = run(
        *("filter", tmp_path / "all.zip", "--out", tmp_path / "some", "--episodes", "0,3-"),
        *("--drop", "camera_front", "reward", "--json", tmp_path / "some.json"),
    )
    assert (status, out, err) == (0, f"{tmp_path}/some: 3 episodes, 44 steps\n", "")
    assert json.loads((tmp_path / "some.json").read_text())["episodes"] == 3
    for name in ("all.zip", "train", "val", "some"):
        assert validate(tmp_path / name) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "{}/nowhere"], "{}/nowhere does not exist"),
        (["stats", "{}/foreign/data"], "{}/foreign/data: error: data/.zgroup: missing"),
        (["merge", "{}/set", "--out", "{}/x"], "merge needs at least 2 sets, got 1"),
        (["merge", "{}/set", "{}/foreign", "--out", "{}/x"], "bridle data convert"),
        (["merge", "{}/set", "{}/set", "--out", "{}/set"], "{}/set holds another set"),
        (["merge", "{}/set", "{}/set"], "--out"),
        (["split", "{}/set", "--train", "{}/t", "--val", "{}/v"], "either a ratio or a count"),
        (["filter", "{}/set", "--out", "{}/x", "--episodes", "9"], "expected 0 to 2, got '9'"),
        (["filter", "{}/set", "--out", "{}/x", "--min-length", "0"], "1 <= min <= max"),
        (["filter", "{}/set", "--out", "{}/x", "--safe"], "has no 'cost'"),
        (["repair", "{}/foreign"], "only its own sets are repaired"),
        (["info", "gopher://x/y"], "Protocol not known"),
        (["tidy"], "has no action 'tidy'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run, recorded, tmp_path, arguments, message):
    foreign(tmp_path / "foreign")
    status, out, err = run(*(text.format(tmp_path) for text in arguments))
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("bridle: ")
    assert message.format(tmp_path) in err
