"""The whole sampler as one ONNX graph: the encoder, and a Loop over the rows of the table.

The exported step becomes the body of the Loop, so that there is one definition of a step, and the
number of steps is that of the table which is given. What the network is told depends on no chunk:
that part of the step goes before the Loop, where it is computed for all rows at once.
"""

import onnx
from onnx import TensorProto, helper

from bridle.deploy.export.convolutions import with_products
from bridle.deploy.export.graphs import STEP, TOLD, integers, same
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
    config, memory = policy.config, policy.generator.memory
    horizon, actions = config.horizon, config.action_size
    columns = len(policy.generator.columns)
    state = _tensor("", ["batch", (1 + memory) * horizon, actions]).type
    one_step = with_products(step.graph)
    told, steps = (
        [node for node in one_step.node if node.name.startswith(part)] for part in (TOLD, STEP)
    )
    weights = [each for each in one_step.initializer if each.name.startswith((TOLD, STEP))]
    constants = [
        integers("horizon", [horizon]),
        integers("entries", [1, 2]),
        integers("zero", [0]),
        integers("one", [1]),
        integers("rest", [-1]),
        integers("row_size", [-1, columns]),
        integers("cond_size", [-1, policy.cond_size]),
    ]
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "iteration"], ["row"], axis=0),
            helper.make_node("Gather", ["modulations", "iteration"], ["now"], axis=0),
            # As many as there are noises.
            helper.make_node("Expand", ["now", "column"], ["modulation"]),
            *steps,
            *(_whether_moved() if stops else [same("condition_in", "condition_out")]),
        ],
        "step",
        [
            helper.make_tensor_value_info("iteration", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition_in", TensorProto.BOOL, []),
            helper.make_value_info("x", state),
        ],
        [
            helper.make_tensor_value_info("condition_out", TensorProto.BOOL, []),
            helper.make_value_info("next", state),
            _tensor("score", ["batch"]),
        ],
    )
    nodes = [
        *seen_once.graph.node,
        helper.make_node("Shape", ["noise"], ["n"], start=0, end=1),
        helper.make_node("Concat", ["n", "one"], ["column"], axis=0),
        helper.make_node("Shape", ["table"], ["n_rows"], start=0, end=1),
        helper.make_node("Squeeze", ["n_rows", "zero"], ["steps"]),
        *_told_of_all(),
        *told,
        helper.make_node("Reshape", [TOLD + "modulation", "by_row"], ["modulations"]),
        *_start(memory),
        helper.make_node("Loop", ["steps", "", "start"], ["end", "scores"], body=body),
        _first("end", "last"),
        helper.make_node("Mul", ["last", "encoder/scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "encoder/offset"], ["chunk"]),
    ]
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
        initializer=[*seen_once.graph.initializer, *weights, *constants],
    )
    model = helper.make_model(graph, opset_imports=step.opset_import, producer_name="bridle")
    model.ir_version = step.ir_version
    onnx.checker.check_model(model)
    return model


def _tensor(name: str, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _told_of_all() -> NodeList:
    """What the network is told of: each row of the table with each condition, row by row."""
    return [
        helper.make_node("Shape", ["encoder/cond"], ["observed"], start=0, end=1),
        helper.make_node("Concat", ["n_rows", "observed", "rest"], ["by_row"], axis=0),
        helper.make_node("Concat", ["n_rows", "observed", "one"], ["grid"], axis=0),
        helper.make_node("Unsqueeze", ["table", "one"], ["each_row"]),
        helper.make_node("Expand", ["each_row", "grid"], ["row_grid"]),
        helper.make_node("Reshape", ["row_grid", "row_size"], ["rows"]),
        helper.make_node("Expand", ["encoder/cond", "grid"], ["cond_grid"]),
        helper.make_node("Reshape", ["cond_grid", "cond_size"], ["cond"]),
    ]


def _first(state: str, chunk: str) -> onnx.NodeProto:
    """The chunk of a state, which comes before what is remembered."""
    return helper.make_node("Slice", [state, "zero", "horizon", "one"], [chunk])


def _start(memory: int) -> NodeList:
    """The noise, and zeros for what a step remembers: `Generator.start`."""
    if not memory:
        return [same("noise", "start")]
    return [
        helper.make_node("Sub", ["noise", "noise"], ["empty"]),
        helper.make_node("Concat", ["noise", *["empty"] * memory], ["start"], axis=1),
    ]


def _whether_moved() -> NodeList:
    """`condition_out`: whether a chunk moved by at least `tolerance`, as in `Policy.walk`."""
    return [
        _first("x", "before"),
        _first("next", "after"),
        helper.make_node("Sub", ["after", "before"], ["move"]),
        helper.make_node("Mul", ["move", "move"], ["square"]),
        helper.make_node("ReduceMean", ["square", "entries"], ["mean"], keepdims=0),
        helper.make_node("Sqrt", ["mean"], ["moved"]),
        helper.make_node("ReduceMax", ["moved"], ["furthest"], keepdims=0),
        helper.make_node("Less", ["furthest", "tolerance"], ["still"]),
        helper.make_node("Not", ["still"], ["condition_out"]),
    ]
