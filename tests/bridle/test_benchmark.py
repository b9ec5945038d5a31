import json
import math

import pytest

from bridle.commands.benchmark import ACTIONS, main

SIM = ["sim", "--envs", "2", "--steps", "6", "--rounds", "1", "--seconds", "0", "--pictures", "2"]
DATA = ["data", "--episodes", "10", "--steps", "20", "--batch", "8", "--batches", "20"]


def is_rate(value):
    return math.isfinite(value) and value > 0


def test_sim_gives_rates_and_fractions_of_the_same_physics_in_c(tmp_path, capsys):
    tasks = ("reach", "pick-place")
    chosen = [part for task in tasks for part in ("--task", task)]
    assert main([*SIM, *chosen, "--json", str(tmp_path / "sim.json")]) == 0
    result = json.loads((tmp_path / "sim.json").read_text())
    assert tuple(result["tasks"]) == tasks
    for measured in result["tasks"].values():
        assert measured["same_states"] is True
        ways = [measured[w] for w in ("single", "batched_1_thread", "batched_2_threads")]
        assert [way["threads"] for way in ways] == [1, 1, 2]
        for way in ways:
            assert all(is_rate(value) for value in way.values())
            ratio = way["steps_per_second"] / way["bound_steps_per_second"]
            assert way["step_fraction"] == pytest.approx(ratio)
        assert measured["step_fraction"] == min(way["step_fraction"] for way in ways)
        assert measured["steps_per_second"] == ways[0]["steps_per_second"]
    fractions = [measured["step_fraction"] for measured in result["tasks"].values()]
    assert result["step_fraction"] == min(fractions)
    drawn = result["render_fps_96_by_task"]
    assert result["render_fps_96"] == min(drawn.values(), default=None)
    assert all(map(is_rate, drawn.values()))
    assert result["machine"]["mujoco"]
    assert all(task in capsys.readouterr().out for task in ("reach",))


def test_sim_can_leave_pictures_out(tmp_path):
    quick = [*SIM[:-1], "0", "--task", "reach", "--json", str(tmp_path / "sim.json")]
    assert main(quick) == 0
    result = json.loads((tmp_path / "sim.json").read_text())
    assert result["render_fps_96"] is None
    assert result["render_fps_96_by_task"] == {}


def test_data_gives_rates_and_fractions_of_bare_indexing(tmp_path, capsys):
    assert main([*DATA, "--json", str(tmp_path / "data.json")]) == 0
    result = json.loads((tmp_path / "data.json").read_text())
    for name in ("state", "images", "memmap"):
        rate = result[name]
        assert all(is_rate(value) for value in rate.values())
        ratio = rate["windows_per_second"] / rate["bound_windows_per_second"]
        assert rate["fraction"] == pytest.approx(ratio)
    assert result["ram_fraction"] == result["state"]["fraction"]
    assert result["image_fraction"] == result["images"]["fraction"]
    assert result["config"]["batch"] == 8
    assert "windows/s" in capsys.readouterr().out


def test_train_gives_rates_and_fractions_of_a_bare_loop(tmp_path, capsys):
    quick = ["--sizes", "small", "--batches", "2", "4", "--seconds", "0", "--pairs", "1"]
    assert main(["train", *quick, "--json", str(tmp_path / "train.json")]) == 0
    result = json.loads((tmp_path / "train.json").read_text())
    assert [rate["batch"] for rate in result["rates"]] == [2, 4]
    for rate in result["rates"]:
        assert 4e6 < rate["parameters"] < 6e6
        assert is_rate(rate["steps_per_second"])
        assert is_rate(rate["bound_steps_per_second"])
        ratio = rate["steps_per_second"] / rate["bound_steps_per_second"]
        assert rate["fraction"] == pytest.approx(ratio)
    assert result["step_fraction"] == min(rate["fraction"] for rate in result["rates"])
    assert 0 <= result["data_wait_share"] < 1
    assert result["machine"]["torch"]
    assert "bound/s" in capsys.readouterr().out


def test_it_lists_its_actions(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {action} " in text for action in ACTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "did you mean train"),
        (["sim", "--task", "fly"], "'fly' is none of our own tasks"),
        (["sim", "--envs", "0"], "envs must be at least 1, got 0"),
        (["sim", "--pictures", "-1"], "pictures must not be negative"),
        (["sim", "--seconds", "nan"], "seconds must not be negative, got nan"),
        (["train", "--sizes", "huge"], "sizes must be of small, large"),
        (["train", "--batches", "0"], "batches must be at least 1"),
        (["train", "--pairs", "0"], "pairs must be at least 1, got 0"),
        (["train", "--threads", "0"], "threads must be at least 1, got 0"),
        (["train", "--seconds", "nan"], "seconds must not be negative, got nan"),
        (["data", "--batch", "0"], "batch must be at least 1, got 0"),
        (["data", "--steps", "3"], "at least the horizon 16, got 3"),
        (["data", "--json", "/tmp"], "--json /tmp is a folder"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        main(arguments)
    assert "\n" not in str(error.value)
