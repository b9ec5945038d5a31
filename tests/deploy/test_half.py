"""Policies in half precision: what is in float16, what is not, and what it costs."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from bridle.deploy import bundle as files
from bridle.deploy.bundle import load_bundle
from bridle.deploy.exceptions import ExportError
from bridle.deploy.export import TOLERANCES, export_policy, verify_parity
from bridle.deploy.export.half import halved, rounded
from bridle.deploy.verification import verify
from bridle.policies import (
    EnergyConfig,
    ImageEncoderConfig,
    ObservationEncoderConfig,
    Policy,
    StateEncoderConfig,
)

from .conftest import KEYS, make_policy, make_source


def network() -> onnx.ModelProto:
    """y = x + 5 + relu((x - 5) w) v: something before the products, and something after them."""
    random = np.random.default_rng(0)
    weights = {
        "w": random.standard_normal((8, 16)).astype(np.float32),
        "v": random.standard_normal((16, 8)).astype(np.float32),
        "five": np.array(5.0, np.float32),
    }
    nodes = [
        helper.make_node("Sub", ["x", "five"], ["centred"]),
        helper.make_node("MatMul", ["centred", "w"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["positive"]),
        helper.make_node("MatMul", ["positive", "v"], ["out"]),
        helper.make_node("Add", ["out", "x"], ["near"]),
        helper.make_node("Add", ["near", "five"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 8]) for n in ("x", "y")]
    graph = helper.make_graph(
        nodes,
        "network",
        values[:1],
        values[1:],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return model


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


def half(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32)


def test_rounding_is_that_of_numpy_in_the_network_and_nowhere_else():
    model = network()
    w, v = (half(numpy_helper.to_array(weight)) for weight in model.graph.initializer[:2])
    x = (5 + np.random.default_rng(1).standard_normal((32, 8))).astype(np.float32)
    hidden = half(half(half(x - 5) @ w).clip(0) @ v)
    np.testing.assert_allclose(run(rounded(model), x), hidden + x + 5, rtol=1e-6)


def test_only_what_lies_between_products_is_in_float16():
    model = halved(network())
    types = {weight.name: weight.data_type for weight in model.graph.initializer}
    assert sorted(types.values()) == [TensorProto.FLOAT] + 2 * [TensorProto.FLOAT16]
    assert types["five"] == TensorProto.FLOAT
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    assert {node.input[0] for node in casts} >= {"centred"}
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    x = np.random.default_rng(1).standard_normal((4, 8)).astype(np.float32)
    np.testing.assert_allclose(run(model, x), run(network(), x), atol=0.1)


def test_a_graph_without_a_network_stays_as_it_is():
    model = network()
    del model.graph.node[1:4]
    model.graph.node[1].input[0] = "centred"
    assert halved(model) is model
    assert rounded(model) is model


def test_a_policy_in_half_precision_says_so_and_how_far_off_it_is(policy, exported, tmp_path):
    result = export_policy(policy, make_source(), tmp_path / "b", precision="float16")
    bundle = load_bundle(tmp_path / "b")
    assert bundle.manifest.precision == result.precision == "float16"
    # Half a unit in the last place of float16 is 4.9e-4.
    assert 1e-4 < result.onnx_max_normalised_error < TOLERANCES["float16"]
    card = bundle.contents[files.CARD].decode()
    assert f"{result.onnx_max_abs_error:.1e} rad" in card
    assert f"{result.onnx_max_normalised_error:.1e} standard deviations" in card
    assert result.bytes < 0.75 * sum(file.stat().st_size for file in exported.iterdir())
    assert verify_parity(policy, bundle, seeds=2).normalised <= TOLERANCES["float16"]
    assert verify(bundle) < 1e-5


def test_where_the_arm_is_loses_nothing(tmp_path):
    policy = make_policy()
    generator = torch.Generator().manual_seed(0)
    far = {k: 6 + 0.03 * torch.randn(64, 1, n, generator=generator) for k, n in KEYS.items()}
    here = torch.nn.functional.pad(far["joint_position"][:, -1:], (0, 1))
    policy.fit(far | {"action": here + 0.03 * torch.randn(64, 16, 7, generator=generator)})
    result = export_policy(policy, make_source(), tmp_path / "b", precision="float16")
    # float16 has steps of 4e-3 at 6 rad.
    assert result.onnx_max_abs_error < 2e-4


PARTS = {
    "energy": {"generator": EnergyConfig()},
    "small vit": {
        "encoder": ObservationEncoderConfig(
            (
                StateEncoderConfig(KEYS),
                ImageEncoderConfig({"camera": (24, 24)}, backbone="vit", width=16, features=8),
            )
        )
    },
}


@pytest.mark.parametrize("name", PARTS)
def test_gradients_and_pictures_are_exported_in_half_precision(name, policy, tmp_path):
    other = Policy(replace(policy.config, **PARTS[name]))
    observation = {
        key: torch.randn(64, 1, *wanted.shape).to(wanted.dtype)
        for key, wanted in other.config.encoder.inputs.items()
    }
    other.fit(observation | {"action": 0.03 * torch.randn(64, 16, 7)})
    result = export_policy(other, make_source(), tmp_path / "b", precision="float16")
    assert result.onnx_max_normalised_error <= TOLERANCES["float16"]


def test_a_policy_that_loses_too_much_is_not_written(policy, tmp_path, monkeypatch):
    monkeypatch.setitem(TOLERANCES, "float16", 1e-6)
    with pytest.raises(ExportError, match=r"allowed 1e-06; export it in float32"):
        export_policy(policy, make_source(), tmp_path / "b", precision="float16")
    assert list(tmp_path.iterdir()) == []
