"""How a new chunk meets the ones before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.chunks import ActionChunk

Vector = NDArray[np.float64]
Strategy = Literal["replace", "blend", "ensemble", "rtc"]
Mask = Literal["auto", "soft", "hard"]


@dataclass(frozen=True)
class ExecutionConfig:
    """How chunks follow each other."""

    strategy: Strategy = "replace"
    """`replace`: the new chunk from its first step that is not past. `blend`: linearly from the
    running one to the new one. `ensemble`: the weighted mean of all chunks that cover a step.
    `rtc`: the new chunk replaces the running one, which it was sampled to continue
    (`guided_sample`)."""
    blend_steps: int = 4
    """Steps over which `blend` goes from one chunk to the next."""
    ensemble_decay: float = 0.01
    """The i-th oldest of the chunks that cover a step weighs exp(-i times this) in `ensemble`: the
    oldest most, as in ACT (Zhao et al. 2023, arXiv 2304.13705); negative prefers the newest."""

    candidates: int = 4
    """Chunks that `rtc` samples at once, to execute the one that is nearest to the running one:
    where the running chunk ends, the guidance alone does not always keep to one mode (chosen among
    samples as in Bidirectional Decoding, Liu et al. 2024, arXiv 2408.17355)."""
    mask: Mask = "auto"
    """What `rtc` guides a chunk by: `hard`: by the actions that are executed before it arrives;
    `soft`: less and less by those that are planned after them, too. `auto`: `soft`, but `hard` for
    policies that see pictures or points, which go by a plan that they are given rather than by what
    they see."""
    safest: int = 16
    """Chunks that are sampled at once where the bundle has a critic of feasibility: of those that
    it holds safe the one is executed that would be anyway, and if there is none the safest."""

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise ValueError(
                f"strategy must be one of {', '.join(get_args(Strategy))}, got {self.strategy!r}"
            )
        if self.blend_steps < 1:
            raise ValueError(f"blend_steps must be at least 1, got {self.blend_steps}")
        if self.mask not in get_args(Mask):
            raise ValueError(f"mask must be one of {', '.join(get_args(Mask))}, got {self.mask!r}")
        for name in ("candidates", "safest"):
            if not 1 <= getattr(self, name) <= 1024:
                raise ValueError(f"{name} must lie in 1..1024, got {getattr(self, name)}")
        if not np.isfinite(self.ensemble_decay):
            raise ValueError(f"ensemble_decay must be finite, got {self.ensemble_decay}")

    def mask_for(self, sees: bool) -> Literal["soft", "hard"]:
        """What `mask` comes to for a policy that sees pictures or points, or does not."""
        if self.mask == "auto":
            return "hard" if sees else "soft"
        return self.mask


@dataclass(frozen=True, eq=False)
class Plan:
    """Wanted positions on the control grid."""

    start: int
    """Step of the first position."""
    positions: Vector
    """(K, n) [rad]; K may be 0."""

    @property
    def end(self) -> int:
        """The first step after the plan."""
        return self.start + len(self.positions)

    def since(self, step: int) -> Vector:
        """The positions from `step` on, which must not lie before the start."""
        return self.positions[step - self.start :]


def on_grid(chunk: ActionChunk, origin: float, dt: float) -> Plan:
    """A chunk at the steps of the grid that it covers, linear between its points.

    Args:
        chunk: observed at any time, on the grid or between.
        origin: time of step 0 [s].
        dt: control period [s].
    """
    times = chunk.times + (chunk.observed_at - origin)
    # A point that rounding has moved off its step still belongs to it.
    first = int(np.ceil(times[0] / dt - 1e-6))
    last = int(np.floor(times[-1] / dt + 1e-6))
    steps = np.arange(first, last + 1)
    columns = [np.interp(steps * dt, times, column) for column in chunk.positions.T]
    return Plan(first, np.stack(columns, axis=1))


def merge(
    config: ExecutionConfig, running: Plan, held: Vector, chunks: Sequence[Plan], seam: int
) -> Plan:
    """What is wanted from `seam` on.

    Args:
        config: the strategy.
        running: what was wanted so far.
        held: command before `seam` (n,) [rad], for steps that nothing covers.
        chunks: those in force, oldest first; the last one is new, and ends after `seam`.
        seam: first step that is not executed yet.
    """
    new = chunks[-1]
    n_ahead = max(0, new.start - seam)
    wanted = new.since(max(seam, new.start))
    if n_ahead:
        # The chunk was observed a little ahead of the grid: until it begins, go on as before.
        before = running.since(max(seam, running.start))[:n_ahead]
        last = before[-1:] if len(before) else held[None]
        gap = np.concatenate([before, np.repeat(last, n_ahead - len(before), 0)])
        wanted = np.concatenate([gap, wanted])
    if config.strategy == "blend":
        wanted = _blended(running, wanted, seam, config.blend_steps)
    elif config.strategy == "ensemble":
        wanted = _ensembled(chunks, wanted, seam, config.ensemble_decay)
    return Plan(seam, wanted)


def _blended(running: Plan, wanted: Vector, seam: int, steps: int) -> Vector:
    """From the running plan to the new one, as far as the running one reaches."""
    old = running.since(max(seam, running.start))[: min(steps, len(wanted))]
    share = (np.arange(len(old)) + 1.0)[:, None] / (len(old) + 1)
    return np.concatenate([(1 - share) * old + share * wanted[: len(old)], wanted[len(old) :]])


def _ensembled(chunks: Sequence[Plan], wanted: Vector, seam: int, decay: float) -> Vector:
    """The weighted mean of all chunks at each step; `wanted` where none covers it."""
    steps = np.arange(seam, seam + len(wanted))
    covers = np.array([(steps >= c.start) & (steps < c.end) for c in chunks])  # (C, K)
    age = np.cumsum(covers, axis=0) - 1
    weights = np.where(covers, np.exp(-decay * age), 0.0)
    total = np.zeros_like(wanted)
    for chunk, weight, covered in zip(chunks, weights, covers, strict=True):
        total[covered] += weight[covered, None] * chunk.positions[steps[covered] - chunk.start]
    sums = weights.sum(axis=0)[:, None]
    return np.where(sums > 0, total / np.where(sums > 0, sums, 1.0), wanted)
