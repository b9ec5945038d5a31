from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from bridle.cli import main
from bridle.commands.train import Options, _defaults
from bridle.training import runs
from bridle.training.config import TrainConfig
from bridle.training.exceptions import TrainingError
from bridle.training.learner import Learner
from bridle.training.train_presets import (
    PRESETS,
    preset_abouts,
    preset_config,
    read_preset,
    with_preset,
)
from tests.training.imitation import write_set

ANY = {"data": Path("data"), "out": Path("run")}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("data") / "set")


def presets(tmp_path, text):
    path = tmp_path / "presets.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", preset_abouts())
def test_every_preset_builds_a_policy(name, data, tmp_path):
    config = preset_config(name, data, tmp_path / "run", {"batch_size": 8})
    learner = Learner(config)
    assert config.preset == name
    assert learner.policy_config.horizon == read_preset(name).get("horizon", 16)


def test_every_preset_says_what_it_is_for():
    assert {"cpu-small", "pusht-scale", "energy", "shortcut"} <= preset_abouts().keys()
    assert all(len(about) > 20 for about in preset_abouts().values())


def test_the_small_one_is_what_runs_without_a_preset(data, tmp_path):
    without = TrainConfig(data=data, out=tmp_path)
    preset = preset_config("cpu-small", data, tmp_path, {})
    assert replace(preset, preset=None, set=()) == without
    assert Learner(preset).policy_config == Learner(without).policy_config


def test_the_large_one_is_the_published_diffusion_policy():
    # arXiv 2303.04137 and its public configuration for states.
    config = preset_config("pusht-scale", **ANY, given={})
    assert (config.batch_size, config.learning_rate, config.warmup_steps) == (256, 1e-4, 500)
    assert (config.betas, config.weight_decay, config.ema_decay) == ((0.95, 0.999), 1e-6, 0.9999)
    assert (config.horizon, config.n_obs_steps, config.n_action_steps) == (16, 2, 8)
    assert "network.channels=[256, 512, 1024]" in config.set


def test_what_is_given_goes_over_the_preset():
    config = preset_config("pusht-scale", **ANY, given={"batch_size": 32, "horizon": 16})
    assert config == replace(preset_config("pusht-scale", **ANY, given={}), batch_size=32)


def test_settings_of_parts_add_up_one_by_one():
    config = preset_config("pusht-scale", **ANY, given={}, assignments=["generator.n_steps=8"])
    assert "generator.n_steps=8" in config.set
    assert "generator.n_steps=16" not in config.set
    assert "generator.prediction=epsilon" in config.set
    assert with_preset(config) == config


def test_another_kind_of_part_gets_nothing_from_the_preset():
    config = preset_config("pusht-scale", **ANY, given={"network": "mlp"})
    assert not any(text.startswith("network.") for text in config.set)
    assert any(text.startswith("generator.") for text in config.set)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine: {stepz: 3}", "preset mine: there is no setting 'stepz'; did you mean steps"),
        ("mine: {data: x}", "there is no setting 'data'"),
        ("mine: {steps: many}", r'preset mine: wrong value type for field "steps"'),
        ("mine: {steps: 2.5}", r'wrong value type for field "steps"'),
        ("mine: {learning_rate: fast}", "preset mine: could not convert .* 'fast'"),
        ("mine: {learning_rate: true}", "preset mine: expected a number, got True"),
        ("mine: {betas: [0.9]}", "preset mine: expected a number, got None"),
        ("mine: {betas: [0.9, 0.9, 0.9]}", 'preset mine: .*"betas"|must be two numbers'),
        ("mine: {betas: 0.9}", 'preset mine: .*"betas"'),
        ("mine: {steps: 0}", "preset mine: steps must be at least 1, got 0"),
        ("mine: {set: generator.n_steps=4}", 'preset mine: .*"set"'),
        ("mine: 3", "expected presets by name"),
        ("mine: [", "while parsing"),
        ("other: {}", "there is no preset 'mine'; there are other"),
        ("mime: {}", "there is no preset 'mine'; did you mean mime"),
    ],
)
def test_what_is_wrong_with_a_preset_is_said_exactly(text, message, tmp_path):
    with pytest.raises(TrainingError, match=message):
        read_preset("mine", presets(tmp_path, text))


def parsed(*arguments):
    from bridle.commands import parse

    given = ["--data", "d", "--out", "o", *arguments]
    return with_preset(parse(Options, "train", given, None, _defaults(given)))


def test_flags_go_over_the_preset_also_where_they_say_the_default():
    assert TrainConfig(**ANY).n_obs_steps == 1
    assert parsed("--preset", "pusht-scale", "--n-obs-steps", "1").n_obs_steps == 1
    assert parsed("--preset=pusht-scale").n_obs_steps == 2
    assert parsed("--n-obs-steps", "1", "--preset", "pusht-scale").learning_rate == 1e-4
    assert parsed().preset is None


def test_flags_of_parts_add_up_with_the_preset():
    config = parsed("--preset", "pusht-scale", "--set", "network.channels=[16, 32]")
    assert "network.channels=[16, 32]" in config.set
    assert "generator.sampler=ddim" in config.set
    assert sum("network.channels" in text for text in config.set) == 1


def test_a_run_shows_the_preset_and_what_became_of_it(data, tmp_path, capsys):
    arguments = ["train", "--data", str(data), "--out", str(tmp_path / "run")]
    arguments += ["--preset", "shortcut", "--steps", "2", "--batch-size", "16"]
    assert main([*arguments, "--set", "network.width=32", "network.blocks=1"]) == 0
    settings = runs.read_config(tmp_path / "run").train
    assert settings["preset"] == "shortcut"
    assert (settings["generator"], settings["steps"]) == ("shortcut", 2)
    assert settings["set"] == [
        "generator.n_steps=1", "generator.beta=0.3", "network.width=32", "network.blocks=1"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "pusht-scal"], "did you mean pusht-scale?"),
        (["--preset"], "Missing value for argument '--preset'"),
        (["--preset", "energy", "--compile"], "second derivatives"),
    ],
)
def test_a_wrong_preset_ends_with_one_clear_line(arguments, message, capsys):
    assert main(["train", "--data", "x", "--out", "y", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_file_holds_nothing_that_is_not_read():
    content = yaml.safe_load(PRESETS.read_text())
    for name, entry in content.items():
        assert read_preset(name).keys() == entry.keys() - {"about"}
        known = asdict(TrainConfig(**ANY)).keys()
        assert entry.keys() - {"about"} <= known
