"""A trained policy as a bundle, verified against PyTorch before anything is written."""

import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridle.deploy import bundle as files
from bridle.deploy.bundle import Bundle, Manifest, TensorSpec, load_bundle, sha256, write_bundle
from bridle.deploy.exceptions import ExportError
from bridle.deploy.export.graphs import encoder_graph, step_graph
from bridle.deploy.export.sampler import sampler_graph
from bridle.deploy.runtime import Runtime
from bridle.deploy.tokens import tokenizer_file
from bridle.policies import EMBEDDING, Energy, Input, Normalizer, Policy, PolicyError, vocabulary_of

Array = NDArray[Any]

TABLE_STEPS = (1, 2, 4, 8, 10, 16, 32)
"""Numbers of steps a bundle offers, besides the policy's own, where the generator takes them."""
UNITS = {
    "tcp_pose": "m, 1",
    "object_state": "m, 1",
    "joint_velocity": "rad/s",
    "point_cloud": "m, 1",
    "instruction": "1",
}
TOLERANCE = 1e-4
"""Largest allowed difference to PyTorch, in units of the actions' standard deviation."""
SEEDS, BATCH = 20, 8
"""Random draws that an export is checked on, and chunks of each."""
ROUNDING = 2 * float(np.finfo(np.float32).eps)
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
    onnx_max_abs_error: float
    """Largest difference to PyTorch of the whole sampler on random inputs [rad]."""
    onnx_max_normalised_error: float
    """The same in units of the actions' standard deviation, on real inputs as well."""
    checked_chunks: int
    bytes: int


def examples(
    policy: Policy, batch: int, seed: int, spread: float = 3.0
) -> tuple[dict[str, Tensor], Tensor]:
    """Random observations, and noise.

    Args:
        policy: what shall be able to observe them.
        batch: how many.
        seed: of the draw.
        spread: how much wider than the training data numbers are.
    """
    random = torch.Generator().manual_seed(seed)
    config = policy.config
    observation = {
        key: _random(policy, key, wanted, (batch, config.encoder.n_obs_steps), spread, random)
        for key, wanted in config.encoder.inputs.items()
    }
    noise = torch.randn(batch, config.horizon, config.action_size, generator=random)
    return observation, noise


def _random(
    policy: Policy,
    key: str,
    wanted: Input,
    leading: tuple[int, int],
    spread: float,
    random: torch.Generator,
) -> Tensor:
    shape = (*leading, *wanted.shape)
    if wanted.dtype == torch.uint8:
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    if wanted.dtype == torch.int64:
        vocabulary = vocabulary_of(policy.config.encoder)
        return torch.randint(0, vocabulary.size if vocabulary else 1, shape, generator=random)
    values = torch.randn(shape, generator=random)
    for module in policy.encoder.modules():
        if isinstance(module, Normalizer) and key in module.names:
            n = len(module.mean(key))
            values[..., :n] = module.unnormalize(key, spread * values[..., :n])
            break
    return values


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


@dataclass(frozen=True)
class Parity:
    """How far a bundle is from PyTorch at most."""

    radians: float
    normalised: float
    """In units of the actions' standard deviation."""
    score: float
    """Of the scores, relative to the larger of theirs and 1."""
    chunks: int


def verify_parity(
    policy: Policy,
    bundle: Bundle,
    *,
    seeds: int = SEEDS,
    batch: int = BATCH,
    spread: float = 3.0,
    observations: Mapping[str, Array] | None = None,
) -> Parity:
    """Compare a bundle's two samplers with PyTorch.

    Args:
        policy: in evaluation mode.
        bundle: made from it.
        seeds: draws of noise and observations.
        batch: chunks of each.
        spread: how much wider than the training data random observations are.
        observations: real ones (n, To, *shape), to draw from instead.
    """
    runtimes = [Runtime(bundle, walk=walk) for walk in (False, True)]
    radians = normalised = score = 0.0
    for seed in range(seeds):
        observation, noise = examples(policy, batch, seed, spread)
        if observations:
            pick = np.random.default_rng(seed).integers(
                len(next(iter(observations.values()))), size=batch
            )
            observation = {key: torch.from_numpy(observations[key][pick]) for key in observation}
        cond, offset, scale = policy.encode(observation)
        walked = list(policy.walk(cond, noise))
        chunk = (offset + scale * walked[-1][0]).detach().numpy()
        scores = torch.stack([each for _, each in walked]).numpy()
        for runtime in runtimes:
            found = runtime.infer({k: v.numpy() for k, v in observation.items()}, noise.numpy())
            if found.scores.shape != scores.shape:
                raise ExportError(
                    f"the exported sampler took {len(found.scores)} steps, PyTorch {len(scores)}"
                )
            error = np.abs(found.chunk - chunk)
            radians = max(radians, float(error.max()))
            # Not what float32 leaves of an angle: a joint that hardly moves has a tiny scale.
            left = np.maximum(0.0, error - ROUNDING * np.abs(chunk))
            normalised = max(normalised, float((left / scale.numpy()).max()))
            off = np.abs(found.scores - scores) / np.maximum(1.0, np.abs(scores))
            score = max(score, float(off.max()))
    return Parity(radians, normalised, score, seeds * batch)


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


@torch.no_grad()
def _contents(policy: Policy, source: Source) -> dict[str, bytes]:
    """File name -> content, all but the manifest."""
    observation, noise = examples(policy, 2, 0)
    cond, _, _ = policy.encode(observation)
    encoder = encoder_graph(policy, observation)
    step = step_graph(policy, noise, cond)
    sampler = sampler_graph(encoder, step, policy, stops=isinstance(policy.generator, Energy))
    contents = {
        files.ENCODER: encoder.SerializeToString(),
        files.STEP: step.SerializeToString(),
        files.POLICY: sampler.SerializeToString(),
        files.TABLE: _tables(policy),
        files.ROBOT: source.robot_xml.encode(),
        files.CARD: source.card.encode(),
    }
    if (vocabulary := vocabulary_of(policy.config.encoder)) is not None:
        text = tokenizer_file(vocabulary.words, vocabulary.length)
        contents[files.TOKENIZER] = text.encode()
    return contents


def _description(policy: Policy, source: Source) -> dict[str, Any]:
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
        "n_steps": len(generator.table()),
        "generator": type(generator).__name__.lower(),
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
    """Export, without a check and without writing anything.

    Raises:
        ExportError: a bundle cannot hold this policy.
        PolicyError: normalisation statistics are missing.
    """
    policy = policy.eval()
    _check_policy(policy)
    contents = _contents(policy, source)
    manifest = Manifest(
        format_version=files.FORMAT_VERSION,
        files={name: sha256(data) for name, data in contents.items()},
        **_description(policy, source),
    )
    return Bundle(path, manifest, contents)


def export_policy(policy: Policy, source: Source, path: Path) -> ExportResult:
    """Export, check against PyTorch, and write a bundle.

    Raises:
        ExportError: a bundle cannot hold this policy, or the exported sampler differs from it by
            more than `TOLERANCE`.
        PolicyError: normalisation statistics are missing.
        BundleError: `path` cannot take the bundle.
    """
    bundle = build_bundle(policy, source, path)
    found = [verify_parity(policy, bundle)]
    if source.observations:
        found.append(verify_parity(policy, bundle, seeds=4, observations=source.observations))
    worst = max(each.normalised for each in found)
    far = verify_parity(policy, bundle, seeds=4, spread=FAR)
    # Where numbers are a hundred times as large, so is what rounding leaves of them.
    for error, allowed in ((worst, TOLERANCE), (far.normalised, FAR * TOLERANCE)):
        if not error <= allowed:
            raise ExportError(
                f"the exported sampler differs from PyTorch by {error:.2e} standard deviations of "
                f"the actions, allowed {allowed:.0e}"
            )
    write_bundle(path, bundle.contents, _description(policy, source))
    load_bundle(path)
    return ExportResult(
        path=str(path),
        onnx_max_abs_error=max(each.radians for each in found),
        onnx_max_normalised_error=worst,
        checked_chunks=sum(each.chunks for each in (*found, far)),
        bytes=sum(map(len, bundle.contents.values())),
    )


def _weights_digest(policy: Policy) -> str:
    parts = (
        name.encode() + tensor.cpu().numpy().tobytes()
        for name, tensor in sorted(policy.state_dict().items())
    )
    return sha256(b"".join(parts))
