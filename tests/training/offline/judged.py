"""A set of two ways to act from the same state: one is worth more and costs, the other is safe."""

from pathlib import Path

import numpy as np

from bridle.training.config import TrainConfig
from bridle.training.demonstrations import DemonstrationWriter, known_key
from bridle.training.offline import FISORConfig
from bridle.training.trainer import train
from tests.training.imitation import SIZES, SMALL

STEPS, COSTLY, SAFE = 16, 0.3, -0.3
"""Steps of an episode; where the two ways take the first joint, relative to where it is [rad]."""


def write_ways(path: Path, *, cost: bool = True, reward: bool = True, action: int = 7) -> Path:
    """24 episodes, half of each way, all rewarded at the end, the costly ones more."""
    random = np.random.default_rng(0)
    sizes = SIZES | {"action": action}
    keys = {key: known_key(key, (n,)) for key, n in sizes.items()}
    named = [name for name, there in (("cost", cost), ("reward", reward)) if there]
    with DemonstrationWriter.create(
        path,
        robot="ur5e_2f85",
        task="pick-place",
        control_rate=20.0,
        keys=keys | {name: known_key(name) for name in named},
        instructions=[],
    ) as writer:
        for i in range(24):
            rows = {
                key: (0.01 * random.standard_normal((STEPS, n))).astype(np.float32)
                for key, n in sizes.items()
            }
            rows["action"][:, 0] += COSTLY if i % 2 else SAFE
            given = {"cost": np.zeros(STEPS, np.float32), "reward": np.zeros(STEPS, np.float32)}
            if i % 2:
                given["cost"][:] = 1
            given["reward"][:] = 1.0 if i % 2 else 0.1
            writer.append(rows | {name: given[name] for name in named})
    return path


def imitate(data: Path, out: Path) -> Path:
    """A run that has learned both ways."""
    train(
        TrainConfig(
            data=data, out=out, steps=200, batch_size=64, learning_rate=3e-3, warmup_steps=10,
            val_ratio=0.0, set=SMALL, horizon=8, n_action_steps=4, ema_decay=0.95,
        )
    )  # fmt: skip
    return out


SETTINGS = {
    "steps": 150, "batch_size": 64, "learning_rate": 3e-3, "critic_steps": 150,
    "critic_batch_size": 64, "critic_learning_rate": 3e-3, "width": 32,
}  # fmt: skip


def safer(run: Path, data: Path, out: Path, **settings) -> FISORConfig:
    return FISORConfig(run=run, data=data, out=out, **(SETTINGS | settings))
