"""Settings of a training run."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from bridle.training.evaluation import FIRST_SEED, SELECTION_SEED
from bridle.training.exceptions import TrainingError

Precision = Literal["no", "bf16"]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run."""

    data: Path
    """Demonstration set (zarr folder or zip)."""
    out: Path
    """Run folder. The same command again continues a run that was cut off."""
    steps: int = 9000
    """Optimiser steps."""
    batch_size: int = 256
    """Windows per step, over all processes."""
    learning_rate: float = 1e-3
    """Peak learning rate; a cosine takes it to zero."""
    warmup_steps: int = 200
    """Steps over which the learning rate rises linearly."""
    weight_decay: float = 1e-4
    """AdamW weight decay."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW decay of the gradient's mean and of its square."""
    ema_decay: float = 0.995
    """Decay of the averaged weights, which are the ones evaluated and exported."""
    horizon: int = 16
    """Actions predicted per chunk (H)."""
    n_action_steps: int = 8
    """Actions executed per chunk (Ta)."""
    n_obs_steps: int = 1
    """Observations in the history (To)."""
    past: bool = True
    """Whether chunks begin at the oldest observation: past actions are then predicted too, which
    keeps a long history from misleading, and --horizon has to have room for them."""
    committed: int = 0
    """Actions of the running chunk that may be given to the policy, which goes on from them: as
    many as a robot executes while a chunk is computed, and some to spare. 0: none."""
    observe: str = "state"
    """What the policy sees of the task: state, image, point-cloud, objects or embedding, and +text
    for the instruction, as in image+text. The robot's own joints and tool it always sees."""
    generator: str = "flow"
    """How noise becomes actions: flow, shortcut, diffusion, energy, or regression for none."""
    network: str = "mlp"
    """What predicts: mlp, unet or transformer."""
    set: tuple[str, ...] = ()
    """Settings of these, as generator.n_steps=4 network.width=128 encoder.crop=0.9 text.width=64;
    encoder is the first that is observed."""
    val_ratio: float = 0.02
    """Share of episodes held out for the validation loss."""
    seed: int = 0
    """Seed of weights, batches and noise."""
    checkpoint_seconds: float = 10.0
    """Seconds of work at most lost by a kill."""
    log_every: int = 100
    """Steps between lines of the log."""
    accumulate: int = 1
    """Equal parts in which a batch goes through the network, for batches that do not fit into
    memory at once; the step is that of the whole batch."""
    draws: int = 1
    """Noises and times with which each window is learned in a step. Its observation is encoded
    once, so that more of them cost little where encoding costs most: pictures and clouds."""
    precision: Precision = "no"
    """`bf16` computes matrix products in bfloat16; weights, their average, normalisation and the
    optimiser stay in float32."""
    compile: bool = False
    """Compile the network (torch.compile): slower to start, then faster on a GPU."""
    evaluate_every: int = 0
    """Steps between evaluations in simulation, and one after the last step; 0 for none. The best
    weights then become the run's policy."""
    evaluate_episodes: int = 20
    """Episodes of such an evaluation, on seeds of their own."""
    keep_best: int = 3
    """Evaluated weights to keep in `checkpoints/`, the most successful ones."""
    wandb: str | None = None
    """Project of Weights & Biases to log to, beside TensorBoard."""
    preset: str | None = None
    """Where the settings start from; those given beside it go over it. docs/training.md lists the
    presets."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "accumulate", "draws", "keep_best"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise TrainingError(f"learning_rate must be positive, got {self.learning_rate}")
        if not (math.isfinite(self.checkpoint_seconds) and self.checkpoint_seconds >= 0):
            raise TrainingError(
                f"checkpoint_seconds must not be negative, got {self.checkpoint_seconds}"
            )
        if not 0 <= self.seed < 2**31:
            raise TrainingError(f"seed must lie in 0..2^31-1, got {self.seed}")
        if self.warmup_steps < 0:
            raise TrainingError(f"warmup_steps must not be negative, got {self.warmup_steps}")
        if not 0 <= self.ema_decay < 1:
            raise TrainingError(f"ema_decay must lie in [0, 1), got {self.ema_decay}")
        if not 0 <= self.val_ratio < 1:
            raise TrainingError(f"val_ratio must lie in [0, 1), got {self.val_ratio}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise TrainingError(f"betas must be two numbers in [0, 1), got {self.betas}")
        if self.batch_size % self.accumulate:
            raise TrainingError(
                f"batch_size must be a multiple of accumulate, got {self.batch_size} and "
                f"{self.accumulate}"
            )
        if self.precision not in get_args(Precision):
            raise TrainingError(f"precision must be no or bf16, got {self.precision!r}")
        if self.compile and self.generator == "energy":
            raise TrainingError(
                "compile cannot be used with the generator energy: it needs second derivatives, "
                "which compiled networks do not have"
            )
        if self.evaluate_every < 0:
            raise TrainingError(f"evaluate_every must not be negative, got {self.evaluate_every}")
        if not 1 <= self.evaluate_episodes <= FIRST_SEED - SELECTION_SEED:
            raise TrainingError(
                f"evaluate_episodes must lie in 1..{FIRST_SEED - SELECTION_SEED}, so that their "
                f"seeds are not those of `bridle evaluate`; got {self.evaluate_episodes}"
            )

    def evaluates_at(self, step: int) -> bool:
        """Whether the weights are evaluated in simulation after this step."""
        return self.evaluate_every > 0 and (step % self.evaluate_every == 0 or step == self.steps)
