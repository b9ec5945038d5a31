"""Policies that LeRobot wrote, and the chunks that it made of them: see `make_policies.py`."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from bridle.cli import main
from bridle.deploy.export import TOLERANCES, Source, build_bundle, verify_parity
from bridle.training import runs

from .written import AFTER, BEFORE, CASES, DATA, MAXIMUM, chunk_of, imported, policy_of


@pytest.mark.parametrize("case", CASES)
def test_an_imported_policy_makes_the_chunks_of_lerobot(case, tmp_path):
    path = policy_of(case, tmp_path / "lerobot")
    imported(path)
    expected = np.load(DATA / case / "expected.npz")
    chunk = chunk_of(tmp_path / "run", case)
    assert np.abs(chunk - expected["chunk"]).max() < MAXIMUM
    config = runs.read_config(tmp_path / "run").policy
    executed = chunk[:, config.first_action : config.first_action + config.n_action_steps]
    assert np.abs(executed - expected["executed"]).max() < MAXIMUM


@pytest.mark.slow
def test_an_imported_policy_can_be_exported(tmp_path):
    imported(policy_of("camera", tmp_path / "lerobot"))
    policy, _ = runs.load_policy(tmp_path / "run")
    source = Source("arm", "<mujoco/>", "push", ("a", "b"), 10.0, (), "0" * 64, {}, "")
    bundle = build_bundle(policy, source, tmp_path / "bundle")
    assert verify_parity(policy, bundle, seeds=2, batch=2).normalised < TOLERANCES["float32"]


def test_a_run_says_where_it_comes_from_and_what_is_seen(tmp_path):
    path = policy_of("cameras_shared_sample", tmp_path / "lerobot")
    result = imported(path, keys={"observation.images.top": "camera_front"})
    assert result.inputs == {
        "joint_position": (3,),
        "object_state": (4,),
        "camera_front": (40, 44, 3),
        "camera_wrist": (40, 44, 3),
    }
    data = runs.read_config(tmp_path / "run").data
    assert data.environment == {
        "cameras": ["front", "wrist"],
        "image_width": 44,
        "image_height": 40,
    }
    assert (data.task, data.control_rate, data.robot) == ("push", 10.0, "unknown")


def test_a_policy_that_is_sampled_with_noise_at_every_step_says_how_it_is_sampled_here(tmp_path):
    stochastic = imported(policy_of("state_sample_ddpm", tmp_path / "a"), out=tmp_path / "run_a")
    assert stochastic.n_steps == 20
    assert "DDPM" in stochastic.notes[0]
    assert imported(policy_of("state", tmp_path / "b"), out=tmp_path / "run_b").notes == ()


def test_fewer_steps_may_be_asked_for(lerobot):
    assert imported(lerobot, n_steps=4).n_steps == 4


def test_statistics_among_the_weights_as_they_once_were_do_as_well(lerobot, tmp_path):
    imported(lerobot, out=tmp_path / "new")
    weights = load_file(lerobot / "model.safetensors")
    for file, prefix in ((BEFORE, "normalize_inputs"), (AFTER, "unnormalize_outputs")):
        for name, values in load_file(lerobot / file).items():
            feature, _, statistic = name.rpartition(".")
            weights[f"{prefix}.buffer_{feature.replace('.', '_')}.{statistic}"] = values
    save_file(weights, lerobot / "model.safetensors")
    for path in lerobot.glob("policy_*"):
        path.unlink()
    imported(lerobot, out=tmp_path / "old")
    assert np.array_equal(chunk_of(tmp_path / "old", "state"), chunk_of(tmp_path / "new", "state"))


def test_names_that_compiling_left_among_the_weights_do_not_matter(lerobot, tmp_path):
    weights = load_file(lerobot / "model.safetensors")
    compiled = {name.replace("unet.", "unet._orig_mod."): v for name, v in weights.items()}
    save_file(compiled, lerobot / "model.safetensors")
    imported(lerobot)
    expected = np.load(DATA / "state" / "expected.npz")["chunk"]
    assert np.abs(chunk_of(tmp_path / "run", "state") - expected).max() < MAXIMUM


def test_a_state_may_be_several_keys(lerobot, tmp_path):
    result = imported(lerobot, keys={"observation.state": "joint_position:2+gripper:1"})
    assert list(result.inputs) == ["joint_position", "gripper", "object_state"]
    expected = np.load(DATA / "state" / "expected.npz")["chunk"]
    assert np.abs(chunk_of(tmp_path / "run", "state") - expected).max() < MAXIMUM


@pytest.mark.parametrize(("mode", "ends"), [("QUANTILES", ("q01", "q99")), ("MIN_MAX", None)])
def test_ends_by_quantiles_are_ends(mode, ends, lerobot, tmp_path):
    for file, processor in ((BEFORE, "pre"), (AFTER, "post")):
        statistics = load_file(lerobot / file)
        if ends:
            for name in list(statistics):
                if name.endswith((".min", ".max")):
                    renamed = name.replace(".min", f".{ends[0]}").replace(".max", f".{ends[1]}")
                    statistics[renamed] = statistics.pop(name)
        save_file(statistics, lerobot / file)
        path = lerobot / f"policy_{processor}processor.json"
        path.write_text(path.read_text().replace("MIN_MAX", mode))
    imported(lerobot)
    expected = np.load(DATA / "state" / "expected.npz")["chunk"]
    assert np.abs(chunk_of(tmp_path / "run", "state") - expected).max() < MAXIMUM


def test_a_channel_that_never_moved_is_minus_one_and_is_not_blown_up(lerobot, tmp_path):
    for file in (BEFORE, AFTER):
        statistics = load_file(lerobot / file)
        for name in ("observation.state", "action"):
            statistics[f"{name}.min"][0] = statistics[f"{name}.max"][0] = 0.7
        save_file(statistics, lerobot / file)
    imported(lerobot)
    policy, _ = runs.load_policy(tmp_path / "run")
    state = torch.tensor([0.7, 0.0, 0.0])
    assert policy.encoder.normalizer.normalize("joint_position", state)[0] == -1
    assert np.allclose(chunk_of(tmp_path / "run", "state")[..., 0], 0.7, atol=1e-6)


def test_the_command_imports_and_says_what_it_found(lerobot, tmp_path, capsys):
    arguments = ["import", "lerobot", str(lerobot), "--out", str(tmp_path / "run")]
    arguments += ["--task", "push", "--rate", "10", "--json", str(tmp_path / "result.json")]
    assert main([*arguments, "--robot", "ur5e_2f85"]) == 2
    assert "ur5e_2f85 has 7 joints, the policy gives 2 numbers" in capsys.readouterr().err
    assert main([*arguments, "--map", "observation.state"]) == 2
    assert "--map is written FEATURE=KEY" in capsys.readouterr().err
    assert main(arguments) == 0
    assert "observes joint_position (3,), object_state (4,)" in capsys.readouterr().out
    assert json.loads((tmp_path / "result.json").read_text())["n_steps"] == 10


def test_kinematics_travel_with_the_run_if_they_can_be_read(lerobot, tmp_path, capsys):
    arguments = ["import", "lerobot", str(lerobot), "--out", str(tmp_path / "run")]
    arguments += ["--task", "push", "--rate", "10", "--kinematics", str(tmp_path / "arm.xml")]
    (tmp_path / "arm.xml").write_text("<mujoco><worldbody>")
    assert main(arguments) == 2
    assert not (tmp_path / "run").exists()
    (tmp_path / "arm.xml").write_text("<mujoco/>")
    assert main(arguments) == 0
    assert (tmp_path / "run" / "robot.xml").read_text() == "<mujoco/>"
