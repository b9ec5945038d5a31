"""Policies as LeRobot wrote them, made whole, and what a run makes of what LeRobot was given."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from bridle.training import runs
from bridle.training.importing import ImportConfig, import_lerobot

from .recipe import made

DATA = Path(__file__).parent / "data"
CASES = sorted(path.name for path in DATA.iterdir())
BEFORE = "policy_preprocessor_step_3_normalizer_processor.safetensors"
AFTER = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
MAXIMUM = 1e-5
"""How far chunks may be from LeRobot's, in the unit of the actions."""


def policy_of(case: str, folder: Path) -> Path:
    """A LeRobot policy, whole."""
    shutil.copytree(DATA / case, folder)
    shapes = folder / "weights.json"
    if shapes.exists():
        weights = {name: made(name, tuple(s)) for name, s in json.loads(shapes.read_text()).items()}
        save_file(weights, folder / "model.safetensors")
    return folder


def imported(path: Path, **options):
    settings = {"out": path.parent / "run", "task": "push", "rate": 10.0} | options
    return import_lerobot(ImportConfig(path, **settings))


def chunk_of(run: Path, case: str) -> np.ndarray:
    """What a run makes of the observations and the noise that LeRobot was given."""
    policy, config = runs.load_policy(run)
    expected = np.load(DATA / case / "expected.npz")
    observation = {}
    for name, keys in config.train["keys"].items():
        values = expected[name]
        if values.dtype == np.uint8:
            observation[keys[0]] = torch.from_numpy(np.moveaxis(values, 2, -1).copy())
        else:
            sizes = [policy.config.encoder.inputs[key].shape[0] for key in keys]
            parts = torch.from_numpy(values).split(sizes, dim=-1)
            observation |= dict(zip(keys, parts, strict=True))
    return policy.sample(observation, torch.from_numpy(expected["noise"])).numpy()


def edit(path: Path, **changes) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))
