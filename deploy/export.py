"""A trained policy as ONNX graphs, verified against PyTorch before anything is written.

The encoder and one step of the generator are exported once each. The whole sampler is then built
from these two graphs: the step becomes the body of an ONNX Loop over the rows of the table, so that
there is one definition of a step and the number of steps is an input.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor, nn

from bridle.deploy import bundle as files
from bridle.deploy.bundle import Bundle, Manifest, TensorSpec, load_bundle, sha256, write_bundle
from bridle.deploy.exceptions import ExportError
from bridle.deploy.runtime import Runtime
from bridle.policies import Energy, Policy, PolicyError, StateEncoder

OPSET = 20
MAX_BATCH = 4096
TABLE_STEPS = (1, 2, 4, 8, 10, 16, 32)
"""Numbers of steps a bundle offers, besides the policy's own, where the generator takes them."""
UNITS = {"tcp_pose": "m, 1", "object_state": "m, 1", "joint_velocity": "rad/s"}
TOLERANCE = 1e-4
"""Largest allowed difference to PyTorch [rad]."""


@dataclass(frozen=True)
class Source:
    """Where a policy comes from, for the manifest and the card."""

    robot: str
    robot_xml: str
    task: str
    joint_names: tuple[str, ...]
    control_rate: float
    instructions: tuple[str, ...]
    dataset_digest: str
    versions: dict[str, str]
    card: str


@dataclass(frozen=True)
class ExportResult:
    """What was written, and how exact it is."""

    path: str
    onnx_max_abs_error: float
    """Largest difference to PyTorch of the whole sampler on random inputs [rad]."""
    checked_chunks: int
    bytes: int


class _Encoder(nn.Module):
    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy, self.keys = policy, tuple(_state_encoder(policy).config.keys)

    def forward(self, *observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.policy.encode(dict(zip(self.keys, observations, strict=True)))


class _Step(nn.Module):
    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, x: Tensor, row: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return self.policy.step(x, row, cond)


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
    if program is None:
        raise ExportError("the exporter gave no program")
    model = program.model_proto
    onnx.checker.check_model(model, full_check=True)
    return model


def _sampler(encoder: onnx.ModelProto, step: onnx.ModelProto, policy: Policy) -> onnx.ModelProto:
    """Encoder, Loop over the rows of `table` with the step as body, then offset + scale * x."""
    encoder = onnx.compose.add_prefix(encoder, "encoder/", rename_inputs=False)
    step = onnx.compose.add_prefix(step, "step/")
    config = policy.config
    x_type = helper.make_tensor_type_proto(
        TensorProto.FLOAT, ["batch", config.horizon, config.action_size]
    )
    score_type = helper.make_tensor_type_proto(TensorProto.FLOAT, ["batch"])
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "iteration"], ["step/row"], axis=0),
            helper.make_node("Identity", ["x_in"], ["step/x"]),
            helper.make_node("Identity", ["encoder/cond"], ["step/cond"]),
            *step.graph.node,
            helper.make_node("Identity", ["condition_in"], ["condition_out"]),
        ],
        "step",
        [
            helper.make_tensor_value_info("iteration", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition_in", TensorProto.BOOL, []),
            helper.make_value_info("x_in", x_type),
            helper.make_value_info("score_in", score_type),
        ],
        [
            helper.make_tensor_value_info("condition_out", TensorProto.BOOL, []),
            helper.make_value_info("step/next", x_type),
            helper.make_value_info("step/score", score_type),
        ],
    )
    zero = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
    nodes = [
        *encoder.graph.node,
        helper.make_node("Shape", ["table"], ["table_rows"], start=0, end=1),
        helper.make_node("Squeeze", ["table_rows", "zero"], ["steps"]),
        helper.make_node("ReduceMean", ["noise", "all_axes"], ["noise_mean"], keepdims=0),
        helper.make_node("Sub", ["noise_mean", "noise_mean"], ["score_start"]),
        helper.make_node("Loop", ["steps", "", "noise", "score_start"], ["x", "score"], body=body),
        helper.make_node("Mul", ["x", "encoder/scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "encoder/offset"], ["chunk"]),
    ]
    graph = helper.make_graph(
        nodes,
        "sampler",
        [
            *encoder.graph.input,
            helper.make_value_info("noise", x_type),
            helper.make_tensor_value_info(
                "table", TensorProto.FLOAT, ["steps", policy.generator.table(1).shape[1]]
            ),
        ],
        [helper.make_value_info("chunk", x_type), helper.make_value_info("score", score_type)],
        initializer=[
            *encoder.graph.initializer,
            *step.graph.initializer,
            zero,
            helper.make_tensor("all_axes", TensorProto.INT64, [2], [1, 2]),
        ],
    )
    model = helper.make_model(graph, opset_imports=step.opset_import, producer_name="bridle")
    model.ir_version = step.ir_version
    onnx.checker.check_model(model)
    return model


def _examples(policy: Policy, batch: int, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Random observations spread three times wider than the training data, and noise."""
    random = torch.Generator().manual_seed(seed)
    config, encoder = policy.config, _state_encoder(policy)
    observation = {
        key: encoder.normalizer.unnormalize(
            key, 3 * torch.randn(batch, encoder.config.n_obs_steps, size, generator=random)
        )
        for key, size in encoder.config.keys.items()
    }
    noise = torch.randn(batch, config.horizon, config.action_size, generator=random)
    return observation, noise


def _tables(policy: Policy) -> bytes:
    own = policy.generator.table()
    tables = {}
    for n in TABLE_STEPS:
        # A shortcut takes powers of two, a regression one step.
        with suppress(PolicyError):
            tables[str(n)] = policy.generator.table(n).numpy()
    tables[str(len(own))] = own.numpy()
    buffer = io.BytesIO()
    np.savez(buffer, **tables)  # type: ignore[arg-type]
    return buffer.getvalue()


def verify_parity(policy: Policy, bundle: Bundle, *, seeds: int = 20, batch: int = 8) -> float:
    """Largest difference between a bundle's two samplers and PyTorch on random inputs [rad]."""
    runtimes = [Runtime(bundle, walk=walk) for walk in (False, True)]
    worst = 0.0
    for seed in range(seeds):
        observation, noise = _examples(policy, batch, seed)
        expected = policy.sample(observation, noise).numpy()
        arrays = {k: v.numpy() for k, v in observation.items()}
        for runtime in runtimes:
            found = runtime.infer(arrays, noise.numpy())
            worst = max(worst, _difference(found.chunk, expected))
    return worst


def _difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.abs(found - expected).max())


def _state_encoder(policy: Policy) -> StateEncoder:
    """The encoder, if a bundle can hold it.

    Raises:
        ExportError: it sees something else.
    """
    if not isinstance(policy.encoder, StateEncoder):
        raise ExportError(
            f"a bundle holds policies that observe a state, this one has a "
            f"{type(policy.encoder).__name__}; train with --observe state"
        )
    return policy.encoder


def _check_generator(policy: Policy) -> None:
    """Refuse a generator that a bundle cannot hold.

    Raises:
        ExportError: naming it, and what to train instead.
    """
    name = type(policy.generator).__name__.lower()
    if isinstance(policy.generator, Energy):
        raise ExportError(
            f"steps of the generator {name} take gradients, which a bundle has not; "
            "train with another --generator, such as flow"
        )
    chunk = torch.zeros(1, policy.config.horizon, policy.config.action_size)
    if policy.generator.start(chunk).shape != chunk.shape:
        raise ExportError(
            f"the generator {name} remembers more than the chunk from step to step (a solver of "
            "higher order), which a bundle cannot; choose another solver and train again"
        )


def export_policy(policy: Policy, source: Source, path: Path) -> ExportResult:
    """Export, check against PyTorch, and write a bundle.

    Raises:
        ExportError: a bundle cannot hold this policy yet, or the exported sampler differs from it
            by more than `TOLERANCE`.
        PolicyError: normalisation statistics are missing.
        BundleError: `path` cannot take the bundle.
    """
    policy = policy.eval()
    state = _state_encoder(policy).config
    _check_generator(policy)
    policy.check_fitted()
    config = policy.config
    observation, noise = _examples(policy, 2, 0)
    keys = tuple(state.keys)
    cond, _, _ = policy.encode(observation)
    with torch.no_grad():
        encoder = _export(
            _Encoder(policy),
            tuple(observation[key] for key in keys),
            keys,
            ("cond", "offset", "scale"),
            (True,) * len(keys),
        )
        step = _export(
            _Step(policy),
            (noise, policy.generator.table()[0], cond),
            ("x", "row", "cond"),
            ("next", "score"),
            (True, False, True),
        )
    contents = {
        files.ENCODER: encoder.SerializeToString(),
        files.STEP: step.SerializeToString(),
        files.POLICY: _sampler(encoder, step, policy).SerializeToString(),
        files.TABLE: _tables(policy),
        files.ROBOT: source.robot_xml.encode(),
        files.CARD: source.card.encode(),
    }
    description: dict[str, Any] = {
        "robot": source.robot,
        "task": source.task,
        "joint_names": list(source.joint_names),
        "control_rate": source.control_rate,
        "n_obs_steps": state.n_obs_steps,
        "horizon": config.horizon,
        "n_action_steps": config.n_action_steps,
        "first_action": config.first_action,
        "n_steps": len(policy.generator.table()),
        "inputs": [
            TensorSpec(key, [-1, state.n_obs_steps, size], "float32", UNITS.get(key, "rad"))
            for key, size in state.keys.items()
        ],
        "outputs": [
            TensorSpec("chunk", [-1, config.horizon, config.action_size], "float32", "rad"),
            TensorSpec("score", [-1], "float32", "1"),
        ],
        "instructions": list(source.instructions),
        "dataset_digest": source.dataset_digest,
        "weights_digest": _weights_digest(policy),
        "versions": source.versions,
    }
    manifest = Manifest(
        format_version=files.FORMAT_VERSION,
        files={name: sha256(data) for name, data in contents.items()},
        **description,
    )
    seeds, batch = 20, 8
    error = verify_parity(policy, Bundle(path, manifest, contents), seeds=seeds, batch=batch)
    if not error <= TOLERANCE:
        raise ExportError(
            f"the exported sampler differs from PyTorch by {error:.2e} rad, allowed {TOLERANCE:.0e}"
        )
    write_bundle(path, contents, description)
    load_bundle(path)
    return ExportResult(
        path=str(path),
        onnx_max_abs_error=error,
        checked_chunks=seeds * batch,
        bytes=sum(map(len, contents.values())),
    )


def _weights_digest(policy: Policy) -> str:
    parts = (
        name.encode() + tensor.cpu().numpy().tobytes()
        for name, tensor in sorted(policy.state_dict().items())
    )
    return sha256(b"".join(parts))
