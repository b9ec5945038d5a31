"""Networks in half precision, and what that costs, known without a GPU.

Only what lies between the first and the last matrix product or convolution is in float16. Before
them are the normalisation of observations and the embedding of times, after them the step along the
table: angles of several radians would lose 2e-3 rad there, and they cost next to nothing. Every
input and output of a graph stays float32.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnx.numpy_helper import from_array, to_array
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"})


def halved(model: ModelProto) -> ModelProto:
    """A graph whose network is in float16; one that has none is given back.

    Args:
        model: without control flow.
    """
    parts = _parts(model)
    if parts is None:
        return model
    # Where a backward pass wants its statistics, too, these are float32 by its definition.
    kept = [
        node.name
        for node in parts.network.graph.node
        if node.op_type == "LayerNormalization" and len(node.output) > 1
    ]
    network = convert_float_to_float16(parts.network, keep_io_types=True, node_block_list=kept)
    # It casts what two of them take twice, under one name, and adds its casts at the end.
    unique = {tuple(node.output): node for node in network.graph.node}
    del network.graph.node[:]
    network.graph.node.extend(unique.values())
    OnnxModel(network).topological_sort()
    return _joined(model, parts, network)


def rounded(model: ModelProto) -> ModelProto:
    """A graph in float32 with the errors that `halved` has on a GPU.

    ONNX Runtime has no kernels for float16 on a CPU: it computes such a graph in float32, without
    a word, and what comes out says nothing of a GPU. Here the weights, what enters the network and
    what each of its operators gives are rounded to float16 and back. Kernels of GPUs, too, add up
    in float32 and round what they store.
    """
    parts = _parts(model)
    if parts is None:
        return model
    graph = parts.network.graph
    exact, nodes = "{}/exact".format, list[NodeProto]()
    for value in graph.input:
        if _is_float(value):
            nodes += _rounding(value.name, value.name + "/half")
    entering = {value.name: value.name + "/half" for value in graph.input if _is_float(value)}
    floats = {value.name for value in (*graph.value_info, *graph.output) if _is_float(value)}
    for node in graph.node:
        changed = NodeProto()
        changed.CopyFrom(node)
        changed.input[:] = [entering.get(name, name) for name in node.input]
        changed.output[:] = [exact(name) if name in floats else name for name in node.output]
        nodes.append(changed)
        for name in floats.intersection(node.output):
            nodes += _rounding(exact(name), name)
    weights = [_rounded_weight(weight) for weight in graph.initializer]
    network = helper.make_graph(nodes, "rounded", graph.input, graph.output, weights)
    return _joined(model, parts, helper.make_model(network, opset_imports=model.opset_import))


def _rounding(before: str, after: str) -> list[NodeProto]:
    half = after + "/float16"
    return [
        helper.make_node("Cast", [before], [half], f"{half}/cast", to=TensorProto.FLOAT16),
        helper.make_node("Cast", [half], [after], f"{after}/cast", to=TensorProto.FLOAT),
    ]


def _rounded_weight(weight: TensorProto) -> TensorProto:
    if weight.data_type != TensorProto.FLOAT:
        return weight
    with np.errstate(over="ignore"):
        values = to_array(weight).astype(np.float16).astype(np.float32)
    return from_array(values, weight.name)


@dataclass(frozen=True)
class _Parts:
    """A graph cut into what comes before its network, the network, and what comes after it."""

    before: list[NodeProto]
    network: ModelProto
    after: list[NodeProto]


def _parts(model: ModelProto) -> _Parts | None:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    constants = {each.name for each in graph.initializer}
    """Values that follow from weights alone."""
    reached = set[str]()
    """Values that a product has a part in."""
    for node in graph.node:
        if node.op_type in PRODUCTS or not reached.isdisjoint(node.input):
            reached.update(node.output)
        elif constants.issuperset(filter(None, node.input)):
            constants.update(node.output)
    needed = set[str]()
    """Values that a product needs."""
    asked = {value.name for value in graph.output}
    """Values that are needed outside the network."""
    before, inner, after = list[NodeProto](), list[NodeProto](), list[NodeProto]()
    for node in reversed(graph.node):
        given = set(node.output)
        feeds = node.op_type in PRODUCTS or not needed.isdisjoint(given)
        if feeds:
            needed.update(node.input)
        ready = constants.issuperset(given) and asked.isdisjoint(given)
        if feeds and (ready or not reached.isdisjoint(given)):
            inner.append(node)
            continue
        (after if not reached.isdisjoint(given) else before).append(node)
        asked.update(node.input)
    for part in (before, inner, after):
        part.reverse()
    return _Parts(before, _network(model, graph, inner, after), after) if inner else None


def _network(
    model: ModelProto, graph: onnx.GraphProto, inner: list[NodeProto], after: list[NodeProto]
) -> ModelProto:
    given = {name for node in inner for name in node.output}
    taken = {name for node in inner for name in node.input if name} - given
    wanted = {name for node in after for name in node.input} | {v.name for v in graph.output}
    weights = [each for each in graph.initializer if each.name in taken]
    values = {v.name: v for v in (*graph.input, *graph.value_info, *graph.output)}
    inputs = sorted(taken - {each.name for each in weights})
    network = helper.make_graph(
        inner,
        "network",
        [values[name] for name in inputs],
        [values[name] for name in sorted(given & wanted)],
        weights,
        value_info=[values[name] for name in sorted(given - wanted) if name in values],
    )
    part = helper.make_model(network, opset_imports=model.opset_import)
    part.ir_version = model.ir_version
    return part


def _joined(model: ModelProto, parts: _Parts, network: ModelProto) -> ModelProto:
    # Constants may be of both, and only one of them changes its own.
    network = onnx.compose.add_prefix(
        network, "network/", rename_inputs=False, rename_outputs=False
    )
    used = {name for node in (*parts.before, *parts.after) for name in node.input}
    # An output may be a constant.
    used.update(value.name for value in model.graph.output)
    graph = helper.make_graph(
        [*parts.before, *network.graph.node, *parts.after],
        model.graph.name,
        model.graph.input,
        model.graph.output,
        [each for each in model.graph.initializer if each.name in used]
        + list(network.graph.initializer),
    )
    joined = helper.make_model(
        graph, opset_imports=model.opset_import, producer_name=model.producer_name
    )
    joined.ir_version = model.ir_version
    onnx.checker.check_model(joined, full_check=True)
    return joined


def _is_float(value: ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type == TensorProto.FLOAT
