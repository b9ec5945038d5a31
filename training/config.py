"""Settings of a training run."""

import math
from dataclasses import dataclass
from pathlib import Path

from bridle.training.exceptions import TrainingError


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
    ema_decay: float = 0.995
    """Decay of the averaged weights, which are the ones evaluated and exported."""
    horizon: int = 16
    """Actions predicted per chunk (H)."""
    n_action_steps: int = 8
    """Actions executed per chunk (Ta)."""
    n_obs_steps: int = 1
    """Observations in the history (To)."""
    generator: str = "flow"
    """How noise becomes actions: flow, shortcut, diffusion, energy, or regression for none."""
    network: str = "mlp"
    """What predicts: mlp, unet or transformer."""
    set: tuple[str, ...] = ()
    """Settings of these two, as generator.n_steps=4 network.width=128."""
    val_ratio: float = 0.02
    """Share of episodes held out for the validation loss."""
    seed: int = 0
    """Seed of weights, batches and noise."""
    checkpoint_seconds: float = 10.0
    """Seconds of work at most lost by a kill."""
    log_every: int = 100
    """Steps between lines of the log."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every"):
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
