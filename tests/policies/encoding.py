"""One small encoder of each kind, and observations for it."""

import numpy as np
import torch

from bridle.policies import (
    INSTRUCTION,
    Difference,
    EmbeddingEncoderConfig,
    EncoderConfig,
    ImageEncoderConfig,
    ObjectEncoderConfig,
    ObjectGroup,
    ObservationEncoderConfig,
    PointCloudEncoderConfig,
    StateEncoderConfig,
    TextEncoderConfig,
    Vocabulary,
)

COLOURS = ("red", "green", "blue")
SENTENCES = tuple(f"put the {c} cube into the {b} bin" for c in COLOURS for b in ("left", "right"))
VOCABULARY = Vocabulary.of(SENTENCES)
CUBES = ObjectGroup(COLOURS, (0, 5, 10), 5)
BINS = (ObjectGroup(("left",), (15,), 2, 2), ObjectGroup(("right",), (17,), 2, 2))


def text(steps: int = 1, **settings) -> TextEncoderConfig:
    return TextEncoderConfig(VOCABULARY, steps, **settings)


def images(steps: int = 1, **settings) -> ImageEncoderConfig:
    cameras = {"camera_front": (48, 56), "camera_wrist": (48, 56)}
    return ImageEncoderConfig(cameras, steps, **({"width": 16, "features": 8} | settings))


def every_kind(steps: int) -> dict[str, EncoderConfig]:
    state = StateEncoderConfig(
        {"joint_position": 6, "tcp_pose": 9},
        (Difference("tcp_pose", 0, "joint_position", 0, 3),),
        steps,
    )
    kinds = {
        "state": state,
        "text": text(steps),
        "text, attention": text(steps, pooling="attention"),
        "objects": ObjectEncoderConfig((CUBES, *BINS), 19, text(steps)),
        "resnet": images(steps),
        "resnet, shared": images(steps, shared=True),
        "resnet, normalised": images(steps, normalise=True, rectify=True, crop_size=(40, 44)),
        "vit": images(steps, backbone="vit"),
        "point cloud": PointCloudEncoderConfig(20, 6, steps),
        "point cloud, no colours": PointCloudEncoderConfig(20, 6, steps, colours=False),
        "embedding": EmbeddingEncoderConfig(images(), steps),
    }
    joined = tuple(kinds[kind] for kind in ("state", "vit", "objects", "text"))
    return {**kinds, "joined": ObservationEncoderConfig(joined)}


def observe(config: EncoderConfig, rows: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random observations that fit."""
    random = torch.Generator().manual_seed(seed)
    observation = {}
    for key, wanted in config.inputs.items():
        shape = (rows, config.n_obs_steps, *wanted.shape)
        if key == INSTRUCTION:
            tokens = torch.from_numpy(np.stack([VOCABULARY.encode(s) for s in SENTENCES]))
            chosen = torch.randint(len(SENTENCES), (rows, 1), generator=random)
            observation[key] = tokens[chosen.expand(-1, config.n_obs_steps)]
        elif wanted.dtype == torch.uint8:
            observation[key] = torch.randint(256, shape, generator=random, dtype=torch.uint8)
        else:
            observation[key] = torch.randn(shape, generator=random)
    return observation


def fitted(encoder, observation) -> None:
    encoder.fit({key: values[:, -1] for key, values in observation.items()})
