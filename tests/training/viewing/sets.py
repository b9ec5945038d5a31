"""Sets to look at: an arm that picks and places, and shapes that nobody expects."""

import numpy as np
import zarr

from bridle.training.demonstrations import DemonstrationWriter, known_key

PHASES = ["above <b>it</b>", "lower & $close$", "lift", "a bit to the left"]


def arm_keys(**more):
    shapes = {
        "action": (7,),
        "tcp_pose": (9,),
        "gripper": (1,),
        "reward": None,
        "instruction_id": None,
        "intervention": None,
    }
    return {key: known_key(key, shape) for key, shape in (shapes | more).items()}


def arm_episode(length, seed=0, corrected=False):
    """Down, close, up, aside; the last step succeeds."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, length, dtype=np.float32)
    tcp = np.zeros((length, 9), np.float32)
    tcp[:, 0] = 0.4 + 0.2 * t + 0.01 * rng.standard_normal()
    tcp[:, 1] = 0.1 * np.sin(3 * t)
    tcp[:, 2] = 0.05 + 0.3 * (2 * t - 1) ** 2
    tcp[:, 3] = tcp[:, 7] = 1
    action = np.sin(t[:, None] * np.arange(1, 8, dtype=np.float32) + seed).astype(np.float32)
    phase = np.minimum(np.arange(length) * 3 // max(length, 1), 2).astype(np.int32)
    person = np.zeros(length, np.bool_)
    if corrected:
        person[length // 2 : length // 2 + 4] = True
        phase[person] = 3
    return {
        "action": action,
        "tcp_pose": tcp,
        "gripper": np.clip(4 * t - 1.5, 0, 0.8)[:, None].astype(np.float32),
        "reward": (np.arange(length) == length - 1).astype(np.float32),
        "instruction_id": phase,
        "intervention": person,
    }


def record_slim(path, lengths=(3, 2, 4)):
    """A set with actions only, which is quick to look at."""
    keys = {"action": known_key("action", (2,))}
    with DemonstrationWriter.create(
        path, robot="arm", task="pick", control_rate=20.0, keys=keys, instructions=[]
    ) as writer:
        for i, length in enumerate(lengths):
            writer.append({"action": arm_episode(length, i)["action"][:, :2]})
    return path


def record_arm(path, lengths=(40, 30, 50), rate=20.0, cameras=(), turns=False):
    """A set of `arm_episode`; the second one is corrected by a person, or its wrist turns over."""
    keys = arm_keys(**dict.fromkeys(cameras, (24, 32, 3)))
    with DemonstrationWriter.create(
        path, robot="arm", task="pick", control_rate=rate, keys=keys, instructions=PHASES
    ) as writer:
        for i, length in enumerate(lengths):
            rows = arm_episode(length, i, corrected=i == 1)
            if turns and i == 1:
                rows["action"][:, 5] = (np.linspace(2, 5, length) + np.pi) % (2 * np.pi) - np.pi
            for name in cameras:
                rows[name] = pictures(length, (24, 32, 3))
            writer.append(rows)
    return path


def pictures(length, shape):
    """A square that wanders over a grey ground."""
    frames = np.full((length, *shape), 90, np.uint8)
    for i in range(length):
        x = (i * 3) % (shape[1] - 8)
        frames[i, 8:16, x : x + 8] = (220, 40, 40)
    return frames


def record_foreign(path, ends, **arrays):
    """A set without attributes, as diffusion_policy writes them."""
    group = zarr.create_group(path, zarr_format=2)
    for name, rows in arrays.items():
        chunks = (max(1, min(16, len(rows) // 3)), *rows.shape[1:])
        group.create_array(f"data/{name}", data=rows, chunks=chunks)
    group.create_array("meta/episode_ends", data=np.asarray(ends, np.int64))
    return path
