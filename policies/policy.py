"""A policy: encoder, network, generator and normaliser joined; observations in, a chunk out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.encoders import StateEncoder, StateEncoderConfig
from bridle.policies.exceptions import PolicyError
from bridle.policies.generators import FlowConfig, GeneratorConfig, build_generator
from bridle.policies.networks import MLPConfig, NetworkConfig, build_network
from bridle.policies.normalizer import Normalizer


@dataclass(frozen=True)
class PolicyConfig:
    """Everything needed to build a policy; the weights carry the rest."""

    encoder: StateEncoderConfig
    """What is observed."""
    action_size: int
    """Channels of an action (A)."""
    relative_key: str | None = "joint_position"
    """The first channels of an action are predicted relative to this observation at the chunk's
    observation time; the others (a gripper) are absolute. None: all are absolute."""
    horizon: int = 16
    """Actions predicted (H), the first one at the oldest observation of the history."""
    n_action_steps: int = 8
    """Actions executed before the next chunk (Ta)."""
    network: NetworkConfig = field(default_factory=MLPConfig)
    """The network."""
    generator: GeneratorConfig = field(default_factory=FlowConfig)
    """The generator."""

    def __post_init__(self) -> None:
        if self.n_action_steps < 1 or self.first_action + self.n_action_steps > self.horizon:
            raise PolicyError(
                f"n_action_steps must lie in 1..{self.horizon - self.first_action} "
                f"(horizon {self.horizon}, n_obs_steps {self.encoder.n_obs_steps}), "
                f"got {self.n_action_steps}"
            )
        if self.relative_key is not None and not (
            0 < self.encoder.keys.get(self.relative_key, 0) <= self.action_size
        ):
            raise PolicyError(
                f"relative_key '{self.relative_key}' must be an observation of at most "
                f"{self.action_size} channels; observed: {dict(self.encoder.keys)}"
            )

    @property
    def first_action(self) -> int:
        """Index in the horizon of the action that belongs to the newest observation (To - 1)."""
        return self.encoder.n_obs_steps - 1


class Policy(nn.Module):
    """A generative policy over action chunks.

    Inside, chunks are normalised; `loss` takes and `sample` gives physical units. Source of the
    windows and of the executed slice: Diffusion Policy (arXiv 2303.04137).
    """

    def __init__(self, config: PolicyConfig) -> None:
        """Build an untrained policy without statistics; call `fit` before anything else."""
        super().__init__()
        self.config = config
        self.encoder = StateEncoder(config.encoder)
        self.generator = build_generator(config.generator)
        self.network = build_network(
            config.network,
            horizon=config.horizon,
            action_size=config.action_size,
            cond_size=self.encoder.output_size,
            n_times=self.generator.n_times,
        )
        self.action_normalizer = Normalizer({"action": config.action_size}, min_std=1e-3)

    def fit(self, batch: Mapping[str, Tensor]) -> None:
        """Take all statistics from windows.

        Args:
            batch: observation keys (N, To, d) and `action` (N, H, A), physical units.
        """
        self.encoder.fit({key: batch[key][:, -1] for key in self.config.encoder.keys})
        self.action_normalizer.fit("action", batch["action"] - self.action_base(batch))

    def action_base(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "batch 1 action"]:
        """What predicted actions are relative to, [rad]; zero in absolute channels."""
        key = self.config.relative_key
        if key is None:
            reference = next(iter(observation.values()))
            return reference.new_zeros(reference.shape[0], 1, self.config.action_size)
        base = observation[key][:, -1:]
        return nn.functional.pad(base, (0, self.config.action_size - base.shape[-1]))

    def encode(
        self, observation: Mapping[str, Tensor]
    ) -> tuple[
        Float[Tensor, "batch cond"], Float[Tensor, "batch 1 action"], Float[Tensor, " action"]
    ]:
        """Everything that depends on the observation only, computed once per chunk.

        Returns:
            The condition, and the offset and scale with which a generated x becomes physical:
            chunk = offset + scale * x.
        """
        offset = self.action_base(observation) + self.action_normalizer.mean("action")
        return self.encoder(observation), offset, self.action_normalizer.std("action")

    def step(
        self, x: Float[Tensor, "batch horizon action"], row: Tensor, cond: Tensor
    ) -> tuple[Float[Tensor, "batch horizon action"], Float[Tensor, " batch"]]:
        """One row of the generator's table, in normalised units."""
        return self.generator.step(self.network, x, row, cond)

    def loss(
        self, batch: Mapping[str, Tensor], random: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """Mean training loss of a batch of windows.

        Args:
            batch: observation keys (B, To, d) and `action` (B, H, A), physical units. Padded
                actions repeat the last one and count: a policy must know to stay at the end.
            random: source of noise and times; None draws from the global state.

        Returns:
            The loss to minimise, and its parts by name for the log.
        """
        cond, offset, scale = self.encode(batch)
        target = (batch["action"] - offset) / scale
        entries = self.generator.loss(self.network, target, cond, random)
        loss = entries.mean()
        return loss, {"loss": float(loss.detach())}

    # Distributed training wraps a module's call.
    forward = loss

    @torch.no_grad()
    def sample(
        self,
        observation: Mapping[str, Tensor],
        noise: Float[Tensor, "batch horizon action"],
        n_steps: int | None = None,
    ) -> Float[Tensor, "batch horizon action"]:
        """Generate chunks in physical units.

        Args:
            observation: each key (B, To, d).
            noise: standard normal; the same noise gives the same chunk.
            n_steps: steps of the table; None takes the generator's own.
        """
        cond, offset, scale = self.encode(observation)
        x = self.generator.start(noise)
        for row in self.generator.table(n_steps).to(noise):
            x, _ = self.step(x, row, cond)
        return offset + scale * self.generator.finish(x)

    def check_fitted(self) -> None:
        """Raise PolicyError when normalisation statistics are missing."""
        self.encoder.normalizer.check_fitted()
        self.action_normalizer.check_fitted()
