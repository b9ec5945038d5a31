"""Convolutions as matrix products, against ONNX Runtime's own."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from bridle.deploy.export.convolutions import with_products

CHANNELS, OUTPUTS, LENGTH = 6, 5, 8


def convolution(size=5, stride=1, pads=(2, 2), groups=1, dilation=1, bias=True) -> onnx.ModelProto:
    random = np.random.default_rng(size)
    weight = random.standard_normal((OUTPUTS * groups, CHANNELS // groups, size), dtype=np.float32)
    weights = {"w": weight, "b": random.standard_normal(len(weight), dtype=np.float32)}
    taken = ["x", "w", "b"] if bias else ["x", "w"]
    length = (LENGTH + sum(pads) - dilation * (size - 1) - 1) // stride + 1
    shape = ["n", len(weight), length]
    nodes = [
        helper.make_node(
            "Conv", taken, ["hidden"], "conv", group=groups, strides=[stride], pads=pads,
            dilations=[dilation], kernel_shape=[size],
        ),
        helper.make_node("Tanh", ["hidden"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", CHANNELS, LENGTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weights[name], name) for name in taken[1:]],
        value_info=[helper.make_tensor_value_info("hidden", TensorProto.FLOAT, shape)],
    )
    return modelled(graph)


def modelled(graph: onnx.GraphProto) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (y,) = session.run(None, {"x": x})
    return y


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bias": False},
        {"size": 1, "pads": (0, 0)},
        {"size": 1, "pads": (0, 0), "stride": 2},
        {"size": 3, "stride": 2, "pads": (1, 1)},
        {"size": 4, "pads": (3, 0)},
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_product_is_the_convolution(settings, batch):
    model = convolution(**settings)
    product = modelled(with_products(model.graph))
    assert "Conv" not in {node.op_type for node in product.graph.node}
    assert "w" not in {each.name for each in product.graph.initializer}
    x = np.random.default_rng(batch).standard_normal((batch, CHANNELS, LENGTH), dtype=np.float32)
    np.testing.assert_allclose(run(product, x), run(model, x), atol=1e-5)


@pytest.mark.parametrize("settings", [{"groups": 2}, {"dilation": 2}], ids=str)
def test_what_is_no_plain_product_stays_as_it_is(settings):
    model = convolution(**settings)
    assert with_products(model.graph) == model.graph


def test_a_length_that_is_not_known_stays_as_it_is():
    model = convolution()
    del model.graph.value_info[:]
    assert [node.op_type for node in with_products(model.graph).node] == ["Conv", "Tanh"]
