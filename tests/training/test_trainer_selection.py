"""The best weights by their success in simulation become the policy."""

import json

import pytest
import torch

from bridle.training import runs, trainer
from bridle.training.checkpoints import Checkpoint, Checkpoints
from bridle.training.evaluation import FIRST_SEED, SELECTION_SEED
from bridle.training.learner import Learner
from bridle.training.outcomes import EpisodeResult, count
from bridle.training.trainer import train
from tests.training.imitation import same, small, state, weights, write_set


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture
def play(monkeypatch):
    """Lets evaluations succeed as often as a test says, in turn, and notes their seeds."""

    def script(*successes, episodes=20):
        coming, asked = list(successes), []

        def evaluate(policy, task, *, episodes, first_seed):
            asked.append(range(first_seed, first_seed + episodes))
            good = coming.pop(0)
            if isinstance(good, BaseException):
                raise good
            results = [
                EpisodeResult(s, i < good, 9, 0.0, "", "", ()) for i, s in enumerate(asked[-1])
            ]
            return count(task, results, modes=(), instructions=(), milestones=(), seconds=0.0)

        monkeypatch.setattr(trainer, "evaluate", evaluate)
        return asked

    return script


EVALUATED = {"evaluate_every": 10, "evaluate_episodes": 20}


def test_the_most_successful_weights_become_the_policy(data, tmp_path, play):
    play(4, 18, 9, 2)
    result = train(small(data, tmp_path / "run", keep_best=2, **EVALUATED))
    assert (result.model_step, result.success_rate) == (20, 0.9)
    assert result.checkpoints == (Checkpoint(20, 18, 20), Checkpoint(30, 9, 20))
    folder = tmp_path / "run" / runs.CHECKPOINTS
    assert sorted(p.name for p in folder.iterdir()) == [c.file for c in result.checkpoints]
    best = runs.load_tensors(folder / "step-000020_success-18-of-20.safetensors")
    assert same(weights(tmp_path / "run"), best)
    runs.load_policy(tmp_path / "run")[0].check_fitted()


def test_of_equals_the_later_is_taken_and_the_last_step_is_always_evaluated(data, tmp_path, play):
    play(5, 5)
    result = train(small(data, tmp_path / "run", steps=15, **EVALUATED))
    assert result.model_step == 15
    assert [checkpoint.step for checkpoint in result.checkpoints] == [15, 10]


def test_without_evaluations_the_last_weights_are_the_policy(data, tmp_path):
    result = train(small(data, tmp_path / "run"))
    assert (result.model_step, result.success_rate, result.checkpoints) == (40, None, ())
    assert not (tmp_path / "run" / runs.CHECKPOINTS).exists()


def test_the_log_and_the_result_say_how_it_went(data, tmp_path, play):
    play(4, 18, 9, 2)
    result = train(small(data, tmp_path / "run", **EVALUATED))
    lines = [json.loads(line) for line in (tmp_path / "run" / runs.METRICS).open()]
    assert [(line["step"], line["success_rate"]) for line in lines] == [
        (10, 0.2), (20, 0.9), (30, 0.45), (40, 0.1)
    ]  # fmt: skip
    low, high = lines[1]["success_interval"]
    assert low < 0.9 < high
    kept = json.loads((tmp_path / "run" / runs.RESULT).read_text())
    assert kept["model_step"] == result.model_step
    assert kept["checkpoints"][0] == {"step": 20, "successes": 18, "episodes": 20}
    assert (tmp_path / "run" / runs.CURVES).stat().st_size > 0


def test_seeds_are_not_those_of_the_final_evaluation(data, tmp_path, play):
    asked = play(1, 1)
    train(small(data, tmp_path / "run", steps=20, **EVALUATED))
    assert set(asked) == {range(SELECTION_SEED, SELECTION_SEED + 20)}
    assert SELECTION_SEED + 20 <= FIRST_SEED


@pytest.mark.parametrize("killed_at", [0, 1, 2, 3])
def test_a_run_killed_at_an_evaluation_loses_nothing(data, tmp_path, play, killed_at):
    outcomes = [4, 18, 9, 2]
    play(*outcomes)
    whole = train(small(data, tmp_path / "whole", keep_best=1, **EVALUATED))
    cut = small(data, tmp_path / "cut", keep_best=1, **EVALUATED)
    play(*outcomes[:killed_at], KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(cut)
    play(*outcomes[killed_at:])
    resumed = train(cut)
    assert resumed.resumed_at == 10 * killed_at
    assert resumed.checkpoints == whole.checkpoints
    assert resumed.model_step == whole.model_step
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert same(state(tmp_path / "whole"), state(tmp_path / "cut"))
    logs = [(tmp_path / name / runs.METRICS).read_text() for name in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_a_finished_run_stays_as_it_is(data, tmp_path, play):
    play(4, 18)
    config = small(data, tmp_path / "run", steps=20, **EVALUATED)
    train(config)
    before = {p: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
    again = train(config)
    assert (again.resumed_at, again.model_step) == (20, 20)
    for name in (runs.MODEL, runs.STATE, runs.RESULT, runs.METRICS):
        assert (tmp_path / "run" / name).read_bytes() == before[tmp_path / "run" / name]


def test_a_loss_between_two_lines_survives_a_kill(data, tmp_path, play):
    play(1, 1, 1, 1)
    train(small(data, tmp_path / "whole", log_every=15, evaluate_every=30, steps=45))
    play(1, 1, 1, 1)
    cut = small(
        data, tmp_path / "cut", log_every=15, evaluate_every=30, steps=45, checkpoint_seconds=0.0
    )
    play(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(cut)
    assert int(state(tmp_path / "cut")["step"]) == 29
    assert len(state(tmp_path / "cut")["losses"]) == 14
    play(1, 1)
    train(cut)
    logs = [(tmp_path / name / runs.METRICS).read_text() for name in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_a_task_that_cannot_be_played_is_refused_before_training(data, tmp_path):
    def other_task(config):
        learner = Learner(config)
        learner.card = type(learner.card)(**(vars(learner.card) | {"task": "fly"}))
        return learner

    with pytest.raises(ValueError, match="no task 'fly'"):
        train(small(data, tmp_path / "run", **EVALUATED), learner=other_task)
    assert not (tmp_path / "run" / runs.CONFIG).exists()


@pytest.mark.slow
def test_the_simulation_is_really_asked(data, tmp_path):
    config = small(data, tmp_path / "run", steps=4, evaluate_every=4, evaluate_episodes=1)
    result = train(config)
    assert result.success_rate == 0.0
    assert result.checkpoints == (Checkpoint(4, 0, 1),)


def test_checkpoints_are_ranked_by_rate_then_step(tmp_path):
    shelf = Checkpoints(tmp_path / "checkpoints", keep=3)
    assert shelf.kept() == ()
    given = [Checkpoint(10, 5, 10), Checkpoint(1_000_000, 10, 20), Checkpoint(30, 199, 200)]
    for checkpoint in (*given, Checkpoint(40, 1, 200)):
        shelf.add(checkpoint, {"w": torch.tensor([float(checkpoint.step)])})
    (tmp_path / "checkpoints" / "mine.safetensors").touch()
    assert shelf.kept()[:3] == (given[2], given[1], given[0])
    shelf.prune()
    assert shelf.kept() == (given[2], given[1], given[0])
    assert shelf.load(given[2])["w"].item() == 30
    shelf.forget_after(30)
    assert shelf.kept() == (given[2], given[0])
    assert (tmp_path / "checkpoints" / "mine.safetensors").exists()
