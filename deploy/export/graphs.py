"""The two graphs of a policy as ONNX: its encoder, and one step of its generator.

Both take any batch. A step is made of two parts, of which the first does not need the chunk: what
the network is told, and the step itself. A step of an energy holds the gradient: it is first traced
into its operations, the backward ones among them, because the exporter does not follow
`autograd.grad` by itself.
"""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from typing import Any

import onnx
import torch
from onnx import helper
from torch import Tensor, nn
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from bridle.deploy.exceptions import ExportError
from bridle.policies import Energy, Policy

OPSET = 20
MAX_BATCH = 4096
TOLD, STEP = "told/", "step/"
"""Begin the names of the two parts of a step: what does not need the chunk, and the rest."""
_aten = torch.ops.aten


class _Encoder(nn.Module):
    def __init__(self, policy: Policy, keys: Sequence[str]) -> None:
        super().__init__()
        self.policy, self.keys = policy, tuple(keys)

    def forward(self, *observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.policy.encode(dict(zip(self.keys, observations, strict=True)))


class _Told(nn.Module):
    """What the network is told in the calls of a step, one call after the other."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, rows: Tensor, cond: Tensor) -> Tensor:
        calls = self.policy.generator.times(rows).unbind(dim=1)
        return torch.cat([self.policy.network.modulate(each, cond) for each in calls], dim=-1)


class _Step(nn.Module):
    """A step whose network has been told everything but the chunk."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy
        self.calls = policy.generator.times(policy.generator.table()).shape[-2]

    def forward(self, x: Tensor, row: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
        told = iter(modulation.chunk(self.calls, dim=-1))

        def network(x: Tensor, times: Tensor, cond: Tensor) -> Tensor:
            return self.policy.network.predict(x, next(told))

        return self.policy.generator.step(network, x, row, modulation)


def encoder_graph(policy: Policy, observation: Mapping[str, Tensor]) -> onnx.ModelProto:
    """Observations -> `cond`, `offset`, `scale`.

    Args:
        policy: in evaluation mode.
        observation: an example of each input (2 or more, To, *shape).

    Raises:
        ExportError: something in the encoder has no counterpart in ONNX.
    """
    return exported(
        _Encoder(policy, tuple(observation)),
        tuple(observation.values()),
        tuple(observation),
        ("cond", "offset", "scale"),
        (True,) * len(observation),
    )


def step_parts(
    policy: Policy, noise: Tensor, cond: Tensor
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The two parts of a step, see `step_modules`.

    Args:
        policy: in evaluation mode.
        noise: an example (2 or more, H, A).
        cond: an example (as many, C).

    Raises:
        ExportError: something in the network has no counterpart in ONNX.
    """
    (told, rows), (step, example) = step_modules(policy, noise, cond)
    first = exported(told, rows, ("rows", "cond"), ("modulation",), (True, True))
    second = exported(
        step, example, ("x", "row", "modulation"), ("next", "score"), (True, False, True)
    )
    return first, second


def step_modules(
    policy: Policy, noise: Tensor, cond: Tensor
) -> tuple[tuple[nn.Module, tuple[Tensor, ...]], tuple[nn.Module, tuple[Tensor, ...]]]:
    """The two parts of a step before ONNX, each with arguments for it.

    The first takes `rows` (B, columns) and `cond` and gives `modulation` (B, M). The second takes
    `x`, `row` and `modulation`; it is without calls of `autograd`.
    """
    row = policy.generator.table()[0]
    told = _Told(policy)
    rows = (row.repeat(len(cond), 1), cond)
    step: nn.Module = _Step(policy)
    example = (policy.generator.start(noise), row, told(*rows).detach())
    if isinstance(policy.generator, Energy):
        step = _traced(policy, example)
    return (told, rows), (step, example)


def step_graph(told: onnx.ModelProto, step: onnx.ModelProto) -> onnx.ModelProto:
    """Both parts together: `x`, `row`, `cond` -> `next`, `score`."""
    told = onnx.compose.add_prefix(told, TOLD, rename_inputs=False)
    step = onnx.compose.add_prefix(step, STEP, rename_inputs=False, rename_outputs=False)
    x, row, _ = step.graph.input
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["x"], ["n"], start=0, end=1),
            helper.make_node("Concat", ["n", "one"], ["column"], axis=0),
            # The same row for all.
            helper.make_node("Expand", ["row", "column"], ["rows"]),
            *told.graph.node,
            same(TOLD + "modulation", "modulation"),
            *step.graph.node,
        ],
        "step",
        [x, row, told.graph.input[1]],
        step.graph.output,
        initializer=[*told.graph.initializer, *step.graph.initializer, integers("one", [1])],
        value_info=[*told.graph.value_info, *step.graph.value_info],
    )
    model = helper.make_model(graph, opset_imports=step.opset_import, producer_name="bridle")
    model.ir_version = step.ir_version
    onnx.checker.check_model(model, full_check=True)
    return model


def same(before: str, after: str) -> onnx.NodeProto:
    """Another name for a value."""
    return helper.make_node("Identity", [before], [after])


def integers(name: str, values: list[int]) -> onnx.TensorProto:
    """A constant vector."""
    return helper.make_tensor(name, onnx.TensorProto.INT64, [len(values)], values)


def _traced(policy: Policy, example: tuple[Tensor, ...]) -> nn.Module:
    """A step with its gradient as operations of its own."""
    step = _Step(deepcopy(policy).requires_grad_(False))

    decompositions: dict[Any, Any] = dict(
        get_decompositions(
            [
                _aten.native_group_norm_backward,
                _aten.native_layer_norm_backward,
                _aten.silu_backward,
                _aten.mish_backward,
            ]
        )
    )
    decompositions[_aten.convolution_backward.default] = _convolution_backward
    with _quiet():
        # The example is real where the weights are; what depends on its batch stays symbolic.
        graph: nn.Module = make_fx(
            step,
            tracing_mode="symbolic",
            _allow_non_fake_inputs=True,
            decomposition_table=decompositions,
        )(*example)
    return graph


def _convolution_backward(
    slope: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    wanted: list[bool],
) -> tuple[Tensor, None, None]:
    """Slope of a convolution's input: the transposed convolution of the slope of its output."""
    if wanted[1] or wanted[2]:
        raise ExportError("a step may not need the slope of its weights")
    missing = [0] * len(stride)
    if not transposed:
        # What the stride left over at the end of the input.
        missing = [
            x.shape[2 + i]
            - 1
            - (slope.shape[2 + i] - 1) * stride[i]
            + 2 * padding[i]
            - dilation[i] * (weight.shape[2 + i] - 1)
            for i in range(len(stride))
        ]
    result = _aten.convolution(
        slope, weight, None, stride, padding, dilation, not transposed, missing, groups
    )
    return result, None, None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes to its own developers off a user's screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def exported(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    batched: tuple[bool, ...],
) -> onnx.ModelProto:
    """A module as a graph.

    Args:
        module: put into evaluation mode.
        arguments: an example of each input.
        inputs: their names.
        outputs: names of the outputs.
        batched: for each input whether its first dimension is the batch, which may be any then.

    Raises:
        ExportError: something in it has no counterpart in ONNX.
    """
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    shapes: tuple[Any, ...] = tuple({0: batch} if is_batched else {} for is_batched in batched)
    try:
        with _quiet():
            program = torch.onnx.export(
                module.eval(),
                arguments,
                input_names=list(inputs),
                output_names=list(outputs),
                # A module that takes *observations has one, variadic, argument.
                dynamic_shapes=(shapes,) if isinstance(module, _Encoder) else shapes,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(
            f"{type(module).__name__}: {str(error).strip().splitlines()[0]}"
        ) from error
    if program is None:
        raise ExportError("the exporter gave no program")
    model = program.model_proto
    onnx.checker.check_model(model, full_check=True)
    return model
