"""Convolutions along the horizon as matrix products, for processors.

ONNX Runtime multiplies a convolution's weights, as they lie, with the windows of its input, one
column of the product for each position. A chunk has few: of 16 actions that were halved twice there
are 4, and vectors of 16 numbers stay three quarters empty. Turned round, windows on the left and
weights on the right, vectors run along the channels instead, and weights are packed once, when the
graph is loaded. The sums are the same, term by term.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


def with_products(graph: onnx.GraphProto) -> onnx.GraphProto:
    """A graph with its one-dimensional convolutions rewritten.

    Those of unknown length, in groups or dilated stay as they are.

    Args:
        graph: its `value_info` has the shapes of what its convolutions give.
    """
    weights = {each.name: each for each in graph.initializer}
    lengths = {each.name: _length(each) for each in graph.value_info}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        length = lengths.get(node.output[0], 0)
        if length and _is_plain(node) and node.input[1] in weights:
            weight = numpy_helper.to_array(weights[node.input[1]])
            written, constants = _product(node, weight, length)
            nodes += written
            weights |= {each.name: each for each in constants}
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    return helper.make_graph(
        nodes,
        graph.name,
        graph.input,
        graph.output,
        initializer=[each for name, each in weights.items() if name in used],
        value_info=graph.value_info,
    )


def _length(value: onnx.ValueInfoProto) -> int:
    """Positions of a value (B, C, L); 0 if they are not known or it has another shape."""
    dimensions = value.type.tensor_type.shape.dim
    return int(dimensions[2].dim_value) if len(dimensions) == 3 else 0


def _settings(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _is_plain(node: onnx.NodeProto) -> bool:
    if node.op_type != "Conv":
        return False
    settings = _settings(node)
    return bool(settings["group"] == 1 and settings["dilations"] == [1])


def _product(
    node: onnx.NodeProto, weight: NDArray[np.float32], length: int
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """A convolution (B, C, L) -> (B, outputs, length), and what it needs."""
    outputs, channels, size = weight.shape
    settings = _settings(node)
    (stride,), (before, after) = settings["strides"], settings["pads"]
    windows = stride * np.arange(length)[:, None] + np.arange(size)
    steps: list[tuple[str, dict[str, NDArray[Any]], dict[str, Any]]] = [
        ("Transpose", {}, {"perm": [0, 2, 1]}),
        ("Pad", {"pads": np.array([0, before, 0, 0, after, 0])}, {}),
        ("Gather", {"windows": windows.ravel()}, {"axis": 1}),
        ("Reshape", {"rows": np.array([-1, size * channels])}, {}),
        ("Gemm", {"weight": weight.transpose(2, 1, 0).reshape(-1, outputs)}, {}),
        ("Reshape", {"chunk": np.array([-1, length, outputs])}, {}),
        ("Transpose", {}, {"perm": [0, 2, 1]}),
    ]
    if size == stride == 1 and not before + after:
        del steps[1:3]
    nodes, constants = [], []
    value = node.input[0]
    for i, (operator, given, attributes) in enumerate(steps):
        taken = [f"{node.name}/{name}" for name in given]
        constants += [
            numpy_helper.from_array(np.ascontiguousarray(array), name)
            for name, array in zip(taken, given.values(), strict=True)
        ]
        bias = node.input[2:] if operator == "Gemm" else []
        name = f"{node.name}/{i}"
        result = node.output[0] if i == len(steps) - 1 else name
        nodes.append(
            helper.make_node(operator, [value, *taken, *bias], [result], name, **attributes)
        )
        value = result
    return nodes, constants
