"""The two graphs of a policy as ONNX: its encoder, and one step of its generator.

Both take any batch. A step of an energy holds the gradient: it is first traced into its operations,
the backward ones among them, because the exporter does not follow `autograd.grad` by itself.
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
from torch import Tensor, nn
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from bridle.deploy.exceptions import ExportError
from bridle.policies import Energy, Policy

OPSET = 20
MAX_BATCH = 4096
_aten = torch.ops.aten


class _Encoder(nn.Module):
    def __init__(self, policy: Policy, keys: Sequence[str]) -> None:
        super().__init__()
        self.policy, self.keys = policy, tuple(keys)

    def forward(self, *observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.policy.encode(dict(zip(self.keys, observations, strict=True)))


class _Step(nn.Module):
    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, x: Tensor, row: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return self.policy.step(x, row, cond)


def encoder_graph(policy: Policy, observation: Mapping[str, Tensor]) -> onnx.ModelProto:
    """Observations -> `cond`, `offset`, `scale`.

    Args:
        policy: in evaluation mode.
        observation: an example of each input (2 or more, To, *shape).

    Raises:
        ExportError: something in the encoder has no counterpart in ONNX.
    """
    return _export(
        _Encoder(policy, tuple(observation)),
        tuple(observation.values()),
        tuple(observation),
        ("cond", "offset", "scale"),
        (True,) * len(observation),
    )


def step_graph(policy: Policy, noise: Tensor, cond: Tensor) -> onnx.ModelProto:
    """`x`, `row`, `cond` -> `next`, `score`.

    Args:
        policy: in evaluation mode.
        noise: an example (2 or more, H, A).
        cond: an example (as many, C).

    Raises:
        ExportError: something in the network has no counterpart in ONNX.
    """
    step, example = step_module(policy, noise, cond)
    return _export(step, example, ("x", "row", "cond"), ("next", "score"), (True, False, True))


def step_module(
    policy: Policy, noise: Tensor, cond: Tensor
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """One step without calls of `autograd`, and arguments for it: `step_graph` before ONNX."""
    example = (policy.generator.start(noise), policy.generator.table()[0], cond)
    if isinstance(policy.generator, Energy):
        return _traced(policy, example), example
    return _Step(policy), example


def _traced(policy: Policy, example: tuple[Tensor, ...]) -> nn.Module:
    """A step with its gradient as operations of its own."""
    fixed = deepcopy(policy).requires_grad_(False)

    def step(x: Tensor, row: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return fixed.step(x, row, cond)

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


def _export(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    batched: tuple[bool, ...],
) -> onnx.ModelProto:
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
