from dataclasses import replace

import numpy as np
import pytest
import torch

from bridle.deploy.bundle import load_bundle
from bridle.deploy.exceptions import ExportError, InferenceError
from bridle.deploy.export import export_policy, verify_parity
from bridle.deploy.runtime import Runtime
from bridle.policies import (
    DiffusionConfig,
    EnergyConfig,
    ObservationEncoderConfig,
    Policy,
    PolicyError,
    RegressionConfig,
    ShortcutConfig,
    StateEncoderConfig,
)

from .conftest import KEYS, make_policy, make_source


def observe(batch: int, steps: int = 1, scale: float = 1.0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(batch)
    return {
        key: (scale * random.standard_normal((batch, steps, n))).astype(np.float32)
        for key, n in KEYS.items()
    }


def noise(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).standard_normal((batch, 16, 7), dtype=np.float32)


def test_the_whole_sampler_equals_pytorch_on_random_inputs(policy, bundle):
    assert verify_parity(policy, bundle, seeds=100, batch=4) <= 1e-4


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
@pytest.mark.parametrize("n_steps", [1, 4, 10, 32])
def test_any_batch_and_number_of_steps(policy, bundle, batch, n_steps):
    observation, z = observe(batch), noise(batch)
    tensors = {k: torch.from_numpy(v) for k, v in observation.items()}
    expected = policy.sample(tensors, torch.from_numpy(z), n_steps).numpy()
    found = Runtime(bundle).infer(observation, z, n_steps)
    assert np.abs(found.chunk - expected).max() <= 1e-4
    assert found.score.shape == (batch,)


def test_walking_the_step_graph_gives_the_same_chunk_as_the_loop(bundle):
    loop, walked = Runtime(bundle), Runtime(bundle, walk=True)
    observation, z = observe(3), noise(3)
    a, b = loop.infer(observation, z), walked.infer(observation, z)
    assert np.abs(a.chunk - b.chunk).max() <= 1e-5
    assert np.allclose(a.score, b.score, rtol=1e-4)


def test_extreme_observations_agree_too(policy, bundle):
    observation, z = observe(4, scale=100.0), noise(4)
    tensors = {k: torch.from_numpy(v) for k, v in observation.items()}
    expected = policy.sample(tensors, torch.from_numpy(z)).numpy()
    found = Runtime(bundle).infer(observation, z).chunk
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_a_history_of_observations_is_exported(tmp_path):
    policy = make_policy(n_obs_steps=3)
    result = export_policy(policy, make_source(), tmp_path / "b")
    assert result.onnx_max_abs_error <= 1e-4
    assert load_bundle(tmp_path / "b").manifest.first_action == 2


def test_an_unfitted_policy_is_not_exported(policy, tmp_path):
    with pytest.raises(PolicyError, match="statistics are missing"):
        export_policy(Policy(policy.config), make_source(), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_an_export_that_differs_is_not_written(policy, tmp_path, monkeypatch):
    monkeypatch.setattr("bridle.deploy.export.verify_parity", lambda *a, **k: 2e-4)
    with pytest.raises(ExportError, match=r"differs from PyTorch by 2.00e-04 rad"):
        export_policy(policy, make_source(), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: o.pop("gripper"), "observation 'gripper' is missing"),
        (lambda o: o.update(gripper=np.zeros((1, 1, 2), np.float32)), r"'gripper' must be"),
        (lambda o: o["tcp_pose"].fill(np.nan), "'tcp_pose' has numbers that are not finite"),
    ],
)
def test_bad_observations_are_refused_by_name(bundle, change, message):
    observation = observe(1)
    change(observation)
    with pytest.raises(InferenceError, match=message):
        Runtime(bundle).infer(observation, noise(1))


def test_bad_noise_and_unknown_step_counts_are_refused(bundle):
    runtime = Runtime(bundle)
    with pytest.raises(InferenceError, match="noise must be float32"):
        runtime.infer(observe(1), np.zeros((1, 16, 6), np.float32))
    with pytest.raises(InferenceError, match="tables of 1, 2, 4, 8, 10, 16, 32 steps, not 5"):
        runtime.infer(observe(1), noise(1), 5)


def test_the_provider_is_the_one_asked_for(bundle):
    from bridle.deploy.exceptions import BundleError

    with pytest.raises(BundleError, match="provider must be one of cpu, cuda"):
        Runtime(bundle, "tpu")


@pytest.mark.parametrize("kind", [ShortcutConfig, DiffusionConfig, RegressionConfig])
def test_other_generators_are_exported_with_the_steps_they_can_take(kind, policy, tmp_path):
    config = replace(policy.config, generator=kind())
    other = fitted(Policy(config))
    result = export_policy(other, make_source(), tmp_path / "b")
    assert result.onnx_max_abs_error <= 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generator": EnergyConfig()}, "the generator energy take gradients"),
        ({"generator": DiffusionConfig(sampler="dpm-solver++")}, "diffusion remembers more than"),
        (
            {"encoder": ObservationEncoderConfig((StateEncoderConfig(KEYS),))},
            "observe a state, this one has a ObservationEncoder; train with --observe state",
        ),
    ],
)
def test_what_a_bundle_cannot_hold_yet_is_refused_in_one_line(change, message, policy, tmp_path):
    other = fitted(Policy(replace(policy.config, **change)))
    with pytest.raises(ExportError, match=message) as refusal:
        export_policy(other, make_source(), tmp_path / "b")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "b").exists()


def fitted(policy: Policy) -> Policy:
    batch = {key: torch.randn(64, 1, n) for key, n in KEYS.items()}
    policy.fit(batch | {"action": 0.03 * torch.randn(64, 16, 7)})
    return policy
