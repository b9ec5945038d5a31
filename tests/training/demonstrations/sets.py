"""Sets to test with, and ways to harm them."""

import json
import os

import numcodecs
import numpy as np
import zarr

from bridle.training.demonstrations import DemonstrationWriter, known_key
from bridle.training.demonstrations.validation import validate

KEYS = {
    "action": known_key("action", (7,)),
    "joint_position": known_key("joint_position", (6,)),
    "reward": known_key("reward"),
    "instruction_id": known_key("instruction_id"),
    "intervention": known_key("intervention"),
    "timestamp": known_key("timestamp"),
    "camera_front": known_key("camera_front", (4, 5, 3)),
}
SETTINGS = {
    "robot": "ur5e",
    "task": "pick-place",
    "control_rate": 20.0,
    "keys": KEYS,
    "instructions": ["reach", "grasp"],
}


def episode(length, seed=0):
    rng = np.random.default_rng(seed)
    rows = {
        key: (100 * rng.random((length, *spec.shape))).astype(spec.dtype)
        for key, spec in KEYS.items()
    }
    rows["instruction_id"] %= 2
    rows["timestamp"] = np.arange(length) / 20
    return rows


def record(path, lengths=(30, 1, 20), first_seed=0, **changes):
    """Write a set; with `episode_keys={"seed": ...}` each episode brings its seed."""
    settings = {**SETTINGS, **changes}
    seeds = range(first_seed, first_seed + len(lengths))
    episodes = []
    with DemonstrationWriter.create(path, **settings) as writer:
        for length, seed in zip(lengths, seeds, strict=True):
            rows = {key: episode(length, seed)[key] for key in settings["keys"]}
            writer.append(rows, {"seed": seed} if "episode_keys" in changes else None)
            episodes.append(rows)
    return episodes


def files_of(path):
    """Every file below a folder with its content."""
    return {f.relative_to(path): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def assert_holds(demonstrations, episodes):
    assert demonstrations.n_episodes == len(episodes)
    for i, expected in enumerate(episodes):
        found = demonstrations.episode(i)
        assert found.keys() == expected.keys()
        for key, rows in expected.items():
            assert found[key].dtype == rows.dtype
            np.testing.assert_array_equal(found[key], rows)


def errors(path):
    return [problem for problem in validate(path) if problem.severity == "error"]


def edit_json(path, name, change):
    content = json.loads((path / name).read_text())
    change(content)
    (path / name).write_text(json.dumps(content))


def poke(path, key, index, value):
    zarr.open_group(path, mode="a", zarr_format=2)[key][index] = value


def cut(path, name, size):
    os.truncate(path / name, size)


def scramble(path, name):
    content = bytearray((path / name).read_bytes())
    content[16:] = bytes(255 - byte for byte in content[16:])
    (path / name).write_bytes(content)


def foreign(path):
    """A set in the layout of diffusion_policy, which has no attributes."""
    root = zarr.create_group(path, zarr_format=2)
    blosc = numcodecs.Blosc("zstd", 5, numcodecs.Blosc.BITSHUFFLE)
    rng = np.random.default_rng(0)
    rows = {
        "action": rng.random((25, 2), np.float32),
        "state": rng.random((25, 5), np.float32),
        "img": rng.random((25, 6, 6, 3), np.float32),
    }
    for key, value in rows.items():
        chunks = (8, 3, 6, 3) if key == "img" else (10, *value.shape[1:])
        root.create_array(f"data/{key}", data=value, chunks=chunks, compressors=blosc)
    root.create_array("meta/episode_ends", data=np.array([10, 25]), compressors=blosc)
    return rows
