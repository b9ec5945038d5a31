"""Where a run's numbers go as it trains: TensorBoard always, Weights & Biases if asked."""

import hashlib
from importlib.util import find_spec
from typing import Any

from accelerate.tracking import TensorBoardTracker, WandBTracker

from bridle.training.config import TrainConfig
from bridle.training.exceptions import TrainingError


def require_trackers(config: TrainConfig) -> None:
    """Refuse a run whose numbers could not be logged where it asks.

    Raises:
        TrainingError: Weights & Biases is asked for but not installed.
    """
    if config.wandb is not None and find_spec("wandb") is None:
        raise TrainingError("--wandb needs Weights & Biases: pip install 'bridle[wandb]'")


def trackers(config: TrainConfig, settings: dict[str, Any], first_step: int) -> list[Any]:
    """The trackers of a run.

    Args:
        config: where to log.
        settings: what the run was started with.
        first_step: the first step of this session; what a killed one logged from there on is void.
    """
    found: list[Any] = [TensorBoardTracker("tensorboard", config.out, purge_step=first_step)]
    if config.wandb is not None:
        # The same folder is the same run, so that a continued one goes on in its curves.
        identity = hashlib.sha256(str(config.out.resolve()).encode()).hexdigest()[:16]
        found.append(
            WandBTracker(
                config.wandb,
                name=config.out.name,
                id=identity,
                resume="allow",
                dir=str(config.out),
                config=settings,
            )
        )
    return found
