"""The whole sampler as one ONNX graph: the encoder, and a Loop over the rows of the table.

The exported step becomes the body of the Loop, so that there is one definition of a step, and the
number of steps is that of the table which is given.
"""

import onnx
from onnx import TensorProto, helper

from bridle.policies import Policy

NodeList = list[onnx.NodeProto]


def sampler_graph(
    encoder: onnx.ModelProto, step: onnx.ModelProto, policy: Policy, *, stops: bool
) -> onnx.ModelProto:
    """Build the sampler of two graphs.

    It takes the observations, `noise` (B, H, A), `table` (steps, columns) and, if it stops,
    `tolerance` (), and gives `chunk` (B, H, A) and `scores` (steps taken, B). Observations may be
    of one instant while the noise is of many: they are encoded once then.

    Args:
        encoder: see `graphs.encoder_graph`.
        step: see `graphs.step_graph`.
        policy: whose graphs these are.
        stops: whether the walk ends after a step that moves no chunk by `tolerance` or more.
    """
    seen_once = onnx.compose.add_prefix(encoder, "encoder/", rename_inputs=False)
    for value in seen_once.graph.input:
        value.type.tensor_type.shape.dim[0].dim_param = "observed"
    step = onnx.compose.add_prefix(step, "step/")
    config, memory = policy.config, policy.generator.memory
    horizon, actions = config.horizon, config.action_size
    state = _tensor("", ["batch", (1 + memory) * horizon, actions]).type
    constants = [
        _constant("horizon", [horizon]),
        _constant("entries", [1, 2]),
        _constant("zero", [0]),
        _constant("one", [1]),
        _constant("cond_size", [policy.encoder.output_size]),
    ]
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "iteration"], ["step/row"], axis=0),
            helper.make_node("Identity", ["x_in"], ["step/x"]),
            helper.make_node("Identity", ["cond"], ["step/cond"]),
            *step.graph.node,
            *(_whether_moved() if stops else [_same("condition_in", "condition_out")]),
        ],
        "step",
        [
            helper.make_tensor_value_info("iteration", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition_in", TensorProto.BOOL, []),
            helper.make_value_info("x_in", state),
        ],
        [
            helper.make_tensor_value_info("condition_out", TensorProto.BOOL, []),
            helper.make_value_info("step/next", state),
            _tensor("step/score", ["batch"]),
        ],
    )
    nodes = [
        *seen_once.graph.node,
        # As many conditions as there are noises.
        helper.make_node("Shape", ["noise"], ["n"], start=0, end=1),
        helper.make_node("Concat", ["n", "cond_size"], ["cond_shape"], axis=0),
        helper.make_node("Expand", ["encoder/cond", "cond_shape"], ["cond"]),
        helper.make_node("Shape", ["table"], ["table_rows"], start=0, end=1),
        helper.make_node("Squeeze", ["table_rows", "zero"], ["steps"]),
        *_start(memory),
        helper.make_node("Loop", ["steps", "", "start"], ["x", "scores"], body=body),
        _first("x", "end"),
        helper.make_node("Mul", ["end", "encoder/scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "encoder/offset"], ["chunk"]),
    ]
    columns = len(policy.generator.columns)
    graph = helper.make_graph(
        nodes,
        "sampler",
        [
            *seen_once.graph.input,
            _tensor("noise", ["batch", horizon, actions]),
            _tensor("table", ["steps", columns]),
            *([_tensor("tolerance", [])] if stops else []),
        ],
        [_tensor("chunk", ["batch", horizon, actions]), _tensor("scores", ["taken", "batch"])],
        initializer=[*seen_once.graph.initializer, *step.graph.initializer, *constants],
    )
    model = helper.make_model(graph, opset_imports=step.opset_import, producer_name="bridle")
    model.ir_version = step.ir_version
    onnx.checker.check_model(model)
    return model


def _tensor(name: str, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _constant(name: str, values: list[int]) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def _same(before: str, after: str) -> onnx.NodeProto:
    return helper.make_node("Identity", [before], [after])


def _first(state: str, chunk: str) -> onnx.NodeProto:
    """The chunk of a state, which comes before what is remembered."""
    return helper.make_node("Slice", [state, "zero", "horizon", "one"], [chunk])


def _start(memory: int) -> NodeList:
    """The noise, and zeros for what a step remembers: `Generator.start`."""
    if not memory:
        return [_same("noise", "start")]
    return [
        helper.make_node("Sub", ["noise", "noise"], ["empty"]),
        helper.make_node("Concat", ["noise", *["empty"] * memory], ["start"], axis=1),
    ]


def _whether_moved() -> NodeList:
    """`condition_out`: whether a chunk moved by at least `tolerance`, as in `Policy.walk`."""
    return [
        _first("x_in", "before"),
        _first("step/next", "after"),
        helper.make_node("Sub", ["after", "before"], ["move"]),
        helper.make_node("Mul", ["move", "move"], ["square"]),
        helper.make_node("ReduceMean", ["square", "entries"], ["mean"], keepdims=0),
        helper.make_node("Sqrt", ["mean"], ["moved"]),
        helper.make_node("ReduceMax", ["moved"], ["furthest"], keepdims=0),
        helper.make_node("Less", ["furthest", "tolerance"], ["still"]),
        helper.make_node("Not", ["still"], ["condition_out"]),
    ]
