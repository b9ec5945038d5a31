"""Embeddings of a set's pictures by a trained run's image encoder, which stays as it is.

A policy with a long history of pictures is costly to train; one with a long history of embeddings
is not (arXiv 2505.09561). `embed` writes them into a copy of a set; a policy trained on that with
`--observe embedding` takes the encoder along.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bridle.policies import (
    EMBEDDING,
    EmbeddingEncoder,
    EmbeddingEncoderConfig,
    Encoder,
    ImageEncoder,
    ObservationEncoder,
    Policy,
)
from bridle.training.demonstrations import DemonstrationError, DemonstrationSet, KeySpec
from bridle.training.demonstrations.progress import Progress, silent
from bridle.training.demonstrations.resuming import create_or_resume_with
from bridle.training.demonstrations.rewriting import Rewritten, described, ours
from bridle.training.demonstrations.schema import Array
from bridle.training.demonstrations.storage import StoredSet, opened_sound
from bridle.training.exceptions import TrainingError
from bridle.training.runs import load_policy

COMMAND = "embed"
FRAMES = 256
"""Frames that are encoded at once."""


def _parts(encoder: Encoder) -> list[Any]:
    return list(encoder.parts) if isinstance(encoder, ObservationEncoder) else [encoder]


def _image_encoder(run: Path) -> ImageEncoder:
    """The image encoder of a run, for single frames."""
    policy, _ = load_policy(run)
    found = [part for part in _parts(policy.encoder) if isinstance(part, ImageEncoder)]
    if not found:
        raise TrainingError(f"the policy of {run} sees no pictures; train it with --observe image")
    encoder = ImageEncoder(replace(found[0].config, n_obs_steps=1))
    encoder.load_state_dict(found[0].state_dict())
    return encoder.eval()


def _digest(encoder: ImageEncoder) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def embed(run: Path, data: Path | str, out: Path | str, progress: Progress = silent) -> Rewritten:
    """Write a copy of a set with the key `embedding` (E,) for every frame, or go on with it.

    Frames are seen as in evaluation, by their middle: what was varied when the encoder was trained
    cannot be varied again.

    Args:
        run: training run of a policy that sees pictures.
        data: set with the same cameras.
        out: folder of the new set.
        progress: told how far it is.

    Raises:
        TrainingError: the run is damaged, or its policy sees no pictures.
        DemonstrationError: the set lacks a camera or has pictures of another size, it is damaged,
            or another set is at `out`.
    """
    encoder = EmbeddingEncoder(EmbeddingEncoderConfig(_image_encoder(run).config))
    encoder.frozen.load_state_dict(_image_encoder(run).state_dict())
    with opened_sound(data) as (stored, _):
        attributes = ours(stored)
        for camera, size in encoder.config.image.cameras.items():
            if camera not in attributes.keys or attributes.keys[camera].shape != (*size, 3):
                raise DemonstrationError(
                    f"{data} must have {camera} of {(*size, 3)}, which {run} was trained on"
                )
        meaning = "what a frozen image encoder makes of the pictures"
        its = replace(
            attributes,
            keys={
                **attributes.keys,
                EMBEDDING: KeySpec((encoder.config.size,), "float32", "1", meaning),
            },
            source={
                "command": COMMAND,
                "run": str(run),
                "weights": _digest(encoder.frozen),
                "input": described(stored, progress),
            },
        )
        with create_or_resume_with(out, its) as writer:
            resumed = writer.n_episodes
            for episode in range(resumed, stored.n_episodes):
                values = {
                    name: stored.episode_values[name][episode].item()
                    for name in attributes.episode_keys
                }
                writer.append_blocks(_blocks(stored, episode, encoder), values)
                progress(f"embedding {data}", writer.n_steps, stored.n_steps)
            return Rewritten(str(out), writer.n_episodes, writer.n_steps, resumed)


def _blocks(
    stored: StoredSet, episode: int, encoder: EmbeddingEncoder
) -> Iterator[Mapping[str, Array]]:
    start, stop = stored.span(episode)
    for first in range(start, stop, FRAMES):
        last = min(first + FRAMES, stop)
        rows = {key: stored.read(key, first, last) for key in sorted(ours(stored).keys)}
        pictures = {
            camera: torch.from_numpy(rows[camera]) for camera in encoder.config.image.cameras
        }
        yield {**rows, EMBEDDING: encoder.embed(pictures).numpy()}


def frozen_encoder(data: DemonstrationSet) -> ImageEncoder:
    """The encoder that made a set's embeddings.

    Raises:
        TrainingError: the set has none, or its run is gone or has been trained further.
    """
    source: Any = data.attributes.source if data.attributes is not None else {}
    while isinstance(source, Mapping) and source.get("command") != COMMAND:
        # A set made of another one says what that one said.
        source = source.get("input", {}).get("source") if "input" in source else None
    if source is None or EMBEDDING not in data.arrays:
        raise TrainingError("the set has no embeddings; bridle data embed makes a set that has")
    encoder = _image_encoder(Path(source["run"]))
    if _digest(encoder) != source["weights"]:
        raise TrainingError(
            f"{source['run']} has been trained further since the set's embeddings were made; "
            "embed it again"
        )
    return encoder


def embedders(encoder: Encoder) -> list[EmbeddingEncoder]:
    """The parts of a policy's encoder that read embeddings."""
    return [part for part in _parts(encoder) if isinstance(part, EmbeddingEncoder)]


def give_frozen(policy: Policy, data: DemonstrationSet) -> None:
    """Give a policy of embeddings the encoder that made them."""
    for part in embedders(policy.encoder):
        part.frozen.load_state_dict(frozen_encoder(data).state_dict())
