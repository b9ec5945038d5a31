import json
import shutil

import numpy as np
import pytest
import torch

from bridle.cli import main
from bridle.commands.evaluate import JudgedBundle
from bridle.deploy.bundle import load_bundle
from bridle.deploy.execution import ChunkSampler, ExecutionConfig, Sampled
from bridle.deploy.runtime import Runtime
from bridle.policies import PolicyError
from bridle.sim.robots.ur5e import kinematics_xml
from bridle.training import runs
from bridle.training.exceptions import TrainingError
from bridle.training.offline import IQLConfig, JudgedPolicy, finetune, load_critics
from bridle.training.offline.critic_training import CRITICS, CRITICS_STATE
from tests.training.imitation import same, weights
from tests.training.offline.judged import SAFE, SETTINGS, imitate, safer, write_ways


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("offline")


@pytest.fixture(scope="module")
def data(folder):
    return write_ways(folder / "set")


@pytest.fixture(scope="module")
def run(folder, data):
    return imitate(data, folder / "run")


@pytest.fixture(scope="module")
def fisor(folder, data, run):
    finetune(safer(run, data, folder / "fisor"))
    return folder / "fisor"


def observation(n: int) -> dict[str, torch.Tensor]:
    sizes = {"joint_position": 6, "gripper": 1, "tcp_pose": 9, "object_state": 8}
    return {key: torch.zeros(n, 1, size) for key, size in sizes.items()}


def first_joint(run, n: int = 200) -> torch.Tensor:
    """Where the executed part of sampled chunks takes the first joint [rad]."""
    policy, _ = runs.load_policy(run)
    seen = {key: observation(n)[key] for key in policy.config.encoder.inputs}
    noise = torch.randn(n, 8, 7, generator=torch.Generator().manual_seed(0))
    return policy.sample(seen, noise)[:, :4, 0].mean(dim=1)


def costly(run) -> float:
    return float((first_joint(run) > 0).float().mean())


def test_imitation_takes_both_ways_and_fisor_the_safe_one(run, fisor):
    assert 0.3 < costly(run) < 0.7
    assert costly(fisor) < 0.05
    assert torch.allclose(first_joint(fisor).median(), torch.tensor(SAFE), atol=0.1)


def test_iql_takes_the_way_that_is_worth_more(run, data, tmp_path):
    finetune(IQLConfig(run=run, data=data, out=tmp_path / "iql", **SETTINGS, temperature=5.0))
    assert costly(tmp_path / "iql") > 0.9


def test_a_safe_one_of_several_chunks_is_taken(run, fisor):
    policy, config = runs.load_policy(run)
    seen = {key: observation(20)[key] for key in policy.config.encoder.inputs}
    noise = np.random.default_rng(0).standard_normal((20, 16, 8, 7)).astype(np.float32)
    critics = load_critics(fisor)
    arrays = {key: value.numpy() for key, value in seen.items()}
    for choose in ("first", "safest", "best"):
        judged = JudgedPolicy(policy, critics, config.data.task, choose=choose)
        chosen = judged.best_of(arrays, noise, np.empty((20, 0, 7), np.float32))
        # The policy alone takes both ways.
        assert (chosen[:, :4, 0].mean(axis=1) < 0).all()


def test_the_run_says_how_it_came_about_and_can_be_exported_as_any(fisor, run):
    described = runs.read_config(fisor)
    assert described.train["offline"]["run"] == str(run)
    assert described.policy == runs.read_config(run).policy
    assert not (fisor / CRITICS_STATE).exists()


def test_the_encoder_and_the_statistics_stay(fisor, run):
    before, after = weights(run), weights(fisor)
    kept = [name for name in before if name.startswith(("encoder", "action_normalizer"))]
    assert kept
    assert all(torch.equal(before[name], after[name]) for name in kept)


class KilledError(Exception):
    pass


def test_critics_and_policy_go_on_bit_for_bit_after_a_kill(fisor, run, data, tmp_path):
    settings = safer(run, data, tmp_path / "cut")

    def killed_critics(learner, steps, folder, seconds):
        for _ in range(100):
            learner.train_step()
        learner.save(folder / CRITICS_STATE)
        raise KilledError

    def killed_policy(learner):
        for _ in learner.train_steps():
            if learner.step == 50:
                learner.save()
                raise KilledError

    for killed, where in (
        (killed_critics, "bridle.training.offline.learner.train_critics"),
        (killed_policy, "bridle.training.trainer._Session"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(where, killed)
            with pytest.raises(KilledError):
                finetune(settings)
    assert finetune(settings).training.resumed_at == 50
    assert same(runs.load_tensors(fisor / CRITICS), runs.load_tensors(tmp_path / "cut" / CRITICS))
    assert same(weights(fisor), weights(tmp_path / "cut"))


def test_other_settings_need_another_folder(fisor, run, data):
    with pytest.raises(TrainingError, match="other settings"):
        finetune(safer(run, data, fisor, discount=0.5))


def test_a_set_in_which_nothing_is_touched_is_refused(run, tmp_path):
    plain = write_ways(tmp_path / "set", cost=False)
    with pytest.raises(TrainingError, match="no step of the set has a cost"):
        finetune(safer(run, plain, tmp_path / "out"))


def test_a_set_without_rewards_is_refused(run, tmp_path):
    plain = write_ways(tmp_path / "set", reward=False)
    with pytest.raises(TrainingError, match="no reward"):
        finetune(safer(run, plain, tmp_path / "out"))


def test_a_set_of_another_robot_is_refused(run, tmp_path):
    other = write_ways(tmp_path / "set", action=8)
    with pytest.raises(TrainingError, match="8 channels of action, the policy 7"):
        finetune(safer(run, other, tmp_path / "out"))


def test_a_run_is_not_overwritten(run, data):
    with pytest.raises(TrainingError, match="another folder"):
        finetune(safer(run, data, run))


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"critic_steps": 0}, TrainingError),
        ({"critic_learning_rate": 0.0}, TrainingError),
        ({"discount": 1.5}, PolicyError),
        ({"temperature": -1.0}, PolicyError),
    ],
)
def test_wrong_settings_fail_when_they_are_given(run, data, tmp_path, setting, error):
    with pytest.raises(error, match=next(iter(setting))):
        safer(run, data, tmp_path / "out", **setting)


def test_choosing_needs_something_to_choose_among(run, fisor):
    policy, _ = runs.load_policy(run)
    critics = load_critics(fisor)
    with pytest.raises(TrainingError, match="at least 2, got 1"):
        JudgedPolicy(policy, critics, "pick-place", 1)
    with pytest.raises(TrainingError, match="safest or best"):
        JudgedPolicy(policy, critics, "pick-place", choose="nicest")


def test_critics_that_do_not_fit_their_run_are_refused(fisor, run, tmp_path):
    assert load_critics(run) is None
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in (runs.CONFIG, runs.MODEL):
        (broken / name).write_bytes((fisor / name).read_bytes())
    runs.save_tensors(broken / CRITICS, {"reward": torch.zeros(1)})
    with pytest.raises(TrainingError, match="does not fit"):
        load_critics(broken)


def test_the_command_says_what_came_of_it(run, data, tmp_path, capsys):
    out, result = tmp_path / "run", tmp_path / "result.json"
    options = SETTINGS | {"steps": 20, "critic_steps": 20}
    flags = [word for k, v in options.items() for word in (f"--{k.replace('_', '-')}", str(v))]
    paths = ["--run", str(run), "--data", str(data), "--out", str(out), "--json", str(result)]
    assert main(["finetune", "fisor", *paths, *flags]) == 0
    assert "50.0% had a cost" in capsys.readouterr().out
    written = json.loads(result.read_text())
    assert written["judgement"]["costly"] == 0.5
    assert written["training"]["steps"] == 20


def test_an_evaluation_takes_the_first_safe_one_of_sixteen(fisor, monkeypatch, tmp_path):
    from bridle.commands import evaluate

    asked = []
    monkeypatch.setattr(evaluate, "evaluate", lambda policy, *_, **__: asked.append(policy))
    for flags in ([], ["--candidates", "4", "--choose", "best"], ["--candidates", "1"]):
        main(["evaluate", "--run", str(fisor), *flags])
    first, second, third = asked
    assert (first.n_candidates, first.choose) == (16, "first")
    assert (second.n_candidates, second.choose) == (4, "best")
    assert not isinstance(third, JudgedPolicy)


# -- exported --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_kinematics(fisor, run):
    for each in (fisor, run):
        (each / runs.ROBOT).write_text(kinematics_xml())


def sampled(bundle, n: int, **settings) -> list[Sampled]:
    """Chunks as they are executed on a robot that is at home."""
    sampler = ChunkSampler(Runtime(load_bundle(bundle)), ExecutionConfig(**settings))
    seen = {key: value.numpy() for key, value in observation(1).items()}
    random = np.random.default_rng(0)
    return [sampler(seen, random) for _ in range(n)]


@pytest.mark.usefixtures("with_kinematics")
def test_a_bundle_takes_the_critic_along_and_its_robot_goes_the_safe_way(fisor, run, tmp_path):
    main(["export", "--run", str(fisor), "--out", str(tmp_path / "fisor")])
    assert all(each.feasibility <= 0 for each in sampled(tmp_path / "fisor", 20))
    # A policy that takes both ways, with the critic that another learned on the same encoder.
    main(["export", "--run", str(run), "--critics", str(fisor), "--out", str(tmp_path / "both")])
    chosen = sampled(tmp_path / "both", 20)
    assert all(each.positions[:4, 0].mean() < 0 and each.feasibility <= 0 for each in chosen)
    first = sampled(tmp_path / "both", 60, safest=1)
    costly = [each for each in first if each.positions[:4, 0].mean() > 0]
    assert 10 < len(costly) < 50
    assert all(each.feasibility > 0 for each in costly)
    # Evaluation chooses as the robot does.
    judged = JudgedBundle(load_bundle(tmp_path / "both"), 16)
    seen = {key: value.numpy() for key, value in observation(20).items()}
    noise = np.random.default_rng(0).standard_normal((20, 16, 8, 7)).astype(np.float32)
    assert (judged.best_of(seen, noise, np.empty((20, 0, 7)))[:, :4, 0].mean(axis=1) < 0).all()


@pytest.mark.usefixtures("with_kinematics")
def test_a_critic_of_another_encoder_is_not_taken_along(fisor, run, data, tmp_path, capsys):
    def refused(run, critics):
        arguments = ["--run", str(run), "--critics", str(critics), "--out", str(tmp_path / "b")]
        assert main(["export", *arguments]) != 0
        return " ".join(capsys.readouterr().err.split())

    assert "has no critics" in refused(fisor, run)
    policy = weights(run)
    moved = {n: v + 1 if n.startswith("encoder") else v for n, v in policy.items()}
    other = shutil.copytree(run, tmp_path / "other")
    runs.save_tensors(other / runs.MODEL, moved)
    assert "sees with another encoder" in refused(other, fisor)
    assert not (tmp_path / "b").exists()
