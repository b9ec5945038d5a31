import json
import math

import pytest

from bridle.commands.benchmark import ACTIONS, main

from .bundles import export_still

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


@pytest.fixture(scope="module")
def two_mode_bundle(tmp_path_factory):
    """Of an untrained policy that stays near where it is, on the arm of the simulator."""
    return export_still(tmp_path_factory.mktemp("bundles") / "still", "pick-place-post")


def test_chunks_drives_a_bundle_by_every_strategy_at_every_delay(two_mode_bundle, tmp_path, capsys):
    chosen = ["--delays", "0", "3", "--strategies", "replace", "rtc", "--episodes", "2"]
    file = tmp_path / "chunks.json"
    assert main(["chunks", "--bundle", str(two_mode_bundle), *chosen, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    keys = [(row["policy"], row["delay"], row["strategy"]) for row in result["rows"]]
    cells = [(delay, strategy) for delay in (0, 3) for strategy in ("replace", "rtc")]
    assert keys == [(policy, *cell) for policy in ("two lanes", "still") for cell in cells]
    lanes, driven = result["rows"][:4], result["rows"][4:]
    assert all(row["switches"] > 0.4 for row in lanes if row["strategy"] == "replace")
    assert all(row["switches"] == 0 for row in lanes if row["strategy"] == "rtc")
    assert all(row["success"] == 0 and row["mean_steps"] == 200 for row in driven)
    # A policy of noise is continued more closely than it would be by chance.
    seams = {(row["delay"], row["strategy"]): row["seam_mrad"] for row in driven}
    assert all(seams[delay, "rtc"] < 0.8 * seams[delay, "replace"] for delay in (0, 3))
    assert "still" in capsys.readouterr().out


def test_chunks_drives_a_task_without_sides_too(tmp_path, capsys):
    bundle = export_still(tmp_path / "still", "pick-place")
    chosen = ["--delays", "0", "--strategies", "rtc", "--mask", "hard", "--episodes", "1"]
    file = tmp_path / "chunks.json"
    assert main(["chunks", "--bundle", str(bundle), *chosen, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert result["mask"] == "hard"
    driven = result["rows"][-1]
    assert driven["switches"] is None
    assert driven["mean_steps"] > 1
    assert "switches -" in capsys.readouterr().out


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
        (["chunks", "--episodes", "0"], "episodes must be at least 1, got 0"),
        (["chunks", "--delays", "-1"], "delays must not be negative"),
        (["chunks", "--delays", "0", "--bundle", "/nowhere"], "/nowhere is not a folder"),
        (["data", "--batch", "0"], "batch must be at least 1, got 0"),
        (["data", "--steps", "3"], "at least the horizon 16, got 3"),
        (["data", "--json", "/tmp"], "--json /tmp is a folder"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        main(arguments)
    assert "\n" not in str(error.value)
