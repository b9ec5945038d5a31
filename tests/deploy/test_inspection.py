import json
from contextlib import suppress

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bridle.deploy.bundle import ENCODER, POLICY, STEP, TABLE
from bridle.deploy.exceptions import BundleError, KinematicsError
from bridle.deploy.inspection import (
    inspect_graph,
    inspect_kinematic_model,
    inspect_tables,
    inspect_tokenizer,
)
from bridle.deploy.inspection.model import Graph, read_model
from bridle.deploy.tokens import tokenizer_file

from .conftest import arm_xml


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs, outputs, **attributes)


def tensor(name, shape=("b",)):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def number(name, value):
    return numpy_helper.from_array(np.array(value, np.int64), name)


def graph_of(nodes, constants=(), inputs=("x",), outputs=("y",)) -> bytes:
    graph = helper.make_graph(
        nodes, "g", [tensor(n) for n in inputs], [tensor(n) for n in outputs], list(constants)
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return model.SerializeToString()


def assert_same(ours: Graph, theirs: onnx.GraphProto) -> None:
    assert [n.operator for n in ours.nodes] == [n.op_type for n in theirs.node]
    assert [n.inputs for n in ours.nodes] == [list(n.input) for n in theirs.node]
    assert [n.outputs for n in ours.nodes] == [list(n.output) for n in theirs.node]
    assert ours.inputs == [v.name for v in theirs.input]
    assert ours.outputs == [v.name for v in theirs.output]
    sizes = [(t.name, t.data_type, numpy_helper.to_array(t).size) for t in theirs.initializer]
    assert [(t.name, t.type, t.elements) for t in ours.initializers] == sizes
    for mine, other in zip(ours.nodes, theirs.node, strict=True):
        for attribute in other.attribute:
            if attribute.name == "body":
                assert_same(mine.body, attribute.g)


@pytest.mark.parametrize("name", [ENCODER, STEP, POLICY])
def test_the_reader_sees_what_onnx_sees(bundle, name):
    data = bundle.contents[name]
    assert_same(read_model(data).graph, onnx.load_from_string(data).graph)


def test_a_loop_over_the_table_is_for_the_sampler_alone(bundle):
    inspect_graph(bundle.contents[POLICY], loops=1)
    with pytest.raises(BundleError, match="more loops"):
        inspect_graph(bundle.contents[POLICY], loops=0)


def test_a_shape_may_come_from_shapes():
    nodes = [
        node("Shape", ["x"], ["of_x"]),
        node("Concat", ["of_x", "two"], ["shape"], axis=0),
        node("ConstantOfShape", ["shape"], ["y"]),
    ]
    inspect_graph(graph_of(nodes, [number("two", [2])]), loops=0)


def test_a_tensor_may_be_split_into_any_parts():
    sizes = [2048] * 8  # their product is larger than any tensor may be
    nodes = [
        node("Split", ["x", "sizes"], [f"part{i}" for i in range(8)]),
        node("Identity", ["part0"], ["y"]),
    ]
    inspect_graph(graph_of(nodes, [number("sizes", sizes)]), loops=0)


def test_a_shape_may_not_come_from_data_by_any_way():
    nodes = [
        node("Cast", ["x"], ["long"], to=TensorProto.INT64),
        node("Shape", ["x"], ["of_x"]),
        node("Add", ["long", "of_x"], ["sum"]),
        node("ConstantOfShape", ["sum"], ["y"]),
    ]
    with pytest.raises(BundleError, match=r"ConstantOfShape takes its shape from data \('sum'\)"):
        inspect_graph(graph_of(nodes), loops=0)


@pytest.mark.parametrize("stops", [True, False])
def test_no_shape_comes_from_when_data_ended_a_loop(stops):
    condition = "still" if stops else "go"
    body = helper.make_graph(
        [
            node("ReduceMax", ["x"], ["largest"], keepdims=0),
            node("Greater", ["largest", "largest"], ["still"]),
            node("Identity", [condition], ["on"]),
            node("Identity", ["largest"], ["collected"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            tensor("carried"),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            tensor("carried"),
            tensor("collected"),
        ],
    )
    nodes = [
        node("Shape", ["table"], ["rows"], start=0, end=1),
        node("Squeeze", ["rows"], ["trips"]),
        node("Loop", ["trips", "", "x"], ["end", "all"], body=body),
        node("Shape", ["all"], ["taken"]),
        node("ConstantOfShape", ["taken"], ["y"]),
    ]
    data = graph_of(nodes, inputs=("x", "table"))
    if stops:
        with pytest.raises(BundleError, match=r"takes its shape from data \('taken'\)"):
            inspect_graph(data, loops=1)
    else:
        inspect_graph(data, loops=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:-3], "cut off"),
        (lambda d: d + d, "given twice"),
        (lambda d: d[:4] + b"ORTM" + d[8:], "ONNX Runtime's own format"),
        (lambda d: d + b"\x9b\x06", "unknown type 3"),
        (lambda d: d + b"\x08" + b"\xff" * 11, "more than 64 bits"),
        (lambda d: b"", "holds no graph"),
    ],
)
def test_bytes_that_two_readers_could_read_differently_are_refused(change, message):
    with pytest.raises(BundleError, match=message):
        inspect_graph(change(graph_of([node("Relu", ["x"], ["y"])])), loops=0)


def test_every_cut_of_a_graph_is_refused(bundle):
    data = bundle.contents[ENCODER]
    for end in range(0, len(data), 97):
        with pytest.raises(BundleError):
            inspect_graph(data[:end], loops=0)


def tokenizer(**changes) -> bytes:
    return json.dumps(json.loads(tokenizer_file(("cube", "left"), 5)) | changes).encode()


def test_the_tokenizer_of_an_export_is_accepted():
    inspect_tokenizer(tokenizer())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}}}, "pre_tokenizer"),
        ({"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+$"}}}, "normalizer"),
        ({"model": {"type": "BPE", "vocab": {}, "merges": []}}, "not a list of words"),
        ({"padding": {"strategy": {"Fixed": 10**12}}}, "a fixed length"),
        ({"padding": {"strategy": {"Fixed": 5}, "pad_to_multiple_of": 10**12}}, "one length"),
        ({"padding": None}, "one length"),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(changes, message):
    with pytest.raises(BundleError, match=message):
        inspect_tokenizer(tokenizer(**changes))


def test_an_arm_is_accepted():
    inspect_kinematic_model(arm_xml())


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ('<x:include xmlns:x="u" a="b"/>', "may not have the element"),
        ('<asset><material file="x"/></asset>', "may not refer to other files"),
        ("<!-- <include file='x'/> --><worldbody><body pos='NAN 0 0'/></worldbody>", "not finite"),
    ],
)
def test_what_no_arm_needs_is_refused(inside, message):
    with pytest.raises(KinematicsError, match=message):
        inspect_kinematic_model(f"<mujoco>{inside}</mujoco>")


@pytest.mark.parametrize(
    ("name", "look"),
    [
        (ENCODER, lambda data: inspect_graph(data, loops=0)),
        (TABLE, inspect_tables),
        ("tokenizer", inspect_tokenizer),
    ],
)
def test_random_damage_is_refused_in_no_other_way(bundle, name, look):
    random = np.random.default_rng(0)
    whole = tokenizer() if name == "tokenizer" else bundle.contents[name]
    for _ in range(300):
        data = bytearray(whole)
        for at in random.integers(min(len(data), 3000), size=random.integers(1, 4)):
            data[at] = random.integers(256)
        with suppress(BundleError):
            look(bytes(data))
