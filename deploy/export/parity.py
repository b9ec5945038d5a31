"""Whether a bundle computes what PyTorch computes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridle.deploy import bundle as files
from bridle.deploy.bundle import Bundle
from bridle.deploy.exceptions import ExportError
from bridle.deploy.runtime import Runtime
from bridle.policies import Input, Normalizer, Policy, vocabulary_of

Array = NDArray[Any]

TOLERANCES = {"float32": 1e-4, "float16": 2e-2}
"""Precision of a bundle -> largest allowed difference to PyTorch, in units of the actions' standard
deviation."""
SEEDS, BATCH = 20, 8
"""Random draws that an export is checked on, and chunks of each."""
ROUNDING = 2 * float(np.finfo(np.float32).eps)


def examples(
    policy: Policy,
    batch: int,
    seed: int,
    spread: float = 3.0,
    observations: Mapping[str, Array] | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Random observations, committed actions among them if the policy takes any, and noise.

    Args:
        policy: what shall be able to observe them.
        batch: how many.
        seed: of the draw.
        spread: how much wider than the training data numbers are.
        observations: real ones (n, To, *shape), to draw from instead.
    """
    random = torch.Generator().manual_seed(seed)
    config = policy.config
    observation = {
        key: _random(policy, key, wanted, (batch, config.encoder.n_obs_steps), spread, random)
        for key, wanted in config.encoder.inputs.items()
    }
    if observations:
        n = len(next(iter(observations.values())))
        pick = np.random.default_rng(seed).integers(n, size=batch)
        observation = {key: torch.from_numpy(observations[key][pick]) for key in observation}
    noise = torch.randn(batch, config.horizon, config.action_size, generator=random)
    if most := config.committed:
        normalizer = policy.action_normalizer
        x = spread * torch.randn(batch, most, config.action_size, generator=random)
        base = policy.action_base(observation)
        observation[files.COMMITTED] = base + normalizer.unnormalize("action", x)
        observation[files.N_COMMITTED] = torch.randint(0, most + 1, (batch, 1), generator=random)
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

    Raises:
        ExportError: a descent ends at another step. In float16 it may.
    """
    runtimes = [Runtime(bundle, walk=walk) for walk in (False, True)]
    radians = normalised = score = 0.0
    for seed in range(seeds):
        observation, noise = examples(policy, batch, seed, spread, observations)
        cond, offset, scale = policy.encode(observation)
        walked = list(policy.walk(cond, noise))
        chunk = (offset + scale * walked[-1][0]).detach().numpy()
        scores = torch.stack([each for _, each in walked]).numpy()
        for runtime in runtimes:
            found = runtime.infer({k: v.numpy() for k, v in observation.items()}, noise.numpy())
            taken = min(len(found.scores), len(scores))
            if len(found.scores) != len(scores) and bundle.manifest.precision == "float32":
                raise ExportError(
                    f"the exported sampler took {len(found.scores)} steps, PyTorch {len(scores)}"
                )
            error = np.abs(found.chunk - chunk)
            radians = max(radians, float(error.max()))
            # Not what float32 leaves of an angle: a joint that hardly moves has a tiny scale.
            left = np.maximum(0.0, error - ROUNDING * np.abs(chunk))
            normalised = max(normalised, float((left / scale.numpy()).max()))
            expected = scores[:taken]
            off = np.abs(found.scores[:taken] - expected) / np.maximum(1.0, np.abs(expected))
            score = max(score, float(off.max()))
    return Parity(radians, normalised, score, seeds * batch)
