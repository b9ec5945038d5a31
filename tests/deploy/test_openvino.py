"""Graphs that OpenVINO compiles once more for the shapes that come."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from bridle.deploy.backends import OpenVino, Signature
from bridle.deploy.backends.open_vino import COMPILED
from bridle.deploy.exceptions import BundleError

pytest.importorskip("openvino")


def times(factor: float) -> bytes:
    """y = factor x, for any batch."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])],
    )
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def opened(factor: float) -> OpenVino:
    return OpenVino(times(factor), Signature("step.onnx", ("x",), ("y",)), 1)


def test_any_shapes_come_in_any_order():
    graph = opened(2)
    for n in (*range(1, COMPILED + 3), 1, 3, 1):
        x = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
        (y,) = graph({"x": x})
        np.testing.assert_array_equal(y, 2 * x)


def test_a_graph_for_known_shapes_that_errs_is_not_used(monkeypatch):
    graph = opened(2)
    monkeypatch.setattr(graph, "_model", opened(2.001)._model)
    x = np.ones((1, 2), np.float32)
    for _ in range(2):
        (y,) = graph({"x": x})
        np.testing.assert_array_equal(y, 2 * x)


def test_other_names_than_expected_are_refused():
    with pytest.raises(BundleError, match=r"step.onnx takes \['x'\] and gives \['y'\], expected"):
        OpenVino(times(2), Signature("step.onnx", ("x",), ("z",)), 1)
