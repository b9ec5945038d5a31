"""A small demonstration set and the settings of small runs on it."""

from pathlib import Path

import numpy as np
import torch

from bridle.training import runs
from bridle.training.config import TrainConfig
from bridle.training.demonstrations import DemonstrationWriter, known_key

SIZES = {"action": 7, "joint_position": 6, "gripper": 1, "tcp_pose": 9, "object_state": 8}
SMALL = ("network.width=32", "network.blocks=1")


def write_set(path: Path) -> Path:
    random = np.random.default_rng(0)
    with DemonstrationWriter.create(
        path,
        robot="ur5e_2f85",
        task="pick-place",
        control_rate=20.0,
        keys={key: known_key(key, (n,)) for key, n in SIZES.items()},
        instructions=[],
    ) as writer:
        for _ in range(12):
            steps = int(random.integers(20, 40))
            writer.append(
                {
                    key: random.standard_normal((steps, n)).cumsum(0).astype(np.float32) * 0.01
                    for key, n in SIZES.items()
                }
            )
    return path


def small(data: Path, out: Path, **settings) -> TrainConfig:
    defaults = {"steps": 40, "batch_size": 32, "log_every": 20, "set": SMALL, "val_ratio": 0.1}
    return TrainConfig(data=data, out=out, **(defaults | settings))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return runs.load_tensors(run / runs.MODEL)


def state(run: Path) -> dict[str, torch.Tensor]:
    return runs.load_tensors(run / runs.STATE)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
