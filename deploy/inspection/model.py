"""The parts of an ONNX file that decide what it computes, read without the `onnx` package.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). What
is not listed does not belong in a bundle: functions, training, sparse and quantised tensors,
sequences, maps, tensors kept in other files.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bridle.deploy.exceptions import BundleError
from bridle.deploy.inspection.wire import Budget, Entry, Kind, integers, read

ELEMENT_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Data type of a tensor -> bytes per element: every numeric type of whole bytes, and bool."""
INT32, INT64 = 6, 7
_NUMPY: dict[int, np.dtype[np.signedinteger]] = {
    INT32: np.dtype("<i4"),
    INT64: np.dtype("<i8"),
}
_DATA_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")
_IN_INT32_DATA = {2, 3, 4, 5, 6, 9, 10, 16}
MAX_DIMENSIONS = 16
MAX_INSPECTED = 64
"""Tensors of up to this many integers can describe a shape, and are read."""
MAX_GRAPH_DEPTH = 2
"""The graph and, in it, the body of a Loop."""

MODEL = {
    1: Entry("ir_version", Kind.INTEGER),
    2: Entry("producer_name", Kind.IGNORED),
    3: Entry("producer_version", Kind.IGNORED),
    4: Entry("domain", Kind.IGNORED),
    5: Entry("model_version", Kind.INTEGER),
    6: Entry("doc_string", Kind.IGNORED),
    7: Entry("graph", Kind.MESSAGE),
    8: Entry("opsets", Kind.MESSAGES),
    14: Entry("metadata", Kind.IGNORED),
}
OPSET = {1: Entry("domain", Kind.TEXT), 2: Entry("version", Kind.INTEGER)}
GRAPH = {
    1: Entry("nodes", Kind.MESSAGES),
    2: Entry("name", Kind.TEXT),
    5: Entry("initializers", Kind.MESSAGES),
    10: Entry("doc_string", Kind.IGNORED),
    11: Entry("inputs", Kind.MESSAGES),
    12: Entry("outputs", Kind.MESSAGES),
    13: Entry("value_info", Kind.IGNORED),
    16: Entry("metadata", Kind.IGNORED),
}
NODE = {
    1: Entry("inputs", Kind.TEXTS),
    2: Entry("outputs", Kind.TEXTS),
    3: Entry("name", Kind.TEXT),
    4: Entry("operator", Kind.TEXT),
    5: Entry("attributes", Kind.MESSAGES),
    6: Entry("doc_string", Kind.IGNORED),
    7: Entry("domain", Kind.TEXT),
    9: Entry("metadata", Kind.IGNORED),
}
ATTRIBUTE = {
    1: Entry("name", Kind.TEXT),
    2: Entry("float", Kind.FLOAT),
    3: Entry("integer", Kind.INTEGER),
    4: Entry("text", Kind.TEXT),
    5: Entry("tensor", Kind.MESSAGE),
    6: Entry("graph", Kind.MESSAGE),
    7: Entry("floats", Kind.FLOATS),
    8: Entry("integers", Kind.INTEGERS),
    9: Entry("texts", Kind.TEXTS),
    13: Entry("doc_string", Kind.IGNORED),
    20: Entry("type", Kind.INTEGER),
}
TENSOR = {
    1: Entry("dims", Kind.INTEGERS),
    2: Entry("type", Kind.INTEGER),
    4: Entry("float_data", Kind.DATA),
    5: Entry("int32_data", Kind.DATA),
    7: Entry("int64_data", Kind.DATA),
    8: Entry("name", Kind.TEXT),
    9: Entry("raw_data", Kind.DATA),
    10: Entry("double_data", Kind.DATA),
    11: Entry("uint64_data", Kind.DATA),
    12: Entry("doc_string", Kind.IGNORED),
    13: Entry("external_data", Kind.MESSAGES),
    14: Entry("location", Kind.INTEGER),
    16: Entry("metadata", Kind.IGNORED),
}
VALUE = {
    1: Entry("name", Kind.TEXT),
    2: Entry("type", Kind.MESSAGE),
    3: Entry("doc_string", Kind.IGNORED),
    4: Entry("metadata", Kind.IGNORED),
}


@dataclass(frozen=True)
class Tensor:
    """A constant whose data was found to have the size it declares."""

    name: str
    type: int
    elements: int
    integers: tuple[int, ...] | None
    """Its numbers, where they are few enough integers to describe a shape."""


@dataclass(frozen=True)
class Node:
    """One operator of a graph."""

    operator: str
    domain: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, dict[str, Any]]
    body: "Graph | None"
    """The graph in its attribute `body`."""


@dataclass(frozen=True)
class Graph:
    """Operators in the order of the file."""

    nodes: list[Node]
    initializers: list[Tensor]
    inputs: list[str]
    outputs: list[str]


@dataclass(frozen=True)
class Model:
    """What an ONNX file says of itself, and its graph."""

    ir_version: int
    opsets: list[tuple[str, int]]
    graph: Graph


def read_model(data: bytes) -> Model:
    """Read an ONNX file.

    Raises:
        BundleError: it is no ONNX file, or holds what a bundle may not hold.
    """
    # ONNX Runtime would read bytes with this mark as a format of its own, whatever else they are.
    if data[4:8] == b"ORTM":
        raise BundleError("it is in ONNX Runtime's own format, not in ONNX")
    budget = Budget()
    found = read(memoryview(data), MODEL, budget)
    if "graph" not in found:
        raise BundleError("it holds no graph")
    opsets = [read(o, OPSET, budget) for o in found["opsets"]]
    return Model(
        found.get("ir_version", 0),
        [(o.get("domain", ""), o.get("version", 0)) for o in opsets],
        _graph(found["graph"], budget, 1),
    )


def _graph(data: memoryview, budget: Budget, depth: int) -> Graph:
    if depth > MAX_GRAPH_DEPTH:
        raise BundleError("it has a loop within a loop")
    found = read(data, GRAPH, budget)
    return Graph(
        [_node(n, budget, depth) for n in found["nodes"]],
        [read_tensor(t, budget) for t in found["initializers"]],
        list(_names(found["inputs"], budget)),
        list(_names(found["outputs"], budget)),
    )


def _names(values: list[memoryview], budget: Budget) -> Iterator[str]:
    for value in values:
        yield read(value, VALUE, budget).get("name", "")


def _node(data: memoryview, budget: Budget, depth: int) -> Node:
    found = read(data, NODE, budget)
    attributes: dict[str, dict[str, Any]] = {}
    body = None
    for message in found["attributes"]:
        attribute = read(message, ATTRIBUTE, budget)
        name = attribute.get("name", "")
        if name in attributes:
            raise BundleError(f"attribute {name!r} is given twice")
        if "graph" in attribute:
            if name != "body":
                raise BundleError(f"attribute {name!r} holds a graph")
            body = _graph(attribute["graph"], budget, depth + 1)
        if "tensor" in attribute:
            attribute["tensor"] = read_tensor(attribute["tensor"], budget)
        attributes[name] = attribute
    return Node(
        found.get("operator", ""),
        found.get("domain", ""),
        found["inputs"],
        found["outputs"],
        attributes,
        body,
    )


def read_tensor(data: memoryview, budget: Budget) -> Tensor:
    """Read a constant.

    Raises:
        BundleError: its data lies in another file, or has another size than it declares.
    """
    found = read(data, TENSOR, budget)
    name, kind, dims = found.get("name", ""), found.get("type", 0), found["dims"]
    if found["external_data"] or found.get("location", 0) != 0:
        raise BundleError(f"tensor {name!r} keeps its data in another file")
    if kind not in ELEMENT_BYTES:
        raise BundleError(f"tensor {name!r} is of the type {kind}, which is not a number")
    if len(dims) > MAX_DIMENSIONS or any(d < 0 for d in dims):
        raise BundleError(f"tensor {name!r} has the shape {dims[:MAX_DIMENSIONS]}")
    given = [key for key in _DATA_FIELDS if key in found]
    elements = math.prod(dims)
    if len(given) > 1:
        raise BundleError(f"tensor {name!r} has data twice")
    count = _count(kind, given[0], found[given[0]]) if given else 0
    if count != elements:
        raise BundleError(f"tensor {name!r} has {count} numbers, its shape {dims} says {elements}")
    values = None
    if given and kind in _NUMPY and elements <= MAX_INSPECTED:
        content = found[given[0]]
        raw = given[0] == "raw_data"
        numbers = np.frombuffer(content, _NUMPY[kind]).tolist() if raw else integers(content)
        values = tuple(numbers)
    return Tensor(name, kind, elements, values)


def _count(kind: int, where: str, content: memoryview) -> int:
    """Numbers in a tensor's data; -1 where it is not of this kind."""
    width = {"raw_data": ELEMENT_BYTES[kind], "float_data": 4, "double_data": 8}.get(where)
    kinds = {
        "raw_data": set(ELEMENT_BYTES),
        "float_data": {1},
        "double_data": {11},
        "int64_data": {INT64},
        "uint64_data": {12, 13},
        "int32_data": _IN_INT32_DATA,
    }[where]
    if kind not in kinds:
        return -1
    if width is None:
        # Varints: every number ends with its only byte below 128.
        return int(np.count_nonzero(np.frombuffer(content, np.uint8) < 128))
    return len(content) // width if len(content) % width == 0 else -1
