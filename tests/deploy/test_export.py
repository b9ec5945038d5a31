import itertools
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from bridle.deploy.bundle import load_bundle
from bridle.deploy.exceptions import BundleError, ExportError, InferenceError
from bridle.deploy.export import Parity, export_policy, verify_parity
from bridle.deploy.runtime import Runtime
from bridle.deploy.tokens import Tokenizer
from bridle.policies import (
    DiffusionConfig,
    EmbeddingEncoderConfig,
    EnergyConfig,
    FlowConfig,
    ImageEncoderConfig,
    MLPConfig,
    ObjectEncoderConfig,
    ObjectGroup,
    ObservationEncoderConfig,
    PointCloudEncoderConfig,
    Policy,
    PolicyError,
    RegressionConfig,
    ShortcutConfig,
    StateEncoderConfig,
    TextEncoderConfig,
    TransformerConfig,
    UNetConfig,
    Vocabulary,
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
    parity = verify_parity(policy, bundle, seeds=100, batch=4)
    assert parity.normalised <= 1e-4
    assert parity.score <= 1e-3


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


def test_an_inference_says_where_its_time_went(bundle):
    for walk in (False, True):
        timings = Runtime(bundle, walk=walk).infer(observe(1), noise(1)).timings
        assert (timings.encoder > 0) == walk
        assert timings.sampler > 0
        assert timings.overhead > 0
        parts = timings.encoder + timings.sampler + timings.overhead
        assert parts == pytest.approx(timings.total)


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
    wrong = Parity(radians=0.0, normalised=2e-4, score=0.0, chunks=1)
    monkeypatch.setattr("bridle.deploy.export.exporting.verify_parity", lambda *a, **k: wrong)
    with pytest.raises(ExportError, match=r"differs from PyTorch by 2.00e-04 standard deviations"):
        export_policy(policy, make_source(), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: o.pop("gripper"), "observation 'gripper' is missing"),
        (lambda o: o.update(gripper=np.zeros((1, 1, 2), np.float32)), r"'gripper' must be"),
        (lambda o: o["tcp_pose"].fill(np.nan), "'tcp_pose' has numbers that are not finite"),
        (lambda o: o["tcp_pose"].fill(-np.inf), "'tcp_pose' has numbers that are not finite"),
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
    with pytest.raises(
        BundleError, match="provider must be one of cpu, cuda, tensorrt, openvino, auto"
    ):
        Runtime(bundle, "tpu")


SMALL = {
    "mlp": MLPConfig(width=32, blocks=1),
    "unet": UNetConfig(channels=(16, 32), groups=4, time_channels=16),
    "transformer": TransformerConfig(width=16, layers=1, heads=2),
}


@pytest.mark.parametrize(
    ("network", "generator"),
    [
        ("mlp", ShortcutConfig()),
        ("mlp", RegressionConfig()),
        ("unet", DiffusionConfig(n_steps=3)),
        ("transformer", FlowConfig(solver="midpoint")),
        ("mlp", DiffusionConfig(sampler="dpm-solver++", n_steps=4)),
        ("mlp", EnergyConfig()),
        ("unet", EnergyConfig()),
        ("transformer", EnergyConfig(readout="product")),
        ("mlp", EnergyConfig(momentum=0.5, n_steps=3, timed=False)),
    ],
    ids=str,
)
def test_every_generator_and_network_is_exported(network, generator, policy, tmp_path):
    config = replace(policy.config, network=SMALL[network], generator=generator)
    other = disturbed(fitted(Policy(config)))
    result = export_policy(other, make_source(), tmp_path / "b")
    assert result.onnx_max_normalised_error <= 1e-4
    manifest = load_bundle(tmp_path / "b").manifest
    assert manifest.generator == type(other.generator).__name__.lower()
    assert (manifest.tolerance is not None) == isinstance(generator, EnergyConfig)


def test_a_descent_ends_at_the_step_at_which_pytorch_ends_it(policy, tmp_path):
    policy = fitted(
        Policy(
            replace(policy.config, generator=EnergyConfig(n_steps=16, timed=False, step_size=0.5))
        )
    )
    export_policy(policy, make_source(), tmp_path / "b")
    bundle = load_bundle(tmp_path / "b")
    runtimes = [Runtime(bundle, walk=walk) for walk in (False, True)]
    taken = set()
    for seed, tolerance in itertools.product(range(12), (1.0, 0.5, 0.2, 0.05)):
        observation, z = observe(1 + seed % 3), noise(1 + seed % 3)
        policy.generator.tolerance = tolerance
        cond, _, _ = policy.encode({k: torch.from_numpy(v) for k, v in observation.items()})
        scores = [score.numpy() for _, score in policy.walk(cond, torch.from_numpy(z))]
        for runtime in runtimes:
            found = runtime.infer(observation, z, tolerance=tolerance)
            assert found.steps == len(scores)
            np.testing.assert_allclose(found.scores, scores, atol=1e-3)
        taken.add(len(scores))
    assert len(taken) > 2


PARTS = {
    "pictures": ImageEncoderConfig({"camera_front": (40, 40)}, width=16, features=8),
    "small vit": ImageEncoderConfig(
        {"camera_front": (24, 24), "camera_wrist": (24, 24)}, backbone="vit", width=16, features=8
    ),
    "clouds": PointCloudEncoderConfig(points=32, layers=(16, 16), features=8),
    "sentence": TextEncoderConfig(Vocabulary.of(["put the red cube down"]), width=8),
}


@pytest.mark.parametrize("name", PARTS)
def test_whatever_is_observed_is_exported(name, policy, tmp_path):
    encoder = ObservationEncoderConfig((StateEncoderConfig(KEYS), PARTS[name]))
    other = Policy(replace(policy.config, encoder=encoder, network=SMALL["mlp"]))
    observation = fit(other)
    real = {key: values[:5].numpy() for key, values in observation.items()}
    result = export_policy(other, replace(make_source(), observations=real), tmp_path / "b")
    assert result.onnx_max_normalised_error <= 1e-4
    # One observation is encoded once for many noises.
    runtime = Runtime(load_bundle(tmp_path / "b"))
    one = {key: values[:1] for key, values in real.items()}
    many = {key: values.repeat(5, axis=0) for key, values in one.items()}
    a, b = runtime.infer(one, noise(5)), runtime.infer(many, noise(5))
    assert np.abs(a.chunk - b.chunk).max() <= 1e-5
    wrong = one | {key: v.astype(np.int32) for key, v in one.items() if v.dtype != np.float32}
    if name != "clouds":
        with pytest.raises(InferenceError, match=r"must be (uint8|int64), got int32"):
            runtime.infer(wrong, noise(1))


def test_objects_that_a_sentence_names_are_exported_with_the_tokenizer(policy, tmp_path):
    words = Vocabulary.of(["put the red cube into the left bin", "the blue one"])
    group = ObjectGroup(("red", "blue"), starts=(0, 4), size=4)
    encoder = ObjectEncoderConfig((group,), object_size=8, text=TextEncoderConfig(words, width=8))
    config = replace(
        policy.config,
        encoder=ObservationEncoderConfig((StateEncoderConfig(KEYS), encoder)),
        network=SMALL["mlp"],
    )
    other = Policy(config)
    fit(other)
    export_policy(other, make_source(), tmp_path / "b")
    bundle = load_bundle(tmp_path / "b")
    assert bundle.manifest.follows_instructions
    tokenizer = Tokenizer(bundle.contents["tokenizer.json"], words.length)
    for sentence in ("Put the RED cube into the left bin!", "the blue_one", "", "over there"):
        np.testing.assert_array_equal(tokenizer.encode(sentence), words.encode(sentence))
    with pytest.raises(InferenceError, match="may have 8 words, got 9"):
        tokenizer.encode("one two three four five six seven eight nine")
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        Tokenizer(b"{}", 8)


def test_embeddings_are_refused_in_one_line(policy, tmp_path):
    image = ImageEncoderConfig({"camera_front": (40, 40)}, width=16, features=8)
    encoder = ObservationEncoderConfig((StateEncoderConfig(KEYS), EmbeddingEncoderConfig(image)))
    with pytest.raises(ExportError, match="cannot hold a policy of embeddings yet") as refusal:
        export_policy(
            Policy(replace(policy.config, encoder=encoder)), make_source(), tmp_path / "b"
        )
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "generator",
    [FlowConfig(), DiffusionConfig(n_steps=10), EnergyConfig(n_steps=4)],
    ids=["flow", "diffusion", "energy"],
)
@pytest.mark.parametrize("walk", [False, True], ids=["loop", "walked"])
def test_openvino_runs_the_same_files(generator, walk, policy, tmp_path):
    pytest.importorskip("openvino")
    other = fitted(Policy(replace(policy.config, generator=generator)))
    export_policy(other, make_source(), tmp_path / "b")
    bundle = load_bundle(tmp_path / "b")
    vino = Runtime(bundle, "openvino", walk=walk)
    assert vino.provider == "OpenVINO CPU"
    for batch in (1, 3, 1):
        expected = Runtime(bundle).infer(observe(batch), noise(batch))
        found = vino.infer(observe(batch), noise(batch))
        assert np.abs(found.chunk - expected.chunk).max() <= 1e-4
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-3, atol=1e-4)


def test_what_the_network_is_told_is_computed_before_the_loop(policy, tmp_path):
    other = fitted(Policy(replace(policy.config, network=SMALL["unet"])))
    export_policy(other, make_source(), tmp_path / "b")
    graph = onnx.load(tmp_path / "b" / "policy.onnx").graph
    body = next(node.attribute[0].g for node in graph.node if node.op_type == "Loop")
    assert {"Sin", "Cos"} <= {node.op_type for node in graph.node}
    assert {"Sin", "Cos"}.isdisjoint(node.op_type for node in body.node)
    used = {name for node in body.node for name in node.input}
    assert not any("film" in name or "time" in name for name in used)


def test_a_tolerance_is_for_energies_only(bundle):
    with pytest.raises(InferenceError, match=r"for energies only, got 0\.1"):
        Runtime(bundle).infer(observe(1), noise(1), tolerance=0.1)


def fit(policy: Policy) -> dict[str, torch.Tensor]:
    """Give a policy statistics of random observations, which are returned."""
    draw = {
        torch.uint8: lambda shape: torch.randint(0, 256, shape, dtype=torch.uint8),
        torch.int64: lambda shape: torch.randint(0, 5, shape),
        torch.float32: torch.randn,
    }
    inputs = policy.config.encoder.inputs.items()
    observation = {key: draw[wanted.dtype]((64, 1, *wanted.shape)) for key, wanted in inputs}
    policy.fit(observation | {"action": 0.03 * torch.randn(64, 16, 7)})
    return observation


def disturbed(policy: Policy) -> Policy:
    """Weights beside those of the start, at which transformers say nothing."""
    for weight in policy.network.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    return policy


def fitted(policy: Policy) -> Policy:
    fit(policy)
    return policy
