"""What a graph of a bundle may compute, decided before ONNX Runtime sees it.

Two rules carry the rest. Operators are pure computation on numbers, from a list. And **shapes
follow from the shapes of the inputs alone**: wherever an operator makes a shape out of numbers
(the target of an Expand, the padding of a Pad, the length of a Range), these numbers must be
constants or be computed from shapes, never from data. So a graph that ran once within a limit of
memory stays within it for every observation, which is what `bridle verify` relies on.
"""

from dataclasses import dataclass, field

from bridle.deploy.exceptions import BundleError
from bridle.deploy.inspection.model import (
    ELEMENT_BYTES,
    INT64,
    Graph,
    Model,
    Node,
    Tensor,
    read_model,
)

IR_VERSIONS = range(8, 14)
OPSETS = range(17, 27)
MAX_NODES = 20_000
MAX_ELEMENTS = 2**26
"""Largest tensor that constants may ask for: 256 MiB of float32."""
MAX_ATTRIBUTE = 2**16
"""Largest kernel, stride, padding or axis in an attribute."""

_ARITHMETIC = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
Cast CastLike Ceil Clip Cos Cosh CumSum Div Equal Erf Exp Floor Fmod Greater GreaterOrEqual
Identity IsInf IsNaN Less LessOrEqual Log Max Mean Min Mod Mul Neg Not Or Pow Reciprocal Round
Sign Sin Sinh Sqrt Sub Sum Tan Tanh Where Xor
"""
_NETWORKS = """
Attention AveragePool BatchNormalization Celu Conv ConvTranspose DequantizeLinear
DynamicQuantizeLinear Einsum Elu GRU Gelu Gemm GlobalAveragePool GlobalMaxPool GridSample
GroupNormalization HardSigmoid HardSwish Hardmax InstanceNormalization LRN LSTM LayerNormalization
LeakyRelu LogSoftmax LpNormalization LpPool MatMul MatMulInteger MaxPool MeanVarianceNormalization
Mish PRelu QuantizeLinear RMSNormalization RNN Relu RotaryEmbedding Selu Shrink Sigmoid Softmax
Softplus Softsign Swish ThresholdedRelu
"""
_REDUCTIONS = """
ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
ReduceProd ReduceSum ReduceSumSquare TopK
"""
_SHAPES = """
Concat Constant ConstantOfShape DepthToSpace Expand EyeLike Flatten Gather GatherElements GatherND
Loop OneHot Pad Range Reshape Resize Scatter ScatterElements ScatterND Shape Size Slice
SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze
"""
OPERATORS = frozenset(f"{_ARITHMETIC} {_NETWORKS} {_REDUCTIONS} {_SHAPES}".split())
"""Nothing random (noise is an input), no text, no sequences, and no shape that data decides."""

_AXES = dict.fromkeys((op for op in _REDUCTIONS.split() if op.startswith("Reduce")), (1,))
SHAPE_INPUTS: dict[str, tuple[int, ...]] = _AXES | {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
}
"""Operator -> its inputs whose numbers, not only their shapes, decide the shape of its output."""
_UNBOUNDED = {"Slice", "Split", "Squeeze", "Unsqueeze", *_AXES}
"""Their constants are axes, ends that mean "as far as it goes", or parts: nothing grows by them."""
_STILL_ROWS = {"Cast", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"}
_TYPES_OF_ATTRIBUTES = {
    1: "float",
    2: "integer",
    3: "text",
    4: "tensor",
    5: "graph",
    6: "floats",
    7: "integers",
    8: "texts",
}


@dataclass
class _Scope:
    """What is known of the values defined so far."""

    loops: int
    """Loops that may still come."""
    defined: set[str] = field(default_factory=set)
    fixed: set[str] = field(default_factory=set)
    """Values that follow from constants and shapes."""
    open: set[str] = field(default_factory=set)
    """Values whose shape depends on when data ended a loop."""
    rows: set[str] = field(default_factory=set)
    """Values that are the shape of the input `table`, or part of it."""
    constants: dict[str, Tensor] = field(default_factory=dict)
    nodes: int = 0

    def define(self, name: str) -> None:
        """Add a value.

        Raises:
            BundleError: there is one of this name.
        """
        if not name or name in self.defined:
            raise BundleError(f"value {name!r} is defined twice" if name else "a value has no name")
        self.defined.add(name)


def inspect_graph(data: bytes, *, loops: int) -> None:
    """Refuse an ONNX file that is anything but bounded computation on its inputs.

    Args:
        data: the file.
        loops: Loops it may have; each must run once per row of the input `table`.

    Raises:
        BundleError: saying what it may not have, without the file's name.
    """
    model = read_model(data)
    _check_versions(model)
    _check_graph(model.graph, _Scope(loops))


def _check_versions(model: Model) -> None:
    if model.ir_version not in IR_VERSIONS:
        raise BundleError(
            f"it has ONNX IR version {model.ir_version}, allowed are "
            f"{IR_VERSIONS.start} to {IR_VERSIONS.stop - 1}"
        )
    if [domain for domain, _ in model.opsets] not in ([""], ["ai.onnx"]):
        domains = ", ".join(repr(domain) for domain, _ in model.opsets[:4])
        raise BundleError(f"it uses the operator sets {domains}; a bundle has ONNX's own alone")
    version = model.opsets[0][1]
    if version not in OPSETS:
        raise BundleError(
            f"it has operator set {version}, allowed are {OPSETS.start} to {OPSETS.stop - 1}"
        )


def _check_graph(graph: Graph, scope: _Scope) -> None:
    for tensor in graph.initializers:
        scope.define(tensor.name)
        scope.fixed.add(tensor.name)
        scope.constants[tensor.name] = tensor
    for name in graph.inputs:
        scope.define(name)
    for node in graph.nodes:
        scope.nodes += 1
        if scope.nodes > MAX_NODES:
            raise BundleError(f"it has more than {MAX_NODES} operators")
        _check_node(node, scope, graph)
    for name in graph.outputs:
        if name not in scope.defined:
            raise BundleError(f"output {name!r} is never computed")


def _check_node(node: Node, scope: _Scope, graph: Graph) -> None:
    if node.domain not in ("", "ai.onnx"):
        raise BundleError(f"operator {node.operator} is of the domain {node.domain!r}")
    if node.operator not in OPERATORS:
        raise BundleError(f"operator {node.operator!r} is not one that a bundle may have")
    for name in node.inputs:
        if name and name not in scope.defined:
            raise BundleError(f"{node.operator} takes {name!r}, which nothing before it gives")
    _check_attributes(node)
    _check_shape_inputs(node, scope)
    if node.operator == "Loop":
        _check_loop(node, scope)
    for name in filter(None, node.outputs):
        scope.define(name)
        if any(n in scope.open for n in node.inputs):
            scope.open.add(name)
        elif _is_fixed(node, scope):
            scope.fixed.add(name)
        if _is_rows(node, scope, graph):
            scope.rows.add(name)
        if node.operator == "Constant":
            scope.constants[name] = _constant(node, name)


def _constant(node: Node, name: str) -> Tensor:
    for attribute in node.attributes.values():
        if "tensor" in attribute:
            tensor: Tensor = attribute["tensor"]
            return tensor
        numbers = attribute["integers"] or [attribute.get("integer", 0)]
        return Tensor(name, INT64, len(numbers), tuple(numbers))
    raise BundleError("Constant has no value")


def _is_fixed(node: Node, scope: _Scope) -> bool:
    if node.operator in ("Shape", "Size"):
        return True
    return node.operator != "Loop" and all(n in scope.fixed for n in node.inputs if n)


def _is_rows(node: Node, scope: _Scope, graph: Graph) -> bool:
    if node.operator == "Shape":
        return node.inputs == ["table"] and "table" in graph.inputs
    return node.operator in _STILL_ROWS and bool(node.inputs) and node.inputs[0] in scope.rows


def _check_attributes(node: Node) -> None:
    for name, attribute in node.attributes.items():
        kind = _TYPES_OF_ATTRIBUTES.get(attribute.get("type", 0))
        present = {
            key for key in _TYPES_OF_ATTRIBUTES.values() if attribute.get(key) not in (None, [])
        }
        # An attribute of the value zero, or an empty list, may be left out.
        if kind is None or not present <= {kind}:
            raise BundleError(f"attribute {name!r} of {node.operator} is not of one known type")
        if kind == "graph" and node.operator != "Loop":
            raise BundleError(f"{node.operator} holds a graph")
        numbers = attribute["integers"] if node.operator != "Constant" else ()
        if any(abs(number) > MAX_ATTRIBUTE for number in numbers):
            raise BundleError(
                f"attribute {name!r} of {node.operator} is larger than {MAX_ATTRIBUTE}"
            )
        if name == "to" and attribute.get("integer", 0) not in ELEMENT_BYTES:
            raise BundleError(f"{node.operator} makes something other than numbers")


def _check_shape_inputs(node: Node, scope: _Scope) -> None:
    for i in SHAPE_INPUTS.get(node.operator, ()):
        name = node.inputs[i] if i < len(node.inputs) else ""
        if not name:
            continue
        if name not in scope.fixed:
            raise BundleError(f"{node.operator} takes its shape from data ({name!r})")
        constant = scope.constants.get(name)
        if constant is not None and node.operator not in _UNBOUNDED:
            _check_constant_shape(node.operator, constant)


def _check_constant_shape(operator: str, constant: Tensor) -> None:
    size = 1
    for number in constant.integers or ():
        size *= max(1, abs(number))
        if size > MAX_ELEMENTS:
            raise BundleError(f"{operator} makes a tensor of more than {MAX_ELEMENTS} numbers")


def _check_loop(node: Node, scope: _Scope) -> None:
    scope.loops -= 1
    if scope.loops < 0:
        raise BundleError("it has more loops than a bundle's graph of this name may have")
    body = node.body
    if body is None or len(node.inputs) < 3 or len(body.inputs) != len(node.inputs):
        raise BundleError("its loop has no body that fits it")
    if len(body.outputs) != len(node.outputs) + 1 or len(body.outputs) < len(body.inputs) - 1:
        raise BundleError("its loop has no body that fits it")
    if node.inputs[0] not in scope.rows:
        raise BundleError("its loop does not run once per row of the table")
    # The number of the round is the same for every observation.
    scope.fixed.add(body.inputs[0])
    if not node.inputs[1] or node.inputs[1] in scope.fixed:
        scope.fixed.add(body.inputs[1])
    _check_graph(body, scope)
    if body.outputs[0] not in scope.fixed:
        scope.open.update(node.outputs)
