import json
import subprocess
import sys

import pytest

from bridle.cli import COMMANDS, main


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    try:
        code = main([command, "--help"])
    except SystemExit as end:
        code = end.code
    assert code == 0
    assert len(capsys.readouterr().out) > 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "did you mean train?"),
        (["verify", "/nowhere"], "/nowhere is not a folder"),
        (["data", "info", "/nowhere"], "/nowhere"),
        (["data", "peel", "x"], "it knows info, stats, view, validate"),
        (["evaluate"], "either --run or --bundle"),
        (["evaluate", "--run", "/nowhere"], "/nowhere is not a training run"),
        (["export", "--run", "/nowhere", "--out", "/tmp/x"], "/nowhere is not a training run"),
        (["train", "--data", "/nowhere", "--out", "/tmp/nowhere-run"], "/nowhere"),
        (["collect", "--out", "/tmp", "--episodes", "1"], "/tmp exists"),
        (["collect", "--out", "/tmp/nowhere-set", "--task", "fly"], "no task 'fly'"),
        (["up", "--bundle", "/nowhere"], "/nowhere is not a folder"),
        (["up", "--bundle", "/nowhere", "--seed", "-1"], "seed must lie in 0..2^31-1, got -1"),
        (["train", "--data", "x", "--out", "y", "--steps", "0"], "steps must be at least 1, got 0"),
        (["train", "--data", "x", "--out", "y", "--steps", "many"], "'many'"),
        (["train", "--out", "y"], "--data"),
        (["train", "--out", "y", "--data", "x", "--stepz", "1"], "--stepz"),
        (["collect", "--out", "/tmp/nowhere-set", "--noise", "nan"], "noise must lie in"),
        (["verify", "/nowhere", "--json", "/tmp"], "--json /tmp is a folder"),
    ],
)
def test_bad_input_ends_with_one_clear_line(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("bridle: ")
    assert error.count("\n") == 1
    assert message in error


def test_sentences_from_standard_input_become_one_json_line_each():
    sentences = "stop\n2 cm to the left\nopen the gripper\n\nmake tea\n\xff\n".encode("latin-1")
    result = subprocess.run(
        [sys.executable, "-m", "bridle", "say", "--dry-run", "-"],
        input=sentences,
        capture_output=True,
        check=True,
    )
    kinds = [json.loads(line)["kind"] for line in result.stdout.splitlines()]
    unclear = "not_understood"
    assert kinds == ["stop", "nudge", "grip", unclear, unclear, unclear]


def test_a_result_is_written_as_json(tmp_path, capsys):
    target = tmp_path / "deep" / "parse.json"
    assert main(["say", "half speed", "--dry-run", "--json", str(target)]) == 0
    assert json.loads(target.read_text())[0] == {"kind": "pace", "factor": 0.5}


def test_a_demo_leaves_a_folder_alone_that_is_not_its_own(tmp_path, capsys):
    (tmp_path / "precious").write_text("data")
    assert main(["demo", "--out", str(tmp_path), "--fresh"]) == 2
    assert "no demo" in capsys.readouterr().err
    assert (tmp_path / "precious").read_text() == "data"


def test_a_demo_with_other_settings_is_not_mixed_in(tmp_path, capsys):
    (tmp_path / "settings.json").write_text('{"demonstrations": 5, "seed": 0}')
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "add --fresh to start over" in capsys.readouterr().err
