"""A trained policy as a bundle, verified against PyTorch before anything is written."""

import io
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from bridle.deploy import bundle as files
from bridle.deploy.bundle import Bundle, Manifest, TensorSpec, load_bundle, sha256, write_bundle
from bridle.deploy.card import half_precision, learned_feasibility
from bridle.deploy.exceptions import ExportError
from bridle.deploy.export.feasibility import feasibility_graph, verify_feasibility
from bridle.deploy.export.graphs import encoder_graph, step_graph, step_parts
from bridle.deploy.export.half import halved, rounded
from bridle.deploy.export.parity import TOLERANCES, examples, verify_parity
from bridle.deploy.export.sampler import sampler_graph
from bridle.deploy.tokens import tokenizer_file
from bridle.policies import EMBEDDING, Energy, Judge, Policy, PolicyError, vocabulary_of

Array = NDArray[Any]
Precision = Literal["float32", "float16"]

TABLE_STEPS = (1, 2, 4, 8, 10, 16, 32)
"""Numbers of steps a bundle offers, besides the policy's own, where the generator takes them."""
UNITS = {
    "tcp_pose": "m, 1",
    "object_state": "m, 1",
    "joint_velocity": "rad/s",
    "point_cloud": "m, 1",
    "instruction": "1",
}
FAR = 100.0
"""How much wider than the training data the extremes are that it is checked on, too."""


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
    cameras: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Cameras whose pictures or points are observed -> width and height of the pictures [px]."""
    observations: Mapping[str, Array] = field(default_factory=dict)
    """Real observations (n, To, *shape) to check the export on as well."""


@dataclass(frozen=True)
class ExportResult:
    """What was written, and how exact it is."""

    path: str
    precision: str
    """What the networks compute in."""
    onnx_max_abs_error: float
    """Largest difference to PyTorch in float32 of the whole sampler on random inputs [rad]. In
    float16 it is that of a GPU, whose rounding is imitated."""
    onnx_max_normalised_error: float
    """The same in units of the actions' standard deviation, on real inputs as well."""
    feasibility_max_error: float | None
    """Largest difference to PyTorch of the critic of feasibility, relative to the larger of its
    value and 1; None if there is none."""
    checked_chunks: int
    bytes: int


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


def _check_policy(policy: Policy) -> None:
    """Refuse what a bundle cannot hold.

    Raises:
        ExportError: naming it, and what to do instead.
        PolicyError: normalisation statistics are missing.
    """
    if EMBEDDING in policy.config.encoder.inputs:
        raise ExportError(
            "a bundle cannot hold a policy of embeddings yet; train with --observe image"
        )
    policy.check_fitted()


@dataclass(frozen=True)
class _Graphs:
    """Encoder, the two parts of a step, and a critic of feasibility if there is one."""

    encoder: ModelProto
    told: ModelProto
    step: ModelProto
    critic: ModelProto | None

    def converted(self, convert: Callable[[ModelProto], ModelProto]) -> "_Graphs":
        # The critic is small, and what it says is compared with 0: it stays as it is.
        encoder, told, step = map(convert, (self.encoder, self.told, self.step))
        return _Graphs(encoder, told, step, self.critic)


@torch.no_grad()
def _graphs(policy: Policy, judge: Judge | None) -> _Graphs:
    observation, noise = examples(policy, 2, 0)
    cond, _, _ = policy.encode(observation)
    critic = None if judge is None else feasibility_graph(policy, judge)
    return _Graphs(encoder_graph(policy, observation), *step_parts(policy, noise, cond), critic)


def _contents(policy: Policy, source: Source, graphs: _Graphs) -> dict[str, bytes]:
    """File name -> content, all but the manifest."""
    step = step_graph(graphs.told, graphs.step)
    stops = isinstance(policy.generator, Energy)
    contents = {
        files.ENCODER: graphs.encoder.SerializeToString(),
        files.STEP: step.SerializeToString(),
        files.POLICY: sampler_graph(graphs.encoder, step, policy, stops=stops).SerializeToString(),
        files.TABLE: _tables(policy),
        files.ROBOT: source.robot_xml.encode(),
        files.CARD: source.card.encode(),
    }
    if graphs.critic is not None:
        contents[files.FEASIBILITY] = graphs.critic.SerializeToString()
        contents[files.CARD] += learned_feasibility().encode()
    if (vocabulary := vocabulary_of(policy.config.encoder)) is not None:
        text = tokenizer_file(vocabulary.words, vocabulary.length)
        contents[files.TOKENIZER] = text.encode()
    return contents


def _description(policy: Policy, source: Source, precision: str) -> dict[str, Any]:
    """The manifest's fields but `format_version` and `files`."""
    config, generator = policy.config, policy.generator
    steps = config.encoder.n_obs_steps
    return {
        "robot": source.robot,
        "task": source.task,
        "joint_names": list(source.joint_names),
        "control_rate": source.control_rate,
        "n_obs_steps": steps,
        "horizon": config.horizon,
        "n_action_steps": config.n_action_steps,
        "first_action": config.first_action,
        "committed": config.committed,
        "n_steps": len(generator.table()),
        "generator": type(generator).__name__.lower(),
        "columns": list(generator.columns),
        "precision": precision,
        "memory": generator.memory,
        "tolerance": generator.tolerance if isinstance(generator, Energy) else None,
        "cameras": {name: list(size) for name, size in source.cameras.items()},
        "inputs": [
            TensorSpec(
                key,
                [-1, steps, *wanted.shape],
                str(wanted.dtype).removeprefix("torch."),
                "1" if wanted.dtype == torch.uint8 else UNITS.get(key, "rad"),
            )
            for key, wanted in config.encoder.inputs.items()
        ],
        "outputs": [
            TensorSpec("chunk", [-1, config.horizon, config.action_size], "float32", "rad"),
            TensorSpec("scores", [-1, -1], "float32", "1"),
        ],
        "instructions": list(source.instructions),
        "dataset_digest": source.dataset_digest,
        "weights_digest": _weights_digest(policy),
        "versions": source.versions,
    }


def build_bundle(policy: Policy, source: Source, path: Path) -> Bundle:
    """Export in float32, without a check and without writing anything.

    Raises:
        ExportError: a bundle cannot hold this policy.
        PolicyError: normalisation statistics are missing.
    """
    policy = policy.eval()
    _check_policy(policy)
    return _bundle(policy, source, path, _graphs(policy, None), "float32")


def _bundle(policy: Policy, source: Source, path: Path, graphs: _Graphs, precision: str) -> Bundle:
    contents = _contents(policy, source, graphs)
    manifest = Manifest(
        format_version=files.FORMAT_VERSION,
        files={name: sha256(data) for name, data in contents.items()},
        **_description(policy, source, precision),
    )
    return Bundle(path, manifest, contents)


def export_policy(
    policy: Policy,
    source: Source,
    path: Path,
    *,
    precision: Precision = "float32",
    feasibility: Judge | None = None,
) -> ExportResult:
    """Export, check against PyTorch, and write a bundle.

    Args:
        policy: to export.
        source: where it comes from.
        path: folder to write.
        precision: what the networks compute in. `float16` is for GPUs; its errors are those of
            `half.rounded`, and the card says how large they are.
        feasibility: a critic, learned on what the policy's encoder says, to take along.

    Raises:
        ExportError: a bundle cannot hold this policy, or the exported sampler or critic differs
            from PyTorch's by more than `TOLERANCES` allows.
        PolicyError: normalisation statistics are missing.
        BundleError: `path` cannot take the bundle.
        InferenceError: it gives numbers that are not finite.
    """
    policy = policy.eval()
    _check_policy(policy)
    graphs = _graphs(policy, feasibility)
    checked = bundle = _bundle(policy, source, path, graphs, precision)
    if precision == "float16":
        bundle = _bundle(policy, source, path, graphs.converted(halved), precision)
        checked = _bundle(policy, source, path, graphs.converted(rounded), precision)
    found = [verify_parity(policy, checked)]
    if source.observations:
        found.append(verify_parity(policy, checked, seeds=4, observations=source.observations))
    if bundle is not checked:
        found.append(verify_parity(policy, bundle, seeds=4))
    far = verify_parity(policy, checked, seeds=4, spread=FAR)
    worst = max(each.normalised for each in found)
    tolerance = TOLERANCES[precision]
    advice = "; export it in float32" if precision == "float16" else ""
    # Where numbers are a hundred times as large, so is what rounding leaves of them.
    for error, allowed in ((worst, tolerance), (far.normalised, FAR * tolerance)):
        if not error <= allowed:
            raise ExportError(
                f"the exported sampler differs from PyTorch by {error:.2e} standard deviations of "
                f"the actions, allowed {allowed:.0e}{advice}"
            )
    judged = None if feasibility is None else verify_feasibility(policy, feasibility, checked)
    if judged is not None and not judged <= tolerance:
        raise ExportError(
            f"the exported critic of feasibility differs from PyTorch by {judged:.2e} of its "
            f"value, allowed {tolerance:.0e}{advice}"
        )
    result = ExportResult(
        path=str(path),
        precision=precision,
        onnx_max_abs_error=max(each.radians for each in found),
        onnx_max_normalised_error=worst,
        feasibility_max_error=judged,
        checked_chunks=sum(each.chunks for each in (*found, far)),
        bytes=sum(map(len, bundle.contents.values())),
    )
    contents = dict(bundle.contents)
    if precision == "float16":
        note = half_precision(result.onnx_max_abs_error, worst, result.checked_chunks)
        contents[files.CARD] += note.encode()
    write_bundle(path, contents, _description(policy, source, precision))
    load_bundle(path)
    return result


def _weights_digest(policy: Policy) -> str:
    parts = (
        name.encode() + tensor.cpu().numpy().tobytes()
        for name, tensor in sorted(policy.state_dict().items())
    )
    return sha256(b"".join(parts))
