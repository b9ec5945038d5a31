import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from bridle.cli import main
from bridle.training import runs
from bridle.training.comparison import compare, draw
from bridle.training.config import TrainConfig
from bridle.training.demonstrations import DemonstrationWriter, known_key
from bridle.training.exceptions import TrainingError
from bridle.training.outcomes import EVALUATION, EpisodeResult, count
from bridle.training.trainer import train

SIZES = {"action": 7, "joint_position": 6, "tcp_pose": 9, "object_state": 8}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two finished runs of a few steps, never evaluated."""
    path = tmp_path_factory.mktemp("compared")
    random = np.random.default_rng(0)
    with DemonstrationWriter.create(
        path / "set",
        robot="ur5e_2f85",
        task="pick-place-post",
        control_rate=20.0,
        keys={key: known_key(key, (n,)) for key, n in SIZES.items()},
        instructions=[],
    ) as writer:
        for _ in range(6):
            writer.append(
                {k: random.standard_normal((30, n)).astype(np.float32) for k, n in SIZES.items()}
            )
    for name, seed, generator in (("flow", 0, "flow"), ("mean", 1, "regression")):
        settings = TrainConfig(
            data=path / "set",
            out=path / name,
            seed=seed,
            generator=generator,
            steps=20,
            log_every=10,
            batch_size=16,
            val_ratio=0.2,
            set=("network.width=16", "network.blocks=1"),
        )
        train(settings, "<mujoco/>")
    return path


@pytest.fixture
def two(trained, tmp_path):
    """Copies of both runs that a test may change."""
    for name in ("flow", "mean"):
        shutil.copytree(trained / name, tmp_path / name)
    return tmp_path / "flow", tmp_path / "mean"


def give_evaluation(run, successes, episodes=10, task="pick-place-post"):
    results = [
        EpisodeResult(500 + i, i < successes, 100, 0.0, ("left", "right")[i % 2], "", ())
        for i in range(episodes)
    ]
    found = count(
        task, results, modes=("left", "right"), instructions=("",), milestones=(), seconds=1.0
    )
    (run / EVALUATION).write_text(json.dumps(asdict(found)))
    return found


def test_it_says_what_a_run_is_and_how_far_it_was_trained(two):
    flow, mean = compare(two).runs
    assert (flow.run, flow.task) == (str(two[0]), "pick-place-post")
    assert (flow.generator, flow.network) == ("flow", "mlp")
    assert (mean.generator, mean.network) == ("regression", "mlp")
    assert (flow.steps, flow.planned_steps) == (20, 20)
    policy, _ = runs.load_policy(two[0])
    assert flow.parameters == sum(p.numel() for p in policy.parameters())
    assert flow.seconds > 0
    assert (
        flow.val_loss
        == json.loads((two[0] / runs.METRICS).read_text().splitlines()[-1])["val_loss"]
    )


def test_the_settings_in_which_runs_differ_are_told(two):
    flow, mean = compare(two).runs
    assert (flow.differs, mean.differs) == ({"seed": 0}, {"seed": 1})
    assert compare(two[:1]).runs[0].differs == {}


def test_the_most_successful_comes_first_and_what_was_not_evaluated_last(two, tmp_path):
    flow, mean = two
    unseen = tmp_path / "another"
    shutil.copytree(flow, unseen)
    give_evaluation(flow, 4)
    best = give_evaluation(mean, 9)
    compared = compare([unseen, flow, mean]).runs
    assert [run.run for run in compared] == [str(mean), str(flow), str(unseen)]
    assert compared[0].evaluation == best
    assert [(m.name, m.successes) for m in compared[0].evaluation.by_mode] == [
        ("left", 5),
        ("right", 4),
    ]
    assert compared[2].evaluation is None


def test_runs_of_one_task_stand_together(two, tmp_path):
    flow, mean = two
    third = tmp_path / "third"
    shutil.copytree(flow, third)
    give_evaluation(flow, 9)
    give_evaluation(mean, 10, task="pick-place")
    give_evaluation(third, 1)
    tasks = [run.task for run in compare([flow, mean, third]).runs]
    assert tasks == ["pick-place", "pick-place-post", "pick-place-post"]


def test_a_run_that_is_not_finished_is_compared_as_far_as_it_came(two):
    flow, _ = two
    (flow / runs.RESULT).unlink()
    lines = (flow / runs.METRICS).read_text().splitlines()
    (flow / runs.METRICS).write_text(lines[0] + "\n" + lines[1][:20])
    run = compare([flow]).runs[0]
    assert (run.steps, run.planned_steps) == (10, 20)
    assert run.parameters is run.seconds is None
    (flow / runs.METRICS).unlink()
    assert compare([flow]).runs[0].steps == 0


def test_the_picture_shows_every_run_evaluated_or_not(two, tmp_path):
    give_evaluation(two[0], 0)
    (two[1] / runs.METRICS).unlink()
    draw(compare(two), tmp_path / "made" / "it.png")
    with Image.open(tmp_path / "made" / "it.png") as picture:
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10


def test_what_is_no_run_is_refused_in_one_line(two, tmp_path):
    with pytest.raises(TrainingError, match=r"nowhere is not a training run: config.yaml is miss"):
        compare([two[0], tmp_path / "nowhere"])
    with pytest.raises(TrainingError, match="at least one run"):
        compare([])


@pytest.mark.parametrize("text", ["{", "[]", '{"task": "reach"}'])
def test_a_damaged_evaluation_is_refused_with_its_name(two, text):
    (two[0] / EVALUATION).write_text(text)
    with pytest.raises(TrainingError, match=r"evaluation.json is no evaluation .*evaluate the run"):
        compare(two)


def test_an_evaluation_comes_back_as_it_was(two):
    found = give_evaluation(two[0], 3)
    assert compare(two).runs[0].evaluation == replace(found)


def test_the_command_prints_a_table_and_writes_picture_and_result(two, tmp_path, capsys):
    give_evaluation(two[0], 7)
    plot, result = tmp_path / "plot.png", tmp_path / "result.json"
    arguments = ["compare", *map(str, two), "--plot", str(plot), "--json", str(result)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for text in ("pick-place-post", "7/10, 70% (40% to 89%)", "left 4/5", "not evaluated"):
        assert text in printed
    assert plot.stat().st_size > 0
    first, second = json.loads(result.read_text())["runs"]
    assert first["evaluation"]["successes"] == 7
    assert second["evaluation"] is None


def test_the_command_says_in_one_line_what_is_no_run(tmp_path, capsys):
    assert main(["compare", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"bridle: {tmp_path} is not a training run: config.yaml is missing"
    ]
