"""Critics over chunks: what a chunk is worth, and whether it can be followed without ever touching.

Implicit Q-learning: Kostrikov et al. 2021 (arXiv 2110.06169), "IQL". Feasibility-guided offline
safe reinforcement learning: Zheng et al. 2024 (arXiv 2401.10700), "FISOR". Both learn from a fixed
set and ask only about actions that are in it.

A state is what the policy's encoder says of the observations, an action the part of the chunk that
is executed: n steps, so that discounts are gamma^n (a semi-Markov process).

Feasibility is the largest h that lies ahead, where h < 0 is safe and h > 0 is not; from a state
with V_h <= 0 a way is known that stays safe (a discounted Hamilton-Jacobi value: Fisac et al. 2019,
"Bridging Hamilton-Jacobi safety analysis and reinforcement learning").
"""

from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.exceptions import PolicyError


def expectile_loss(
    difference: Float[Tensor, " batch"], expectile: float
) -> Float[Tensor, " batch"]:
    """Asymmetric square |tau - 1(u < 0)| u^2 of u = target - estimate (IQL, equation 5).

    An estimate that minimises it is the tau-expectile of its targets: their mean for 1/2, for tau
    to 1 their largest, for tau to 0 their smallest.
    """
    weight = torch.where(difference < 0, 1 - expectile, expectile)
    return weight * difference.square()


def feasible_target(
    h: Float[Tensor, " batch"],
    following: Float[Tensor, " batch"],
    discount: float,
    last: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """What Q_h should be: (1 - gamma) h + gamma max(h, V_h(s')) (FISOR).

    Args:
        h: largest h of the steps that were executed.
        following: V_h of the state they led to.
        discount: gamma of all these steps together, gamma^n.
        last: 1 where the episode ended on the way: nothing lies ahead, and the target is h.
    """
    ahead = (1 - discount) * h + discount * torch.maximum(h, following)
    return torch.where(last > 0, h, ahead)


def value_target(
    reward: Float[Tensor, " batch"],
    following: Float[Tensor, " batch"],
    discount: float,
    last: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """What Q should be: r + gamma V(s'), with nothing after the end (IQL, equation 6).

    Args:
        reward: discounted sum of the rewards of the steps that were executed.
        following: V of the state they led to.
        discount: gamma^n.
        last: 1 where the episode ended on the way.
    """
    return reward + discount * (1 - last) * following


@dataclass(frozen=True)
class WeightConfig:
    """How strongly a policy is drawn to the better actions of a set."""

    temperature: float = 3.0
    """Advantage of reward by which a weight grows e-fold, inverse [1 / reward]."""
    ceiling: float = 100.0
    """Largest of these weights."""
    recovery_temperature: float = 5.0
    """The same for getting out of states from which nothing is safe [1 / h]."""
    recovery_ceiling: float = 150.0
    """Largest of these weights."""

    def __post_init__(self) -> None:
        for name in ("temperature", "ceiling", "recovery_temperature", "recovery_ceiling"):
            if not 0 < getattr(self, name) < float("inf"):
                raise PolicyError(f"{name} must be positive, got {getattr(self, name)}")


def advantage_weight(
    q: Float[Tensor, " batch"], v: Float[Tensor, " batch"], config: WeightConfig
) -> Float[Tensor, " batch"]:
    """min(exp(beta (Q - V)), ceiling): how much an action of the set is imitated (IQL, eq. 7)."""
    return _bounded_exp(config.temperature * (q - v), config.ceiling)


def feasible_weight(
    q: Float[Tensor, " batch"],
    v: Float[Tensor, " batch"],
    q_h: Float[Tensor, " batch"],
    v_h: Float[Tensor, " batch"],
    config: WeightConfig,
) -> Float[Tensor, " batch"]:
    """How much an action of the set is imitated, safety first (FISOR).

    - Where a safe way is known (V_h <= 0) and the action stays on one (Q_h <= 0): by its advantage.
    - Where it leaves it (V_h <= 0 < Q_h): not at all.
    - Where none is known (V_h > 0): min(exp(beta_h (V_h - Q_h)), ceiling), by how far it gets out.
    """
    escape = _bounded_exp(config.recovery_temperature * (v_h - q_h), config.recovery_ceiling)
    kept = torch.where(q_h <= 0, advantage_weight(q, v, config), torch.zeros_like(q))
    return torch.where(v_h > 0, escape, kept)


def _bounded_exp(exponent: Tensor, ceiling: float) -> Tensor:
    # Bounded before, too: exp overflows where the ceiling holds anyway.
    return exponent.clamp(max=80).exp().clamp(max=ceiling)


@dataclass(frozen=True)
class CriticConfig:
    """Sizes of critics, and what they learn."""

    width: int = 256
    """Channels of each hidden layer."""
    layers: int = 2
    """Hidden layers."""
    ensemble: int = 2
    """Estimates of each Q, of which the worst counts."""
    discount: float = 0.99
    """gamma per control step."""
    expectile: float = 0.9
    """tau of V, and reversed of V_h."""
    unsafe: float | None = 25.0
    """h of a step with a cost; a safe one has -1. The larger, the rarer among the actions of a
    state the unsafe ones must be for it to count as safe. None: the reward alone is learned."""
    averaging: float = 0.005
    """Share of the present weights that the target networks take over per step."""

    def __post_init__(self) -> None:
        for name in ("width", "layers", "ensemble"):
            if getattr(self, name) < 1:
                raise PolicyError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name, low in (("discount", 0.0), ("expectile", 0.5)):
            if not low < getattr(self, name) < 1:
                raise PolicyError(
                    f"{name} must lie between {low:g} and 1, got {getattr(self, name)}"
                )
        if self.unsafe is not None and not 0 < self.unsafe < float("inf"):
            raise PolicyError(f"unsafe must be positive, got {self.unsafe}")
        if not 0 < self.averaging <= 1:
            raise PolicyError(f"averaging must lie in (0, 1], got {self.averaging}")


class Transitions(NamedTuple):
    """What followed on executed chunks."""

    cond: Float[Tensor, "batch cond"]
    """What the encoder says of the observations."""
    action: Float[Tensor, "batch steps*action"]
    """The executed part of the chunk, normalised, flat."""
    reward: Float[Tensor, " batch"]
    """Discounted sum of its rewards."""
    cost: Float[Tensor, " batch"]
    """1 where any of its steps had a cost, else 0."""
    following: Float[Tensor, "batch cond"]
    """What the encoder says after it."""
    last: Float[Tensor, " batch"]
    """1 where the episode ended on the way."""


def _network(inputs: int, config: CriticConfig) -> nn.Sequential:
    sizes = [inputs, *[config.width] * config.layers]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 1))


class Judge(nn.Module):
    """One quantity: Q(s, a) by an ensemble, V(s), and the averaged Q that V is learned from."""

    def __init__(self, cond_size: int, action_size: int, config: CriticConfig, sign: int) -> None:
        """Build one. `sign` is 1 where more is better (reward), -1 where it is worse (h)."""
        super().__init__()
        self.sign, self.cond_size, self.action_size = sign, cond_size, action_size
        self.q = nn.ModuleList(
            _network(cond_size + action_size, config) for _ in range(config.ensemble)
        )
        self.average = deepcopy(self.q).requires_grad_(False)
        self.v = _network(cond_size, config)

    def state_value(self, cond: Float[Tensor, "batch cond"]) -> Float[Tensor, " batch"]:
        """V(s)."""
        value: Tensor = self.v(cond)
        return value.squeeze(-1)

    def action_value(
        self, cond: Float[Tensor, "batch cond"], action: Float[Tensor, "batch action"]
    ) -> Float[Tensor, " batch"]:
        """The worst of the averaged estimates: the least reward, the greatest h."""
        each = self.estimates(self.average, cond, action)
        return self.sign * (self.sign * each).amin(dim=0)

    @staticmethod
    def estimates(
        networks: nn.ModuleList, cond: Tensor, action: Tensor
    ) -> Float[Tensor, "ensemble batch"]:
        """What each network of an ensemble says."""
        both = torch.cat([cond, action], dim=-1)
        return torch.stack([network(both).squeeze(-1) for network in networks])

    def loss(
        self, batch: Transitions, target: Float[Tensor, " batch"], expectile: float
    ) -> Float[Tensor, ""]:
        """Squared errors of all Q to their target, and the expectile loss of V to the averaged Q.

        V approaches the best Q of the set's actions: the greatest reward, the least h.
        """
        errors = self.estimates(self.q, batch.cond, batch.action) - target
        with torch.no_grad():
            q = self.action_value(batch.cond, batch.action)
        gap = self.sign * (q - self.state_value(batch.cond))
        return errors.square().mean(dim=1).sum() + expectile_loss(gap, expectile).mean()

    @torch.no_grad()
    def follow(self, share: float) -> None:
        """Let the averaged networks take over a share of the present ones."""
        ours: list[Tensor] = [*self.average.parameters()]
        torch._foreach_lerp_(ours, [*self.q.parameters()], share)


class Critics(nn.Module):
    """The reward's judge and, if it is learned, feasibility's."""

    def __init__(self, cond_size: int, action_size: int, config: CriticConfig) -> None:
        """Build for conditions (B, `cond_size`) and flat actions (B, `action_size`)."""
        super().__init__()
        self.config = config
        self.reward = Judge(cond_size, action_size, config, sign=1)
        self.feasibility = (
            None if config.unsafe is None else Judge(cond_size, action_size, config, sign=-1)
        )

    def loss(self, batch: Transitions, discount: float) -> dict[str, Float[Tensor, ""]]:
        """The losses to add up and minimise, by name; `discount` is that of a whole action."""
        config = self.config
        with torch.no_grad():
            value = self.reward.state_value(batch.following)
            target = value_target(batch.reward, value, discount, batch.last)
        losses = {"reward": self.reward.loss(batch, target, config.expectile)}
        if self.feasibility is not None and config.unsafe is not None:
            with torch.no_grad():
                h = batch.cost * (config.unsafe + 1) - 1
                ahead = self.feasibility.state_value(batch.following)
                target = feasible_target(h, ahead, discount, batch.last)
            losses["feasibility"] = self.feasibility.loss(batch, target, config.expectile)
        return losses

    def follow(self) -> None:
        """Move the target networks after a step."""
        for judge in (self.reward, self.feasibility):
            if judge is not None:
                judge.follow(self.config.averaging)

    @torch.no_grad()
    def weights(
        self,
        cond: Float[Tensor, "batch cond"],
        action: Float[Tensor, "batch action"],
        config: WeightConfig,
    ) -> Float[Tensor, " batch"]:
        """How much each action of the set is to be imitated."""
        q, v = self.reward.action_value(cond, action), self.reward.state_value(cond)
        if self.feasibility is None:
            return advantage_weight(q, v, config)
        q_h = self.feasibility.action_value(cond, action)
        return feasible_weight(q, v, q_h, self.feasibility.state_value(cond), config)
