"""Attacks by the ONNX graphs; every hash is right."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .draft import Draft

ENCODER, STEP, POLICY = "encoder.onnx", "step.onnx", "policy.onnx"
NAMES = (ENCODER, STEP, POLICY)


def any_graph(d: Draft) -> str:
    return d.random.choice(NAMES)


def load(d: Draft, name: str) -> onnx.ModelProto:
    return onnx.load_from_string(d.contents[name])


def constant(name: str, values, dtype=np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


def spoil(d: Draft, name: str, nodes, constants=(), factor: float = 0.0) -> None:
    """Compute something more from the graph, and let an output depend on it.

    Args:
        d: the draft.
        name: of the file.
        nodes: they give `evil`, of any shape, float.
        constants: initialisers that they need.
        factor: of its mean, which is added to an output.
    """
    model = load(d, name)
    graph = model.graph
    graph.initializer.extend(
        [*constants, constant("evil_factor", factor, np.float32), constant("evil_axes", [0])]
    )
    output = graph.output[0].name
    # Only the last writer of the output is renamed: inner graphs have their own names.
    for node in graph.node:
        for i, written in enumerate(node.output):
            if written == output:
                node.output[i] = "honest"
    graph.node.extend(
        [
            *nodes,
            helper.make_node("ReduceMean", ["evil"], ["evil_mean"], keepdims=0),
            helper.make_node("Mul", ["evil_mean", "evil_factor"], ["evil_part"]),
            helper.make_node("Add", ["honest", "evil_part"], [output]),
        ]
    )
    d.contents[name] = model.SerializeToString()


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs, outputs, **attributes)


def external_data(d: Draft) -> None:
    name = any_graph(d)
    model = load(d, name)
    tensor = d.random.choice(model.graph.initializer)
    if d.random.random() < 0.7:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
    location = d.random.choice(["../outside/precious", "/etc/passwd", "card.md", "../" * 40 + "x"])
    for key, value in (("location", location), ("offset", "0"), ("length", "64")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    d.contents[name] = model.SerializeToString()


def external_constant(d: Draft) -> None:
    tensor = constant("x", [1.0], np.float32)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", str(d.outside / "precious")
    spoil(d, any_graph(d), [node("Constant", [], ["evil"], value=tensor)])


def custom_domain(d: Draft) -> None:
    name, domain = (
        any_graph(d),
        d.random.choice(["com.microsoft", "evil", "ai.onnx.ml", "x" * 2000]),
    )
    spoil(d, name, [node("Run", ["evil_axes"], ["evil"], domain=domain)])
    model = load(d, name)
    if d.random.random() < 0.5:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    d.contents[name] = model.SerializeToString()


def unknown_operator(d: Draft) -> None:
    operator = d.random.choice(
        [
            "System",
            "RandomNormalLike",
            "NonZero",
            "If",
            "Scan",
            "ImageDecoder",
            "",
            "loop",
            "Unique",
        ]
    )
    spoil(d, any_graph(d), [node(operator, ["evil_factor"], ["evil"])])


def function(d: Draft) -> None:
    name = any_graph(d)
    model = load(d, name)
    model.functions.append(
        helper.make_function(
            "",
            d.random.choice(["Relu", "Add", "Mine"]),
            ["x"],
            ["y"],
            [node("Identity", ["x"], ["y"])],
            [helper.make_opsetid("", 20)],
        )
    )
    d.contents[name] = model.SerializeToString()


def loop(trips: str, body_nodes, before=()) -> list:
    body = helper.make_graph(
        [*body_nodes, node("Identity", ["evil_go"], ["evil_on"])],
        "evil_body",
        [
            helper.make_tensor_value_info("evil_i", TensorProto.INT64, []),
            helper.make_tensor_value_info("evil_go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("evil_x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("evil_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("evil_y", TensorProto.FLOAT, None),
        ],
    )
    return [*before, node("Loop", [trips, "", "evil_factor"], ["evil"], body=body)]


ROUND = (node("Sin", ["evil_x"], ["evil_y"]),)


def endless_loop(d: Draft) -> None:
    trips = constant("evil_trips", d.random.choice([2**63 - 1, 10**12, 10**9]))
    spoil(d, any_graph(d), loop("evil_trips", ROUND), [trips])


def second_loop(d: Draft) -> None:
    before = [
        node("Shape", ["table"], ["evil_shape"]),
        node("Squeeze", ["evil_rows", "evil_axes"], ["evil_trips"]),
    ]
    before.insert(1, node("Slice", ["evil_shape", "evil_axes", "evil_one"], ["evil_rows"]))
    spoil(d, POLICY, loop("evil_trips", ROUND, before), [constant("evil_one", [1])])


def loop_by_data(d: Draft) -> None:
    name = any_graph(d)
    source = load(d, name).graph.input[0].name
    before = [
        node("ReduceMax", [source], ["evil_max"], keepdims=0),
        node("Mul", ["evil_max", "evil_many"], ["evil_number"]),
        node("Cast", ["evil_number"], ["evil_trips"], to=TensorProto.INT64),
    ]
    spoil(d, name, loop("evil_trips", ROUND, before), [constant("evil_many", 1e18, np.float32)])


def loop_in_loop(d: Draft) -> None:
    """In the body of the sampler's own loop."""
    model = load(d, POLICY)
    outer = next(n for n in model.graph.node if n.op_type == "Loop")
    body = next(a for a in outer.attribute if a.name == "body").g
    zero = constant("evil_factor", 0, np.float32)
    body.initializer.extend([zero, constant("evil_trips", 10**9)])
    body.node.extend(loop("evil_trips", ROUND))
    d.contents[POLICY] = model.SerializeToString()


def longer_loop(d: Draft) -> None:
    """The sampler's own loop, with another number of rounds."""
    model = load(d, POLICY)
    outer = next(n for n in model.graph.node if n.op_type == "Loop")
    outer.input[0] = d.random.choice(["evil_trips", ""])
    model.graph.initializer.append(constant("evil_trips", 10**12))
    d.contents[POLICY] = model.SerializeToString()


def growing_loop(d: Draft) -> None:
    """The sampler's loop carries a vector that grows in every round: harmless in few steps."""
    model = load(d, POLICY)
    outer = next(n for n in model.graph.node if n.op_type == "Loop")
    body = next(a for a in outer.attribute if a.name == "body").g
    carried = len(outer.input) - 2
    outer.input.append("evil_start")
    outer.output.insert(carried, "evil")
    model.graph.initializer.append(constant("evil_start", [0.0], np.float32))
    body.input.append(helper.make_tensor_value_info("evil_x", TensorProto.FLOAT, ["n"]))
    body.output.insert(
        1 + carried, helper.make_tensor_value_info("evil_y", TensorProto.FLOAT, ["m"])
    )
    body.node.append(node("Concat", ["evil_x"] * d.random.choice([3, 4, 8]), ["evil_y"], axis=0))
    d.contents[POLICY] = model.SerializeToString()


def giant_constant(d: Draft) -> None:
    shape = d.random.choice([[2**31, 2**31], [2**40], [10**5] * 3, [2**27]])
    nodes, constants = [node("ConstantOfShape", ["evil_shape"], ["evil"])], []
    if d.random.random() < 0.5:
        nodes.insert(0, node("Constant", [], ["evil_shape"], value=constant("x", shape)))
    else:
        constants.append(constant("evil_shape", shape))
    spoil(d, any_graph(d), nodes, constants)


def giant_computed(d: Draft) -> None:
    """The shape is the product of harmless constants."""
    nodes = [
        node("Mul", ["evil_a", "evil_a"], ["evil_b"]),
        node("Mul", ["evil_b", "evil_b"], ["evil_shape"]),
        node("ConstantOfShape", ["evil_shape"], ["evil"]),
    ]
    spoil(d, any_graph(d), nodes, [constant("evil_a", [d.random.choice([300, 1000, 30_000])])])


def giant_from_shapes(d: Draft) -> None:
    name = any_graph(d)
    source = load(d, name).graph.input[0].name
    nodes = [
        node("Shape", [source], ["evil_of"]),
        node("Mul", ["evil_of", "evil_a"], ["evil_shape"]),
        node("Expand", ["evil_factor", "evil_shape"], ["evil"]),
    ]
    spoil(d, name, nodes, [constant("evil_a", [5000])])


def shape_from_data(d: Draft) -> None:
    name = any_graph(d)
    source = load(d, name).graph.input[0].name
    operator = d.random.choice(["Expand", "ConstantOfShape", "Tile", "Range"])
    nodes = [
        node("ReduceMax", [source], ["evil_max"], keepdims=0),
        node("Mul", ["evil_max", "evil_many"], ["evil_number"]),
        node("Cast", ["evil_number"], ["evil_long"], to=TensorProto.INT64),
        node("Reshape", ["evil_long", "evil_list"], ["evil_shape"]),
    ]
    if operator == "Range":
        nodes.append(node("Range", ["evil_zero", "evil_number", "evil_step"], ["evil"]))
    elif operator == "ConstantOfShape":
        nodes.append(node(operator, ["evil_shape"], ["evil"]))
    else:
        nodes.append(node(operator, ["evil_vector", "evil_shape"], ["evil"]))
    constants = [
        constant("evil_many", 1e12, np.float32),
        constant("evil_list", [1]),
        constant("evil_zero", 0, np.float32),
        constant("evil_step", 1e-6, np.float32),
        constant("evil_vector", [0], np.float32),
    ]
    spoil(d, name, nodes, constants)


def giant_range(d: Draft) -> None:
    numbers = zip("abc", [0, d.random.choice([2**40, 2**62]), 1], strict=True)
    nodes = [
        node("Range", ["evil_a", "evil_b", "evil_c"], ["evil_numbers"]),
        node("Cast", ["evil_numbers"], ["evil"], to=TensorProto.FLOAT),
    ]
    spoil(d, any_graph(d), nodes, [constant(f"evil_{k}", v) for k, v in numbers])


def giant_padding(d: Draft) -> None:
    operator = d.random.choice(["Pad", "Tile", "Resize"])
    size = d.random.choice([2**30, 2**50])
    constants = [constant("evil_vector", [0.0], np.float32)]
    if operator == "Resize":
        constants.append(constant("evil_scale", [float(size)], np.float32))
        nodes = [node("Resize", ["evil_vector", "", "evil_scale"], ["evil"], mode="nearest")]
    else:
        constants.append(constant("evil_size", [size, size][: 2 if operator == "Pad" else 1]))
        nodes = [node(operator, ["evil_vector", "evil_size"], ["evil"])]
    spoil(d, any_graph(d), nodes, constants)


def giant_attribute(d: Draft) -> None:
    nodes = [
        node("Conv", ["evil_x", "evil_w"], ["evil"], pads=[d.random.choice([10**9, 2**40])] * 2)
    ]
    zeros = [constant(f"evil_{k}", np.zeros((1, 1, 1)), np.float32) for k in "xw"]
    spoil(d, any_graph(d), nodes, zeros)


def doubling(d: Draft) -> None:
    """Forty small operators, each of which doubles a vector."""
    nodes = [
        node("Concat", [f"evil_{i}"] * 2, [f"evil_{i + 1}" if i < 39 else "evil"], axis=0)
        for i in range(40)
    ]
    spoil(d, any_graph(d), nodes, [constant("evil_0", [0.0], np.float32)])


def outer_product(d: Draft) -> None:
    nodes = [
        node("ConstantOfShape", ["evil_n"], ["evil_row"]),
        node("Unsqueeze", ["evil_row", "evil_last"], ["evil_column"]),
        node(d.random.choice(["Add", "Mul", "Sub"]), ["evil_row", "evil_column"], ["evil"]),
    ]
    constants = [constant("evil_n", [2**18]), constant("evil_last", [1])]
    spoil(d, any_graph(d), nodes, constants)


def slow(d: Draft) -> None:
    """Small in memory, hours of arithmetic."""
    nodes = [node("ConstantOfShape", ["evil_n"], ["evil_0"])]
    nodes += [
        node("MatMul", [f"evil_{i}", f"evil_{i}"], [f"evil_{i + 1}" if i < 1999 else "evil"])
        for i in range(2000)
    ]
    spoil(d, any_graph(d), nodes, [constant("evil_n", [4096, 4096])])


def declared_dimensions(d: Draft) -> None:
    name = any_graph(d)
    model = load(d, name)
    tensor = d.random.choice(model.graph.initializer)
    del tensor.dims[:]
    tensor.dims.extend(d.random.choice([[2**62], [2**31, 2**33], [-1], [10**6] * 3, [1] * 5000]))
    d.contents[name] = model.SerializeToString()


def data_twice(d: Draft) -> None:
    name = any_graph(d)
    model = load(d, name)
    tensor = d.random.choice(model.graph.initializer)
    tensor.float_data.append(1.0)
    d.contents[name] = model.SerializeToString()


def odd_tensor(d: Draft) -> None:
    name = any_graph(d)
    model = load(d, name)
    kind = d.random.choice([TensorProto.STRING, 0, 99, TensorProto.COMPLEX64, TensorProto.INT4])
    d.random.choice(model.graph.initializer).data_type = kind
    d.contents[name] = model.SerializeToString()


def sparse_tensor(d: Draft) -> None:
    name = any_graph(d)
    model = load(d, name)
    sparse = model.graph.sparse_initializer.add()
    sparse.dims.append(2**40)
    sparse.values.CopyFrom(constant("evil", [1.0], np.float32))
    sparse.indices.CopyFrom(constant("", [0]))
    d.contents[name] = model.SerializeToString()


def field_of(number: int, data: bytes) -> bytes:
    """A length-delimited field of the wire format."""
    length, size = len(data), b""
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    key = number << 3 | 2
    head = bytes([key]) if key < 128 else bytes([key & 127 | 128, key >> 7])
    return head + size + bytes([length]) + data


def nested_deeply(d: Draft) -> None:
    """Graphs in attributes of operators of graphs, thousands deep."""
    graph = b""
    for _ in range(d.random.choice([100, 2000])):
        attribute = field_of(1, b"body") + field_of(6, graph)
        graph = field_of(1, field_of(4, b"Loop") + field_of(5, attribute))
    name = any_graph(d)
    d.contents[name] = b"\x08\x0a" + field_of(7, graph) + field_of(8, b"\x10\x14")


def second_graph(d: Draft) -> None:
    """Protobuf merges what is given twice."""
    name, other = d.random.sample(NAMES, 2)
    d.contents[name] += field_of(7, load(d, other).graph.SerializeToString())


def odd_wire(d: Draft) -> None:
    name = any_graph(d)
    d.contents[name] += d.random.choice(
        [
            b"\x0b" * 5000,
            b"\xff" * 20,
            b"\x0d\0\0\0\0",
            field_of(99, b"x"),
            b"\x3a\xff\xff\xff\xff\x7f",
        ]
    )


def other_format(d: Draft) -> None:
    """Valid ONNX that ONNX Runtime would take for a format of its own."""
    name = any_graph(d)
    d.contents[name] = field_of(2, b"xxORTM") + d.contents[name]


def many_nodes(d: Draft) -> None:
    n = d.random.choice([30_000, 3_000_000])
    graph = field_of(1, field_of(4, b"Relu")) * n
    d.contents[any_graph(d)] = b"\x08\x0a" + field_of(7, graph) + field_of(8, b"\x10\x14")


def other_versions(d: Draft) -> None:
    name = any_graph(d)
    model = load(d, name)
    kind = d.random.randrange(4)
    if kind == 0:
        model.ir_version = d.random.choice([0, 3, 99, 2**40])
    elif kind == 1:
        model.opset_import[0].version = d.random.choice([0, 5, 999])
    elif kind == 2:
        model.opset_import.append(helper.make_opsetid("", 21))
    else:
        del model.opset_import[:]
    d.contents[name] = model.SerializeToString()


def training(d: Draft) -> None:
    name = any_graph(d)
    model = load(d, name)
    model.training_info.add().initialization.name = "evil"
    d.contents[name] = model.SerializeToString()


def undefined_value(d: Draft) -> None:
    spoil(d, any_graph(d), [node("Relu", ["nowhere"], ["evil"])])


def defined_twice(d: Draft) -> None:
    name = any_graph(d)
    first = load(d, name).graph.node[0].output[0]
    spoil(d, name, [node("Relu", ["evil_factor"], ["evil"]), node("Relu", ["evil"], [first])])


def other_outputs(d: Draft) -> None:
    name = any_graph(d)
    model = load(d, name)
    if d.random.random() < 0.5:
        del model.graph.output[1:]
    else:
        extra = helper.make_tensor_value_info(
            model.graph.node[0].output[0], TensorProto.FLOAT, None
        )
        model.graph.output.append(extra)
    d.contents[name] = model.SerializeToString()


def other_inputs(d: Draft) -> None:
    name = any_graph(d)
    model = load(d, name)
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    d.contents[name] = model.SerializeToString()


def not_finite(d: Draft) -> None:
    nodes = [node("Log", ["evil_minus"], ["evil"])]
    spoil(d, any_graph(d), nodes, [constant("evil_minus", [-1.0], np.float32)], 1.0)


def disagreement(d: Draft) -> None:
    """One of the two samplers is a little different."""
    nodes = [node("Identity", ["evil_part_of"], ["evil"])]
    spoil(d, any_graph(d), nodes, [constant("evil_part_of", [1.0], np.float32)], 10.0)


def text_cast(d: Draft) -> None:
    nodes = [node("Cast", ["evil_factor"], ["evil"], to=TensorProto.STRING)]
    spoil(d, any_graph(d), nodes)


def harmless(d: Draft) -> None:
    """No attack: what all of the above do to a graph, without harm."""
    spoil(d, any_graph(d), [node("Sin", ["evil_factor"], ["evil"])])


CONFINED = (giant_computed, giant_from_shapes, growing_loop, doubling, outer_product, slow)
"""What only running them shows."""
ATTACKS = (
    external_data,
    external_constant,
    custom_domain,
    unknown_operator,
    function,
    endless_loop,
    second_loop,
    loop_by_data,
    loop_in_loop,
    longer_loop,
    giant_constant,
    shape_from_data,
    giant_range,
    giant_padding,
    giant_attribute,
    declared_dimensions,
    data_twice,
    odd_tensor,
    sparse_tensor,
    nested_deeply,
    second_graph,
    odd_wire,
    other_format,
    many_nodes,
    other_versions,
    training,
    undefined_value,
    defined_twice,
    other_outputs,
    other_inputs,
    not_finite,
    disagreement,
    text_cast,
    *CONFINED,
)
