"""A policy: encoder, network, generator and normaliser joined; observations in, a chunk out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.candidates import cheapest, past_action_error
from bridle.policies.committed import (
    N_COMMITTED,
    committed_features,
    draw_committed,
    free_rows,
)
from bridle.policies.encoders import EncoderConfig, build_encoder
from bridle.policies.exceptions import PolicyError
from bridle.policies.generators import FlowConfig, GeneratorConfig, build_generator
from bridle.policies.networks import MLPConfig, NetworkConfig, build_network
from bridle.policies.normalizer import Normalizer

WEIGHT = "weight"
"""Key of a training batch: how much each of its windows counts."""


@dataclass(frozen=True)
class PolicyConfig:
    """Everything needed to build a policy; the weights carry the rest."""

    encoder: EncoderConfig
    """What is observed: one encoder, or several joined."""
    action_size: int
    """Channels of an action (A)."""
    relative_key: str | None = "joint_position"
    """The first channels of an action are predicted relative to this observation at the chunk's
    observation time; the others (a gripper) are absolute. None: all are absolute."""
    horizon: int = 16
    """Actions predicted (H)."""
    past: bool = True
    """Whether the chunk begins at the oldest observation of the history, so that past actions are
    predicted too, or at the newest one. Past actions are never given: what they were has to be
    read off the observations, which keeps long histories from misleading (Past-Token Prediction,
    arXiv 2505.09561)."""
    n_action_steps: int = 8
    """Actions executed before the next chunk (Ta)."""
    committed: int = 0
    """Actions from the newest observation on that may be given, because the robot will have done
    them when the chunk arrives (D); the chunk goes on from them. 0: none ever are."""
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
        if not 0 <= self.committed < self.horizon - self.first_action:
            raise PolicyError(
                f"committed must lie in 0..{self.horizon - self.first_action - 1}, so that some of "
                f"the chunk is free (horizon {self.horizon}), got {self.committed}"
            )
        inputs, key = self.encoder.inputs, self.relative_key
        shape = inputs[key].shape if key is not None and key in inputs else ()
        if key is not None and not (len(shape) == 1 and 0 < shape[0] <= self.action_size):
            raise PolicyError(
                f"relative_key '{key}' must be an observation of at most "
                f"{self.action_size} channels; observed: "
                f"{', '.join(f'{name} {wanted.shape}' for name, wanted in inputs.items())}"
            )

    @property
    def first_action(self) -> int:
        """Index in the chunk of the action that belongs to the newest observation."""
        return self.encoder.n_obs_steps - 1 if self.past else 0

    @property
    def window_steps(self) -> int:
        """Steps of a training window, from the oldest observation to the chunk's last action."""
        return self.horizon + self.encoder.n_obs_steps - 1 - self.first_action


class Policy(nn.Module):
    """A generative policy over action chunks.

    Inside, chunks are normalised; `loss` takes and `sample` gives physical units. Source of the
    windows and of the executed slice: Diffusion Policy (arXiv 2303.04137).
    """

    def __init__(self, config: PolicyConfig) -> None:
        """Build an untrained policy without statistics; call `fit` before anything else."""
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder)
        self.generator = build_generator(config.generator)
        self.network = build_network(
            config.network,
            horizon=config.horizon,
            action_size=config.action_size,
            cond_size=self.cond_size,
            n_times=self.generator.n_times,
        )
        self.action_normalizer = Normalizer({"action": config.action_size}, min_std=1e-3)

    @property
    def cond_size(self) -> int:
        """Numbers of the condition: what the encoder sees, and what is committed."""
        return self.encoder.output_size + self.config.committed * (self.config.action_size + 1)

    def fit(self, batch: Mapping[str, Tensor]) -> None:
        """Take all statistics from windows.

        Args:
            batch: observation keys (N, To, *shape) and `action` (N, H or more, A), the chunk last,
                physical units. Inputs that are not `fitted` may be left out.
        """
        inputs = self.config.encoder.inputs
        fitted = [key for key, wanted in inputs.items() if wanted.fitted]
        self.encoder.fit({key: batch[key][:, -1] for key in fitted})
        chunks = batch["action"][:, -self.config.horizon :]
        self.action_normalizer.fit("action", chunks - self.action_base(batch))

    def action_base(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "batch 1 action"]:
        """What predicted actions are relative to, [rad]; zero in absolute channels."""
        key = self.config.relative_key
        if key is None:
            batch = next(iter(observation.values())).shape[0]
            return self.action_normalizer.mean("action").new_zeros(
                batch, 1, self.config.action_size
            )
        base = observation[key][:, -1:]
        return nn.functional.pad(base, (0, self.config.action_size - base.shape[-1]))

    def encode(
        self, observation: Mapping[str, Tensor]
    ) -> tuple[
        Float[Tensor, "batch cond"], Float[Tensor, "batch 1 action"], Float[Tensor, " action"]
    ]:
        """Everything that depends on the observation only, computed once per chunk.

        Args:
            observation: each key (B, To, *shape). A policy that continues committed actions also
                takes `committed` (B, D, A), absolute positions from the newest observation on
                [rad], and `n_committed` (B, 1), how many of them count; with neither, none do.

        Returns:
            The condition, and the offset and scale with which a generated x becomes physical:
            chunk = offset + scale * x.
        """
        offset = self.action_base(observation) + self.action_normalizer.mean("action")
        cond, scale = self.encoder(observation), self.action_normalizer.std("action")
        if most := self.config.committed:
            known = committed_features(observation, offset, scale, most)
            cond = torch.cat([cond, known], dim=1)
        return cond, offset, scale

    def step(
        self, x: Float[Tensor, "batch horizon action"], row: Tensor, cond: Tensor
    ) -> tuple[Float[Tensor, "batch horizon action"], Float[Tensor, " batch"]]:
        """One row of the generator's table, in normalised units."""
        return self.generator.step(self.network, x, row, cond)

    def loss(
        self, batch: Mapping[str, Tensor], random: torch.Generator | None = None, draws: int = 1
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Mean training loss of a batch of windows.

        In training some of each window's first actions are committed (`draw_committed`); those do
        not count in the loss.

        Args:
            batch: observation keys (B, To, *shape) and `action` (B, H or more, A), the chunk last,
                physical units. Padded actions repeat the last one and count: a policy must know to
                stay at the end. `weight` (B, To) may be there: how much each window counts, by its
                newest entry.
            random: source of noise and times, and in training of what varies the observations;
                None draws from the global state.
            draws: noises and times for each window, whose observation is encoded once.

        Returns:
            The loss to minimise, and its parts by name for the log.
        """
        config = self.config
        chunk = batch["action"][:, -config.horizon :]
        if self.training:
            batch = self.encoder.augment(batch, random)
            if config.committed:
                ahead = chunk[:, config.first_action :][:, : config.committed]
                scale = self.action_normalizer.std("action")
                batch = {**batch, **draw_committed(ahead, scale, random)}
        cond, offset, scale = self.encode(batch)
        target = (chunk - offset) / scale
        if draws > 1:
            cond, target = (each.repeat_interleave(draws, dim=0) for each in (cond, target))
        entries = self.generator.loss(self.network, target, cond, random)
        if WEIGHT in batch:
            weight = batch[WEIGHT][:, -1].repeat_interleave(draws, dim=0)
            entries = weight[:, None, None] * entries
        if N_COMMITTED in batch:
            free = free_rows(batch[N_COMMITTED], config.horizon, config.first_action)
            free = free.repeat_interleave(draws, dim=0)
            loss = (free * entries).sum() / (free.sum() * config.action_size)
        else:
            loss = entries.mean()
        # Not as numbers: to read them is to wait for the device.
        return loss, {"loss": loss.detach()}

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
            observation: each key (B, To, *shape).
            noise: standard normal; the same noise gives the same chunk.
            n_steps: steps of the table; None takes the generator's own.
        """
        cond, offset, scale = self.encode(observation)
        return offset + scale * self._generate(cond, noise, n_steps)

    @torch.no_grad()
    def best_of(
        self,
        observation: Mapping[str, Tensor],
        noise: Float[Tensor, "batch candidates horizon action"],
        executed: Float[Tensor, "batch past action"],
        n_steps: int | None = None,
    ) -> Float[Tensor, "batch horizon action"]:
        """Generate several chunks and keep the one whose past is most like what was done.

        Args:
            observation: each key (B, To, *shape); encoded once for all candidates.
            noise: standard normal, for each candidate.
            executed: the actions at the observations but the newest (B, first_action, A), physical
                units; NaN where there was none yet.
            n_steps: steps of the table; None takes the generator's own.

        Raises:
            PolicyError: the policy predicts no past, or not as much as was executed.
        """
        past = self.config.first_action
        if not past or executed.shape[1] != past:
            raise PolicyError(
                f"the policy predicts {past} past actions to compare candidates by, "
                f"{executed.shape[1]} were given"
            )
        _, _, chunks = self.candidates(observation, noise, n_steps)
        return cheapest(
            chunks, past_action_error(chunks, executed, self.action_normalizer.std("action"))
        )

    @torch.no_grad()
    def candidates(
        self,
        observation: Mapping[str, Tensor],
        noise: Float[Tensor, "batch candidates horizon action"],
        n_steps: int | None = None,
    ) -> tuple[
        Float[Tensor, "batch cond"],
        Float[Tensor, "batch candidates horizon action"],
        Float[Tensor, "batch candidates horizon action"],
    ]:
        """Generate several chunks for each observation, which is encoded once.

        Args:
            observation: each key (B, To, *shape).
            noise: standard normal, for each candidate.
            n_steps: steps of the table; None takes the generator's own.

        Returns:
            The condition, and the chunks in normalised and in physical units.
        """
        cond, offset, scale = self.encode(observation)
        n = noise.shape[1]
        x = self._generate(cond.repeat_interleave(n, dim=0), noise.flatten(0, 1), n_steps)
        x = x.reshape(-1, n, *x.shape[1:])
        return cond, x, offset[:, None] + scale * x

    def _generate(self, cond: Tensor, noise: Tensor, n_steps: int | None) -> Tensor:
        """Chunks in normalised units."""
        *_, (chunk, _) = self.walk(cond, noise, n_steps)
        return chunk

    @torch.no_grad()
    def walk(
        self,
        cond: Float[Tensor, "batch cond"],
        noise: Float[Tensor, "batch horizon action"],
        n_steps: int | None = None,
    ) -> Iterator[tuple[Float[Tensor, "batch horizon action"], Float[Tensor, " batch"]]]:
        """Generate, step by step, in normalised units.

        Args:
            cond: what `encode` gives.
            noise: standard normal.
            n_steps: steps of the table; None takes the generator's own. There may be fewer, if the
                generator has a tolerance.

        Yields:
            The chunks after each step, and the score of those before it.
        """
        generator = self.generator
        x = generator.start(noise)
        before = noise
        for row in generator.table(n_steps).to(noise):
            x, score = self.step(x, row, cond)
            chunk = generator.finish(x)
            yield chunk, score
            moved = (chunk - before).square().mean(dim=(1, 2)).sqrt()
            if generator.tolerance and moved.max() < generator.tolerance:
                return
            before = chunk

    def check_fitted(self) -> None:
        """Raise PolicyError when normalisation statistics are missing."""
        self.encoder.check_fitted()
        self.action_normalizer.check_fitted()
