"""What cannot be carried over is refused, in words that help."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bridle.policies import PolicyError
from bridle.training.exceptions import TrainingError

from .written import BEFORE, DATA, edit, imported, policy_of


@pytest.mark.parametrize(
    ("case", "changes", "message"),
    [
        ("state", {"type": "act"}, "only policies of type 'diffusion' are read, got 'act'"),
        ("state", {"prediction_type": "v_prediction"}, "prediction_type must be epsilon or sample"),
        ("state", {"noise_scheduler_type": "PNDM"}, "noise_scheduler_type must be DDIM or DDPM"),
        ("state", {"beta_schedule": "cosine"}, "schedule 'cosine'"),
        ("state", {"beta_schedule": "linear", "beta_end": 0.1}, "beta_start, beta_end must be"),
        ("state", {"n_groups": 4}, "n_groups must be 8, got 4"),
        ("state", {"clip_sample_range": 0.0}, "clip_sample_range must be a positive number"),
        ("state", {"n_obs_steps": "two"}, 'wrong value type for field "n_obs_steps"'),
        ("state", {"horizon": 7}, "multiple of 2, got 7"),
        ("state", {"down_dims": [8, 32]}, "the weights do not fit the settings: network."),
        ("state", {"diffusion_step_embed_dim": 16}, "the weights do not fit the settings"),
        ("state", {"down_dims": [8, 16, 16]}, "the weights lack what becomes network."),
        ("state", {"use_film_scale_modulation": False}, "the weights do not fit the settings"),
        ("state", {"input_features": {}}, "input_features has no observation.state"),
        ("state", {"output_features": {}}, "output_features must be action alone"),
        ("camera", {"vision_backbone": "resnet34"}, "vision_backbone must be resnet18"),
        ("camera", {"use_group_norm": False}, "use_group_norm must be true"),
        ("camera", {"resize_shape": [96, 96]}, "resize_shape must be null"),
        ("camera", {"crop_shape": [37, 40]}, "crop_shape must be a middle of 40 pixels"),
        ("camera", {"crop_shape": [48, 40]}, "crop_shape must be a middle of 40 pixels"),
        ("camera", {"crop_shape": [34]}, 'wrong value type for field "crop_shape"'),
    ],
)
def test_settings_without_a_counterpart_are_refused_and_nothing_is_written(
    case, changes, message, tmp_path
):
    path = shutil.copytree(DATA / case, tmp_path / "lerobot")
    if case == "camera":  # what is wrong is seen before the weights are looked at
        save_file({}, path / "model.safetensors")
    edit(path / "config.json", **changes)
    with pytest.raises((TrainingError, PolicyError), match=message.replace("(", r"\(")):
        imported(path)
    assert not (tmp_path / "run").exists()


def test_a_setting_that_is_missing_is_named(lerobot):
    content = json.loads((lerobot / "config.json").read_text())
    del content["horizon"]
    (lerobot / "config.json").write_text(json.dumps(content))
    with pytest.raises(TrainingError, match='missing value for field "horizon"'):
        imported(lerobot)


@pytest.mark.parametrize("content", ["", "[]", '{"type": "diffusion"'])
def test_a_damaged_configuration_is_refused(content, lerobot):
    (lerobot / "config.json").write_text(content)
    with pytest.raises(TrainingError, match=r"config\.json"):
        imported(lerobot)


def test_a_folder_without_a_policy_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="is no policy of LeRobot"):
        imported(tmp_path)


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        (("diffusion.unet.final_conv.1.bias", None), "lack what becomes network.output.1.bias"),
        (("diffusion.unet.final_conv.1.bias", "diffusion.unet.x"), "lack what becomes"),
        ((None, "diffusion.unet.late.bias"), "the weights have network.late.bias"),
    ],
)
def test_weights_that_are_missing_or_too_many_are_named(rename, message, lerobot):
    before, after = rename
    weights = load_file(lerobot / "model.safetensors")
    moved = weights.pop(before) if before else np.zeros(3, np.float32)
    if after:
        weights[after] = moved
    save_file(weights, lerobot / "model.safetensors")
    with pytest.raises(TrainingError, match=message):
        imported(lerobot)


def test_weights_that_are_not_finite_are_refused(lerobot):
    weights = load_file(lerobot / "model.safetensors")
    weights["diffusion.unet.final_conv.1.bias"][0] = np.nan
    save_file(weights, lerobot / "model.safetensors")
    with pytest.raises(TrainingError, match="not finite"):
        imported(lerobot)


def test_a_file_that_was_cut_off_is_refused(lerobot):
    weights = lerobot / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(TrainingError, match="cannot be read"):
        imported(lerobot)


def test_missing_statistics_are_named_with_the_way_to_get_them(lerobot):
    for path in lerobot.glob("policy_*"):
        path.unlink()
    with pytest.raises(TrainingError, match=r"observation\.state\.min is missing; .*save_pretr"):
        imported(lerobot)


@pytest.mark.parametrize(
    ("statistic", "value", "message"),
    [
        ("observation.state.max", np.zeros(2, np.float32), "must be 3 finite numbers"),
        ("observation.state.max", np.full(3, np.nan, np.float32), "must be 3 finite numbers"),
        ("observation.state.max", np.full(3, -99, np.float32), "ends before it begins"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(statistic, value, message, lerobot):
    save_file({**load_file(lerobot / BEFORE), statistic: value}, lerobot / BEFORE)
    with pytest.raises(TrainingError, match=message):
        imported(lerobot)


@pytest.mark.parametrize(
    ("step", "config", "message"),
    [
        ("tokenizer_processor", {}, "the step 'tokenizer_processor' cannot be carried over"),
        ("rename_observations_processor", {"rename_map": {"a": "b"}}, "observations are renamed"),
        ("normalizer_processor", {}, "expected one step normalizer_processor, got 2"),
    ],
)
def test_what_else_is_done_to_the_numbers_is_refused(step, config, message, lerobot):
    path = lerobot / "policy_preprocessor.json"
    steps = json.loads(path.read_text())["steps"]
    edit(path, steps=[*steps, {"registry_name": step, "config": config}])
    with pytest.raises(TrainingError, match=message):
        imported(lerobot)


def test_statistics_are_read_from_beside_the_policy_only(lerobot):
    path = lerobot / "policy_preprocessor.json"
    path.write_text(path.read_text().replace(BEFORE, f"../{BEFORE}"))
    with pytest.raises(TrainingError, match="state_file must be a file beside it"):
        imported(lerobot)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, "rate must lie in"),
        ({"rate": float("nan")}, "rate must lie in"),
        ({"task": " "}, "task must have a name"),
        ({"n_steps": 0}, "n_steps must lie in"),
        ({"n_steps": 101}, "n_steps must lie in"),
        ({"keys": {"observation.wrist": "x"}}, "there is no observation.wrist; there are"),
        ({"keys": {"observation.state": "object_state"}}, "two inputs would be called object_stat"),
        ({"keys": {"observation.state": "a:1+b:1"}}, "has 3 channels, 'a:1.b:1' 2"),
        ({"keys": {"observation.state": "a+b"}}, "each part of observation.state has its size"),
        ({"keys": {"observation.state": "my state"}}, "observation.state cannot become 'my state'"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message, lerobot):
    with pytest.raises((TrainingError, PolicyError), match=message):
        imported(lerobot, **options)


def test_pictures_are_called_cameras(tmp_path):
    path = policy_of("camera", tmp_path / "lerobot")
    with pytest.raises(TrainingError, match="pictures are called camera_<name>"):
        imported(path, keys={"observation.image": "front"})


def test_what_is_there_is_not_written_over(lerobot, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()
    with pytest.raises(TrainingError, match="exists; choose another folder"):
        imported(lerobot)
