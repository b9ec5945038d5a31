import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from bridle.policies import Policy, PolicyError
from bridle.training import runs
from bridle.training.config import TrainConfig
from bridle.training.exceptions import TrainingError
from bridle.training.learner import Learner
from bridle.training.optimisation import averaged
from bridle.training.trainer import train
from tests.training.imitation import SMALL, same, weights, write_set


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("data") / "set")


def config(data, out, **settings) -> TrainConfig:
    defaults = {"steps": 60, "batch_size": 32, "log_every": 20}
    defaults["set"] = SMALL
    return TrainConfig(data=data, out=out, **(defaults | {"val_ratio": 0.1} | settings))


def test_a_run_holds_what_the_robot_side_needs(data, tmp_path):
    result = train(config(data, tmp_path / "run"), "<mujoco/>")
    policy, described = runs.load_policy(tmp_path / "run")
    policy.check_fitted()
    assert result.steps == 60
    assert np.isfinite([result.train_loss, result.val_loss]).all()
    assert described.data.task == "pick-place"
    assert len(described.data.digest) == 64
    assert described.versions["torch"].startswith(torch.__version__.split("+")[0])
    for name in (runs.ROBOT, runs.CURVES, runs.METRICS):
        assert (tmp_path / "run" / name).stat().st_size > 0


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(data, tmp_path):
    train(config(data, tmp_path / "whole"))
    cut = config(data, tmp_path / "cut")
    runs_before = Learner(cut)
    (tmp_path / "cut").mkdir(exist_ok=True)
    # Train 37 steps of the same run, save, and let `train` find it.
    from dataclasses import asdict

    settings = {k: str(v) if k in ("data", "out") else v for k, v in asdict(cut).items()}
    settings.pop("out")
    runs.write_config(
        cut.out,
        runs.RunConfig(
            settings, runs_before.policy_config, runs_before.card, runs.library_versions()
        ),
    )
    for _ in runs_before.train_steps():
        if runs_before.step == 37:
            break
    runs_before.save()
    result = train(cut)
    assert result.resumed_at == 37
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert same(
        runs.load_tensors(tmp_path / "whole" / runs.STATE),
        runs.load_tensors(tmp_path / "cut" / runs.STATE),
    )


@pytest.mark.slow
def test_a_killed_run_goes_on(data, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "bridle", "train", "--data", str(data), "--out", str(out)]
    command += [
        "--steps",
        "3000",
        "--batch-size",
        "32",
        "--set",
        "network.width=32",
        "network.blocks=1",
    ]
    command += ["--checkpoint-seconds", "0.2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out / runs.STATE).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    step = int(runs.load_tensors(out / runs.STATE)["step"])
    assert 0 < step < 3000
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert int(runs.load_tensors(out / runs.STATE)["step"]) == 3000
    lines = (out / runs.METRICS).read_text().splitlines()
    assert len(lines) == 30  # one per hundred steps, none twice


def test_a_folder_with_another_run_is_not_touched(data, tmp_path):
    train(config(data, tmp_path / "run"))
    before = weights(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"other settings \(seed 0 -> 1\)"):
        train(config(data, tmp_path / "run", seed=1))
    assert same(before, weights(tmp_path / "run"))


def test_a_run_from_before_a_setting_was_there_can_be_continued(data, tmp_path):
    train(config(data, tmp_path / "run"))
    path = tmp_path / "run" / runs.CONFIG
    lines = path.read_text().splitlines(keepends=True)
    newer = ("draws: 1", "committed: 0")
    path.write_text("".join(line for line in lines if line.strip() not in newer))
    assert not {"draws", "committed"} & runs.read_config(tmp_path / "run").train.keys()
    train(config(data, tmp_path / "run"))
    with pytest.raises(TrainingError, match=r"other settings \(draws 1 -> 2\)"):
        train(config(data, tmp_path / "run", draws=2))


def test_a_policy_can_be_trained_to_continue_committed_actions(data, tmp_path):
    train(config(data, tmp_path / "run", committed=5))
    policy, _ = runs.load_policy(tmp_path / "run")
    assert policy.config.committed == 5
    with pytest.raises(PolicyError, match=r"committed must lie in 0\.\.15"):
        train(config(data, tmp_path / "other", committed=16))


def test_a_folder_with_something_else_is_not_touched(data, tmp_path):
    (tmp_path / "precious").write_text("data")
    with pytest.raises(TrainingError, match="is not a training run"):
        train(config(data, tmp_path))


@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_damaged_weights_are_refused(data, tmp_path, damage):
    train(config(data, tmp_path / "run"))
    path = tmp_path / "run" / runs.MODEL
    path.write_bytes(path.read_bytes()[:1000]) if damage == "truncate" else path.unlink()
    with pytest.raises(TrainingError, match=r"model.safetensors cannot be read"):
        runs.load_policy(tmp_path / "run")


def test_weights_without_statistics_are_refused(data, tmp_path):
    train(config(data, tmp_path / "run"))
    untrained = Policy(runs.read_config(tmp_path / "run").policy)
    runs.save_tensors(tmp_path / "run" / runs.MODEL, untrained.state_dict())
    with pytest.raises(PolicyError, match="statistics are missing"):
        runs.load_policy(tmp_path / "run")


def test_a_configuration_with_a_typo_is_refused(data, tmp_path):
    train(config(data, tmp_path / "run"))
    path = tmp_path / "run" / runs.CONFIG
    path.write_text(path.read_text().replace("horizon:", "horizont:"))
    with pytest.raises(TrainingError, match="horizon"):
        runs.load_policy(tmp_path / "run")


def test_the_average_follows_its_formula():
    module = torch.nn.Linear(1, 1, bias=False)
    average, expected, decay = averaged(module, 0.9), None, 0.9
    for n, value in enumerate([1.0, 2.0, 4.0, 8.0]):
        module.weight.data.fill_(value)
        average.update_parameters(module)
        d = min(decay, (1 + n) / (10 + n))
        expected = value if expected is None else d * expected + (1 - d) * value
        assert float(average.module.weight) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "settings", [{"steps": 0}, {"learning_rate": -1.0}, {"ema_decay": 1.0}, {"val_ratio": 1.0}]
)
def test_settings_out_of_range_are_refused(data, tmp_path, settings):
    with pytest.raises(TrainingError, match=next(iter(settings))):
        config(data, tmp_path / "run", **settings)


KINDS = ["flow", "shortcut", "diffusion", "energy", "regression"]


@pytest.mark.parametrize("generator", KINDS)
@pytest.mark.parametrize("network", ["mlp", "unet", "transformer"])
def test_every_kind_trains_continues_and_comes_back(generator, network, data, tmp_path):
    small = {
        "mlp": ("network.width=32", "network.blocks=1"),
        "unet": ("network.channels=[16, 32]", "network.time_channels=16"),
        "transformer": ("network.width=32", "network.layers=1"),
    }[network]
    settings = {"generator": generator, "network": network, "set": small}
    result = train(config(data, tmp_path / "run", steps=6, **settings))
    assert np.isfinite(result.train_loss)
    policy, kept = runs.load_policy(tmp_path / "run")
    assert type(policy.generator).__name__.lower() == generator
    assert kept.policy == policy.config
    observation = {key: torch.randn(3, 1, n) for key, n in policy.config.encoder.keys.items()}
    chunk = policy.sample(observation, torch.randn(3, 16, policy.config.action_size))
    assert chunk.shape == (3, 16, policy.config.action_size)
    assert chunk.isfinite().all()


def test_the_step_size_of_a_descent_learns_faster_and_continues_so(data, tmp_path):
    settings = {"generator": "energy", "set": (*SMALL, "generator.step_size=2.0")}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(config(data, whole, steps=20, **settings))
    learner = Learner(config(data, cut, steps=20, **settings))
    assert [group["lr"] for group in learner.optimizer.param_groups][1] == pytest.approx(
        6 * learner.optimizer.param_groups[0]["lr"]
    )
    cut.mkdir()
    for _, _ in zip(range(10), learner.train_steps(), strict=False):
        pass
    learner.save()
    again = Learner(config(data, cut, steps=20, **settings))
    again.restore()
    for _ in again.train_steps():
        pass
    again.save()
    assert same(weights(whole), weights(cut))
    assert not torch.equal(weights(whole)["generator.step_size"], torch.tensor(2.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"generator": "flwo"}, "did you mean flow"),
        ({"network": "cnn"}, "there are mlp, unet, transformer"),
        ({"set": ("generator.steps=4",)}, "has no setting 'steps'; it has n_steps"),
        ({"set": ("generator.n_steps=four",)}, "generator flow: .*n_steps"),
        ({"set": ("n_steps=4",)}, "written part.name=value"),
        ({"set": ("generator.n_steps",)}, "written part.name=value"),
        ({"set": ("generator.n_steps=[",)}, "is no value"),
        ({"set": ("encoder.keys={}",)}, "encoder state has no setting .keys."),
        ({"set": ("text.width=8",)}, "part of network, generator, encoder"),
        ({"observe": "picture"}, "observe must be of state"),
    ],
)
def test_settings_that_are_not_there_are_named(settings, message, data, tmp_path):
    with pytest.raises(TrainingError, match=message):
        train(config(data, tmp_path / "run", **settings))
