import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bridle.cli import main
from bridle.training import runs, sweep
from bridle.training.exceptions import TrainingError
from bridle.training.outcomes import EVALUATION, wilson_interval
from bridle.training.sweep import SweepConfig, plan
from bridle.training.trainer import run_settings
from tests.training.imitation import state, write_set

TINY = ("steps=6", "batch_size=16", "network.width=16", "network.blocks=1")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture
def here(monkeypatch):
    """Runs the commands of cells in this process; `evaluate` says what a test tells it."""
    ran = []

    def execute(commands, log, folder):
        for command in commands:
            ran.append(command)
            if command[0] == "evaluate":
                successes = 3 if "seed-0" in command[2] else 1
                result = {"episodes": int(command[4]), "successes": successes}
                (Path(command[2]) / EVALUATION).write_text(json.dumps(result))
            elif main(list(command)) != 0:
                return "it failed"
        return None

    monkeypatch.setattr(sweep, "execute_commands", execute)
    return ran


def config(data, out, **settings) -> SweepConfig:
    return SweepConfig(
        data=data, out=out, **({"seeds": (0, 1), "over": TINY, "episodes": 4} | settings)
    )


def test_every_seed_meets_every_combination(tmp_path):
    over = ("generator.n_steps=1,4", "learning_rate=1e-3,3e-4", "steps=50", "horizon=8")
    cells = plan(SweepConfig(data=Path("d"), out=tmp_path, seeds=(0, 7), over=over))
    assert len(cells) == 2 * 2 * 2
    assert len({cell.name for cell in cells}) == 8
    assert cells[1].name == "generator.n_steps-1_learning_rate-0.001_seed-7"
    assert cells[1].varied == {"generator.n_steps": 1, "learning_rate": 0.001}
    trained = cells[-1].config
    assert (trained.seed, trained.learning_rate, trained.steps) == (7, 3e-4, 50)
    assert trained.set == ("generator.n_steps=4",)
    assert trained.out == tmp_path / cells[-1].name


def test_values_may_be_lists_and_start_from_a_preset(tmp_path):
    over = ("network.channels=[16, 32],[32, 64]", "betas=[0.9, 0.99]", "compile=true")
    given = {"seeds": (0,), "over": over, "preset": "pusht-scale"}
    cells = plan(SweepConfig(data=Path("d"), out=tmp_path, **given))
    assert [cell.name for cell in cells] == [
        "network.channels-16-32_seed-0", "network.channels-32-64_seed-0"
    ]  # fmt: skip
    assert "network.channels=[32, 64]" in cells[1].config.set
    assert cells[1].config.betas == (0.9, 0.99)
    assert cells[1].config.n_obs_steps == 2


def test_the_command_of_a_cell_trains_what_was_planned(data, tmp_path, here):
    over = (*TINY, "betas=[0.9, 0.99]", "compile=false", "learning_rate=1e-3,3e-4")
    sweep.sweep(config(data, tmp_path, over=over, seeds=(3,), preset="shortcut"))
    for cell in plan(config(data, tmp_path, over=over, seeds=(3,), preset="shortcut")):
        assert runs.read_config(tmp_path / cell.name).train == run_settings(cell.config)


def test_success_is_counted_over_the_seeds(data, tmp_path, here):
    result = sweep.sweep(config(data, tmp_path))
    (setting,) = result.settings
    assert (setting.seeds, setting.episodes, setting.successes) == ((0, 1), 8, 4)
    assert setting.success_rate == 0.5
    assert setting.success_interval == wilson_interval(4, 8)
    assert setting.success_by_seed == (0.75, 0.25)
    assert setting.val_loss == pytest.approx(sum(cell.val_loss for cell in result.cells) / 2)


def test_what_is_finished_is_kept_and_what_is_missing_is_done(data, tmp_path, here):
    sweep.sweep(config(data, tmp_path, seeds=(0,)))
    before = len(here)
    result = sweep.sweep(config(data, tmp_path))
    assert [cell.status for cell in result.cells] == ["kept", "finished"]
    assert [command[0] for command in here[before:]] == ["train", "evaluate"]
    assert sweep.sweep(config(data, tmp_path)).cells[1].status == "kept"
    assert len(here) == before + 2
    # More episodes are another question; the training stays.
    again = sweep.sweep(config(data, tmp_path, episodes=5))
    assert [(cell.status, cell.episodes) for cell in again.cells] == [("finished", 5)] * 2


def test_a_run_that_fails_does_not_stop_the_others(data, tmp_path, here, capsys):
    (tmp_path / "out" / "seed-0").mkdir(parents=True)
    (tmp_path / "out" / "seed-0" / "precious").write_text("data")
    result = sweep.sweep(config(data, tmp_path / "out"))
    assert [cell.status for cell in result.cells] == ["failed", "finished"]
    assert result.failed == 1
    assert result.cells[0].error == "it failed"
    assert result.settings[0].seeds == (1,)
    assert (tmp_path / "out" / "seed-0" / "precious").exists()


def test_a_folder_of_other_settings_fails_and_stays(data, tmp_path, here):
    sweep.sweep(config(data, tmp_path, seeds=(0,)))
    other = sweep.sweep(config(data, tmp_path, seeds=(0,), over=(*TINY[1:], "steps=7")))
    assert other.cells[0].status == "failed"
    assert "other settings" in other.cells[0].error
    assert int(state(tmp_path / "seed-0")["step"]) == 6


def test_the_command_shows_a_table_and_the_failure(data, tmp_path, here, capsys):
    (tmp_path / "out" / "generator.n_steps-2_seed-0").mkdir(parents=True)
    (tmp_path / "out" / "generator.n_steps-2_seed-0" / "precious").write_text("data")
    arguments = ["sweep", "--data", str(data), "--out", str(tmp_path / "out"), "--seeds", "0", "1"]
    arguments += ["--over", *TINY, "generator.n_steps=1,2", "--episodes", "4"]
    assert main([*arguments, "--json", str(tmp_path / "sweep.json")]) == 1
    said = capsys.readouterr().out
    assert "50.0% of 8" in said
    assert "failed: " in said
    result = json.loads((tmp_path / "sweep.json").read_text())
    assert result["failed"] == 1
    assert [s["episodes"] for s in result["settings"]] == [8, 4]


def test_commands_run_in_processes_of_their_own_and_say_why_they_fail(tmp_path):
    log = "run.log"
    missing = ("train", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "run"))
    error = sweep.execute_commands([("--version",), missing, ("--version",)], log, str(tmp_path))
    assert error.startswith("bridle: ")
    assert "none" in error
    assert error.endswith(f"(status 2, see {log})")
    assert (tmp_path / log).read_text().count("$ bridle") == 2


@pytest.mark.slow
def test_a_ray_cluster_runs_the_same_commands(tmp_path):
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        execute = sweep.on_cluster()
        assert execute([("--version",)], "run.log", str(tmp_path)) is None
        error = execute([("trian",)], "run.log", str(tmp_path))
    finally:
        ray.shutdown()
    assert "did you mean train?" in error
    assert (tmp_path / "run.log").read_text().startswith("$ bridle trian")


@pytest.mark.slow
def test_a_killed_sweep_goes_on(data, tmp_path):
    command = [
        sys.executable, "-P", "-m", "bridle", "sweep", "--data", str(data), "--out",
        str(tmp_path / "out"), "--seeds", "0", "--episodes", "0", "--json",
        str(tmp_path / "s.json"), "--over", "steps=1200", "checkpoint_seconds=0.05", *TINY[1:],
    ]  # fmt: skip
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    saved = tmp_path / "out" / "seed-0" / runs.STATE
    deadline = time.monotonic() + 120
    while not saved.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert int(state(saved.parent)["step"]) < 1200
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (cell,) = json.loads((tmp_path / "s.json").read_text())["cells"]
    assert (cell["status"], cell["steps"]) == ("finished", 1200)
    assert json.loads((saved.parent / runs.RESULT).read_text())["resumed_at"] > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"over": ("stepz=3",)}, "--over: there is no setting 'stepz'; did you mean steps"),
        ({"over": ("steps=many",)}, '--over: wrong value type for field "steps"'),
        ({"over": ("steps=0,5",)}, "--over: steps must be at least 1, got 0"),
        ({"over": ("steps",)}, "takes name=value,value..., got 'steps'"),
        ({"over": ("steps=",)}, "takes name=value,value..., got 'steps='"),
        ({"over": ("steps=[",)}, "are no values"),
        ({"over": ("steps=1", "steps=2")}, "is given twice"),
        ({"over": ("steps=1,1",)}, "is given twice"),
        ({"over": ("seed=1,2",)}, "give --seeds instead"),
        ({"over": ("set=1",)}, "give a part's setting"),
        ({"over": ("out=x",)}, "there is no setting 'out'"),
        ({"preset": "enery"}, "did you mean energy"),
        ({"seeds": ()}, "at least one"),
        ({"seeds": (1, 1)}, "once each"),
        ({"episodes": -1}, "episodes must not be negative"),
        ({"jobs": 0}, "jobs must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_trained(settings, message, tmp_path):
    with pytest.raises(TrainingError, match=message):
        plan(SweepConfig(**({"data": Path("d"), "out": tmp_path} | settings)))
