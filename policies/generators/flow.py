"""Rectified flow and shortcut models: straight paths from noise (t = 0) to the chunk (t = 1).

Flow matching: Lipman et al. 2023 (arXiv 2210.02747); Liu et al. 2023 (arXiv 2209.03003); the times
of training: Esser et al. 2024 (arXiv 2403.03206, logit-normal), Black et al. 2024 (arXiv
2410.24164, Beta). Shortcut models: Frans et al. 2024 (arXiv 2410.12557).
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from bridle.policies.exceptions import PolicyError
from bridle.policies.generators.base import Generator, Network

Times = Literal["uniform", "logit-normal", "beta"]
Solver = Literal["euler", "midpoint"]
Prediction = Literal["sample", "velocity"]


@dataclass(frozen=True)
class FlowConfig:
    """Settings of a `Flow`."""

    n_steps: int = 4
    """Steps at inference."""
    times: Times = "uniform"
    """How times are drawn in training: `logit-normal` favours the middle, `beta` (Beta(1.5, 1) of
    the noise's share) the noisy end."""
    prediction: Prediction = "sample"
    """What the network predicts: where the path ends (the clean chunk), or its velocity. They say
    the same; but a network that gives the velocity has to give the noise back exactly, which small
    ones do badly where there are few steps."""
    solver: Solver = "euler"
    """How a step is taken; `midpoint` asks the network twice and errs by a power of dt less."""
    beta: float = 0.0
    """Where the loss turns from squared to absolute error, in normalised units; 0 stays squared.
    Absolute errors keep two modes apart in fewer steps."""

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise PolicyError(f"n_steps must be at least 1, got {self.n_steps}")
        for name, allowed in (
            ("times", get_args(Times)),
            ("prediction", get_args(Prediction)),
            ("solver", get_args(Solver)),
        ):
            if getattr(self, name) not in allowed:
                raise PolicyError(
                    f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}"
                )
        if not 0 <= self.beta < math.inf:
            raise PolicyError(f"beta must be a number of at least 0, got {self.beta}")


@dataclass(frozen=True)
class ShortcutConfig(FlowConfig):
    """Settings of a `Shortcut`."""

    n_steps: int = 1
    """Steps at inference, a power of two of at most `finest`."""
    finest: int = 64
    """Steps of the finest grid that shortcuts are learned on, a power of two."""
    consistency: float = 0.25
    """Share of each batch that learns to do two steps in one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_steps", "finest"):
            value = getattr(self, name)
            if value < 1 or value & (value - 1):
                raise PolicyError(f"{name} must be a power of two, got {value}")
        if self.finest < 2 or self.n_steps > self.finest:
            raise PolicyError(
                f"finest must be at least 2 and n_steps, got {self.finest} and {self.n_steps}"
            )
        if not 0 < self.consistency < 1:
            raise PolicyError(f"consistency must lie between 0 and 1, got {self.consistency}")
        if self.solver != "euler":
            raise PolicyError("a shortcut is one step by construction; solver must be euler")


def error(difference: Tensor, beta: float) -> Tensor:
    """Squared error; beyond `beta` linear, with the slope it has there (Huber's, times 2)."""
    if not beta:
        return difference.square()
    size = difference.abs()
    return torch.where(size < beta, difference.square(), 2 * beta * size - beta**2)


class Flow(Generator):
    """Flow matching. Rows of the table are (t, dt)."""

    n_times = 1
    columns: tuple[str, ...] = ("t", "dt")

    def __init__(self, config: FlowConfig) -> None:
        """Keep the settings; a flow has no weights of its own."""
        self.config = config

    def _draw_times(self, like: Tensor, random: torch.Generator | None) -> Float[Tensor, " batch"]:
        size, device, dtype = like.shape[0], like.device, like.dtype
        match self.config.times:
            case "uniform":
                return torch.rand(size, generator=random, device=device, dtype=dtype)
            case "logit-normal":
                return torch.randn(size, generator=random, device=device, dtype=dtype).sigmoid()
            case "beta":
                # Beta(1.5, 1) by the inverse of its distribution u = s^1.5, s the noise's share.
                u = torch.rand(size, generator=random, device=device, dtype=dtype)
                return 1 - u ** (1 / 1.5)

    def loss(
        self,
        network: Network,
        chunk: Float[Tensor, "batch horizon action"],
        cond: Float[Tensor, "batch cond"],
        random: torch.Generator | None = None,
    ) -> Float[Tensor, "batch horizon action"]:
        """Error of the prediction at a random time, for each entry."""
        noise = torch.randn(chunk.shape, generator=random, device=chunk.device, dtype=chunk.dtype)
        time = self._draw_times(chunk, random)
        t = time[:, None, None]
        x = t * chunk + (1 - t) * noise
        return self._error(network(x, time[:, None], cond), x, t, chunk - noise)

    def _error(self, prediction: Tensor, x: Tensor, t: Tensor, velocity: Tensor) -> Tensor:
        """Of a prediction at x and t, where the velocity should be this."""
        wanted = velocity if self.config.prediction == "velocity" else x + (1 - t) * velocity
        return error(prediction - wanted, self.config.beta)

    def _velocity(self, prediction: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The velocity at x and t < 1 that a prediction says."""
        return prediction if self.config.prediction == "velocity" else (prediction - x) / (1 - t)

    def table(self, n_steps: int | None = None) -> Float[Tensor, "steps columns"]:
        """The time grid: rows (t_k, dt) with t_k = k / K and dt = 1 / K.

        Raises:
            PolicyError: fewer than one step.
        """
        steps = self.config.n_steps if n_steps is None else n_steps
        if steps < 1:
            raise PolicyError(f"a flow needs at least 1 step, got {steps}")
        time = torch.arange(steps, dtype=torch.float32) / steps
        return torch.stack([time, torch.full_like(time, 1 / steps)], dim=1)

    def times(self, rows: Float[Tensor, "*rows columns"]) -> Float[Tensor, "*rows calls times"]:
        """Where the step begins; with `midpoint` its middle as well."""
        time, dt = rows[..., None, :1], rows[..., None, 1:]
        midpoint = self.config.solver == "midpoint"
        return torch.cat([time, time + 0.5 * dt], dim=-2) if midpoint else time

    def step(
        self,
        network: Network,
        x: Float[Tensor, "batch horizon action"],
        row: Float[Tensor, " columns"],
        cond: Float[Tensor, "batch cond"],
    ) -> tuple[Float[Tensor, "batch horizon action"], Float[Tensor, " batch"]]:
        """One step; the score is the mean squared velocity, in normalised units."""
        (time, *half), dt = self.times(row), row[1]
        velocity = self._velocity(network(x, time.expand(x.shape[0], -1), cond), x, row[0])
        score = velocity.square().mean(dim=(1, 2))
        for t in half:
            middle = x + 0.5 * dt * velocity
            velocity = self._velocity(network(middle, t.expand(x.shape[0], -1), cond), middle, t)
        return x + dt * velocity, score


class Shortcut(Flow):
    """A flow that is told how long its step is, and learns to take two steps in one.

    The network is given (t, d). For d = 0 it is a flow; for the others it has to agree with itself:
    the step of 2d from x is the mean of the step of d from x and the one of d from where that led.
    """

    n_times = 2
    config: ShortcutConfig

    def __init__(self, config: ShortcutConfig) -> None:
        """Keep the settings."""
        super().__init__(config)

    def loss(
        self,
        network: Network,
        chunk: Float[Tensor, "batch horizon action"],
        cond: Float[Tensor, "batch cond"],
        random: torch.Generator | None = None,
    ) -> Float[Tensor, "batch horizon action"]:
        """Error of the prediction, and for a share of the batch of the self-consistency."""
        config, device, dtype = self.config, chunk.device, chunk.dtype
        batch = chunk.shape[0]
        n_twice = round(config.consistency * batch)
        noise = torch.randn(chunk.shape, generator=random, device=device, dtype=dtype)
        # Two steps of d fit into one of 2d on the grid of 1 / (2d).
        level = torch.randint(
            int(math.log2(config.finest)), (n_twice,), generator=random, device=device
        )
        cells = 2.0**level
        share = torch.rand(n_twice, generator=random, device=device, dtype=dtype)
        time = self._draw_times(chunk, random)
        time[:n_twice] = ((share * cells).floor() / cells).to(dtype)
        length = torch.zeros_like(time)
        length[:n_twice] = (1 / cells).to(dtype)
        t = time[:, None, None]
        x = t * chunk + (1 - t) * noise
        target = chunk - noise
        if n_twice:
            target = target.clone()
            target[:n_twice] = self._two_steps(
                network, x[:n_twice], time[:n_twice], 0.5 * length[:n_twice], cond[:n_twice]
            )
        return self._error(network(x, self._told(time, length), cond), x, t, target)

    def _told(self, time: Tensor, length: Tensor) -> Float[Tensor, "*batch 2"]:
        """What the network is told; steps of the finest grid are those of the flow, d = 0."""
        finest = length < 1.5 / self.config.finest
        return torch.stack([time, torch.where(finest, torch.zeros_like(length), length)], dim=-1)

    @torch.no_grad()
    def _two_steps(
        self, network: Network, x: Tensor, time: Tensor, half: Tensor, cond: Tensor
    ) -> Tensor:
        """Mean velocity of two steps of `half`."""
        t, d = time[:, None, None], half[:, None, None]
        first = self._velocity(network(x, self._told(time, half), cond), x, t)
        x = x + d * first
        second = self._velocity(network(x, self._told(time + half, half), cond), x, t + d)
        return 0.5 * (first + second)

    def table(self, n_steps: int | None = None) -> Float[Tensor, "steps columns"]:
        """Rows (t_k, dt) as a flow's.

        Raises:
            PolicyError: not a power of two of at most `finest`.
        """
        steps = self.config.n_steps if n_steps is None else n_steps
        if not 1 <= steps <= self.config.finest or steps & (steps - 1):
            raise PolicyError(
                f"a shortcut takes a power of two of steps, at most {self.config.finest}, "
                f"got {steps}"
            )
        return super().table(steps)

    def times(self, rows: Float[Tensor, "*rows columns"]) -> Float[Tensor, "*rows calls times"]:
        """Where the step begins, and how long it is."""
        return self._told(rows[..., 0], rows[..., 1])[..., None, :]
