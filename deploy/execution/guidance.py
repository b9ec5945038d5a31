"""Sampling a chunk that continues the running one: real-time chunking around the one-step graph.

Real-time chunking: Black, Galliker and Levine 2025 (arXiv 2506.07339). The correction is in closed
form, with the identity in place of the network's Jacobian, so the exported step is enough: no
gradient is asked of it. A policy that was trained to continue committed actions (Black et al. 2025,
arXiv 2512.05964) is given them instead, as inputs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.bundle import COMMITTED, N_COMMITTED
from bridle.deploy.exceptions import InferenceError
from bridle.deploy.execution.levels import levels

Vector = NDArray[np.float64]
Array = NDArray[np.floating[Any]]
Observation = Mapping[str, Array]

LEAST = 4
"""Rows that a policy is committed to even if fewer are executed before its chunk arrives: one or
two say little of which way the running chunk goes."""


class Encoded(Protocol):
    """What the encoder says of an observation; chunk = offset + scale * x."""

    @property
    def cond(self) -> Array:
        """(B, C)."""
        ...

    @property
    def offset(self) -> Array:
        """Broadcasts to (B, H, A) [rad]."""
        ...

    @property
    def scale(self) -> Array:
        """Broadcasts to (B, H, A) [rad], positive."""
        ...


class OneStep(Protocol):
    """A generative policy as it was exported: an encoder, a step, and a table to walk."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the table's columns."""
        ...

    def encode(self, observation: Observation) -> Encoded:
        """Encode an observation."""
        ...

    def step(self, x: Array, row: Array, cond: Array) -> tuple[Array, Array]:
        """The next x (B, H, A) along a row of the table, and a score (B,) of the present one."""
        ...

    def table(self, n_steps: int | None = None) -> Array:
        """The rows of a sampler of so many steps; None takes the policy's own number."""
        ...


@dataclass(frozen=True, eq=False)
class Previous:
    """What a new chunk has to continue.

    Raises:
        InferenceError: not 0 <= delay <= until <= L, or a position is not finite.
    """

    positions: Vector
    """(L, A) absolute positions [rad]; row 0 belongs to the new observation."""
    delay: int
    """Rows that will be executed before the new chunk arrives: it cannot change them."""
    until: int
    """Row from which the new chunk is free."""

    def __post_init__(self) -> None:
        if self.positions.ndim != 2 or not np.isfinite(self.positions).all():
            raise InferenceError(
                f"previous positions must be finite (L, A), got {self.positions.shape}"
            )
        if not 0 <= self.delay <= self.until <= len(self.positions):
            raise InferenceError(
                f"0 <= delay <= until <= {len(self.positions)} rows expected, "
                f"got delay {self.delay} and until {self.until}"
            )


class Guided(NamedTuple):
    """A chunk and how it came about."""

    chunk: Array
    """(B, H, A) absolute positions [rad]."""
    score: Array
    """(B,) the generator's score of the last step."""


def prefix_weights(delay: int, until: int, horizon: int) -> Vector:
    """How firmly each row is held to the previous chunk, (horizon,): the soft mask.

        W_i = 1                         i < d
        W_i = c (e^c - 1) / (e - 1)     d <= i < s,  c = (s - i) / (s - d + 1)
        W_i = 0                         s <= i

    Args:
        delay: d.
        until: s.
        horizon: rows.
    """
    i = np.arange(horizon)
    c = np.clip((until - i) / (until - delay + 1), 0.0, 1.0)
    fading = c * np.expm1(c) / np.expm1(1.0)
    return np.where(i < delay, 1.0, fading)


def guided_sample(
    policy: OneStep,
    observation: Observation,
    noise: Array,
    previous: Previous | None = None,
    *,
    n_steps: int | None = None,
    first_row: int = 0,
) -> Guided:
    """A chunk that goes on where the previous one will be when it arrives.

    Before and after a step the chunk c follows that the network predicts (`levels`), and the step
    is moved towards the previous chunk p by

        min(dt (t^2 + (1 - t)^2) / (t (1 - t)), 1) W (p - c)

    in a flow's time t; a diffusion is a flow in t = a / (a + s), on x / (a + s). The bound is the
    paper's beta of 1 / dt, 10 for its 10 steps: more would carry the prediction past what it is to
    meet.

    Args:
        policy: encoder, step and table.
        observation: what `policy.encode` takes; one may stand for many noises.
        noise: (B, H, A) standard normal.
        previous: what to continue; None samples freely.
        n_steps: steps of the sampler.
        first_row: row of the chunk that belongs to the newest observation. Those before it are
            past and left alone.

    Raises:
        InferenceError: the sampler cannot be guided, in one line why; or shapes do not fit.
    """
    if previous is None:
        return _walk(policy, observation, noise, n_steps)
    encoded, table = policy.encode(observation), policy.table(n_steps)
    grid = levels(policy.columns, table)
    target, weights = _target(previous, encoded, noise.shape, first_row)

    def correct(k: int, x: Array, following: Array) -> Array:
        (signal, noisy), (signal_after, noisy_after) = grid[k], grid[k + 1]
        kept = noisy_after / noisy
        predicted = (following - kept * x) / (signal_after - signal * kept)
        t, after = signal / (signal + noisy), signal_after / (signal_after + noisy_after)
        weight = (t**2 + (1 - t) ** 2) / max(t * (1 - t), 1e-9)
        gain = min((after - t) * weight, 1.0) * (signal_after + noisy_after)
        corrected: Array = following + gain * weights * (target - predicted)
        return corrected

    return _walk(policy, observation, noise, n_steps, encoded=encoded, after=correct)


def continued(
    observation: Mapping[str, NDArray[Any]],
    previous: Previous | None,
    most: int,
    *,
    least: int = LEAST,
) -> dict[str, NDArray[Any]]:
    """An observation with what is committed, for a policy that was trained to continue it.

    Args:
        observation: inputs of the policy (B, To, *shape).
        previous: what to continue: its first `delay` rows, and more of those that are planned
            where these are fewer than `least`; None commits to nothing.
        most: actions that the policy takes (D), `committed` in the manifest.
        least: rows to commit to where the delay is shorter.

    Raises:
        InferenceError: the delay is longer than any that the policy was trained for.
    """
    if previous is None:
        return dict(observation)
    if previous.delay > most:
        raise InferenceError(
            f"the policy was trained to continue up to {most} committed actions, not "
            f"{previous.delay}; use guided sampling"
        )
    n = max(previous.delay, min(least, previous.until, most))
    batch = len(next(iter(observation.values())))
    # Rows that nothing is known of repeat a neighbour; they do not count.
    index = np.minimum(np.arange(most), len(previous.positions) - 1)
    actions = np.broadcast_to(previous.positions[index], (batch, most, previous.positions.shape[1]))
    return {
        **observation,
        COMMITTED: actions.astype(np.float32),
        N_COMMITTED: np.full((batch, 1), n, np.int64),
    }


def misfit(chunks: Array, previous: Previous) -> Array:
    """How far chunks are from what they continue, (B,) [rad]: root mean square.

    Over the rows that both have, without those that are executed before the chunk arrives.

    Args:
        chunks: (B, L, A) absolute positions from the newest observation on [rad].
        previous: what they continue.
    """
    until = min(previous.until, chunks.shape[1])
    shared = slice(min(previous.delay, until - 1), until)
    distance: Array = np.sqrt(
        np.square(chunks[:, shared] - previous.positions[shared]).mean(axis=(1, 2))
    )
    return distance


def _target(
    previous: Previous, encoded: Encoded, shape: tuple[int, ...], first_row: int
) -> tuple[Array, Array]:
    """The previous chunk in the units of x for the new observation (B, H, A), weights (H, 1)."""
    if len(shape) != 3 or previous.positions.shape[1] != shape[2]:
        raise InferenceError(
            f"previous positions {previous.positions.shape} do not fit noise {shape} (B, H, A)"
        )
    rows = shape[1] - first_row
    if not 0 <= first_row < shape[1]:
        raise InferenceError(f"first_row must lie in 0..{shape[1] - 1}, got {first_row}")
    # Rows that nothing is known of repeat a neighbour; their weight is 0.
    index = np.clip(np.arange(shape[1]) - first_row, 0, len(previous.positions) - 1)
    target = (previous.positions[index] - encoded.offset) / encoded.scale
    weights = prefix_weights(min(previous.delay, rows), min(previous.until, rows), rows)
    return np.broadcast_to(target, shape), np.append(np.zeros(first_row), weights)[:, None]


def _walk(
    policy: OneStep,
    observation: Observation,
    x: Array,
    n_steps: int | None,
    *,
    encoded: Encoded | None = None,
    after: Callable[[int, Array, Array], Array] | None = None,
) -> Guided:
    """The whole sampler, with something done after every step."""
    encoded = policy.encode(observation) if encoded is None else encoded
    cond = encoded.cond
    if len(cond) == 1 < len(x):
        cond = np.repeat(cond, len(x), axis=0)
    score: Array = np.zeros(len(x), x.dtype)
    dtype = x.dtype
    for k, row in enumerate(policy.table(n_steps)):
        following, score = policy.step(x, row, cond)
        if after is not None:
            following = after(k, x, following).astype(dtype)
        x = following
    return Guided(encoded.offset + encoded.scale * x, score)
