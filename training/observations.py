"""What a policy observes: encoders by name, made to fit a demonstration set.

The set decides what they read: its cameras and their size, its sentences, the layout of its task's
objects.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.policies import (
    INSTRUCTION,
    EncoderConfig,
    ObservationEncoderConfig,
    PartConfig,
    PolicyConfig,
    TextEncoderConfig,
    Vocabulary,
    vocabulary_of,
)
from bridle.training.demonstrations import DemonstrationSet
from bridle.training.demonstrations.schema import CAMERA_PREFIX, DEPTH_PREFIX
from bridle.training.demonstrations.storage import StoredSet
from bridle.training.demonstrations.windows import window_table
from bridle.training.embeddings import frozen_encoder
from bridle.training.exceptions import TrainingError
from bridle.training.presets import DIFFERENCES, OBJECTS, OWN_KEYS, STATE_KEYS
from bridle.training.structure import build

Array = NDArray[Any]
CLOUD, SENTENCES = "point_cloud", ("goal_id", "instruction_id")
LARGE, SPREAD = 64, 1024
"""Observations of more numbers than `LARGE` give their statistics by `SPREAD` of all windows."""


@dataclass(frozen=True)
class _Seen:
    """What the encoders of one policy are made from."""

    data: DemonstrationSet
    n_obs_steps: int
    names: tuple[str, ...]
    """What is observed."""
    settings: Mapping[str, Mapping[str, Any]]
    """Name of an encoder -> what a person set."""

    def build(self, kind: str, **decided: Any) -> Any:
        return build("encoder", kind, self.settings.get(kind, {}), **decided)

    def state(self, wanted: Sequence[str], *, differences: bool) -> PartConfig:
        data = self.data
        keys = {key: data.arrays[key].shape[1] for key in wanted if key in data.arrays}
        if not keys:
            raise TrainingError(f"the set has none of the observations {', '.join(wanted)}")
        config: PartConfig = self.build(
            "state",
            keys=keys,
            differences=DIFFERENCES.get(data.task, ()) if differences else (),
            n_obs_steps=self.n_obs_steps,
        )
        return config

    def image(self) -> PartConfig:
        arrays = self.data.arrays
        cameras = {k: arrays[k].shape[1:3] for k in arrays if k.startswith(CAMERA_PREFIX)}
        if not cameras:
            raise TrainingError("the set has no pictures; collect with --cameras front")
        config: PartConfig = self.build("image", cameras=cameras, n_obs_steps=self.n_obs_steps)
        return config

    def point_cloud(self) -> PartConfig:
        if CLOUD not in self.data.arrays:
            raise TrainingError("the set has no point clouds; collect with --points 1024")
        _, points, channels = self.data.arrays[CLOUD].shape
        config: PartConfig = self.build(
            "point-cloud", points=points, channels=channels, n_obs_steps=self.n_obs_steps
        )
        return config

    def embedding(self) -> PartConfig:
        config: PartConfig = self.build(
            "embedding", image=frozen_encoder(self.data).config, n_obs_steps=self.n_obs_steps
        )
        return config

    def text(self) -> TextEncoderConfig:
        ids = self.data.arrays[_sentence_key(self.data.arrays, self.data.instructions)]
        said = [self.data.instructions[i] for i in np.unique(ids)]
        names = [name for group in OBJECTS.get(self.data.task, ()) for name in group.names]
        vocabulary = Vocabulary.of(said)
        words = (*vocabulary.words, *(name for name in names if name not in vocabulary.words))
        config: TextEncoderConfig = self.build(
            "text",
            vocabulary=Vocabulary(tuple(words), vocabulary.length),
            n_obs_steps=self.n_obs_steps,
        )
        return config

    def objects(self) -> PartConfig:
        data = self.data
        if data.task not in OBJECTS:
            raise TrainingError(
                f"where the objects of {data.task!r} are in object_state is not known; it is for "
                f"{', '.join(OBJECTS)} (training/presets.py)"
            )
        for key in ("object_state", "tcp_pose"):
            if key not in data.arrays:
                raise TrainingError(f"to observe objects the set must have {key}")
        config: PartConfig = self.build(
            "objects",
            groups=OBJECTS[data.task],
            object_size=data.arrays["object_state"].shape[1],
            tool_size=data.arrays["tcp_pose"].shape[1],
            text=self.text(),
            # Pictures of the objects would not change places with them.
            **({} if {*self.names} <= {"objects", "text", "state"} else {"permute": False}),
        )
        return config


OBSERVED: dict[str, Callable[[_Seen], PartConfig]] = {
    "state": lambda seen: seen.state(STATE_KEYS, differences=True),
    "image": _Seen.image,
    "point-cloud": _Seen.point_cloud,
    "objects": _Seen.objects,
    "embedding": _Seen.embedding,
    "text": _Seen.text,
}
"""What `--observe` may name -> its encoder for a set."""


def names_of(observe: str) -> tuple[str, ...]:
    """The encoders that `--observe` names.

    Raises:
        TrainingError: there is none of that name, or one is named twice.
    """
    names = tuple(observe.split("+"))
    unknown = [name for name in names if name not in OBSERVED]
    if unknown or len(set(names)) != len(names) or names == ("text",):
        raise TrainingError(
            f"observe must be of {', '.join(OBSERVED)}, joined by + and not text alone, "
            f"got {observe!r}"
        )
    return names


def settable(observe: str) -> tuple[str, ...]:
    """Parts for which a person may set something: `encoder`, the first one, and others by name."""
    first, *others = names_of(observe)
    text = ["text"] if first == "objects" and "text" not in others else []
    return ("encoder", *others, *text)


def encoder_config(
    observe: str,
    data: DemonstrationSet,
    n_obs_steps: int,
    settings: Mapping[str, Mapping[str, Any]],
) -> EncoderConfig:
    """The encoder that fits a demonstration set.

    Args:
        observe: what to observe, `image+text`.
        data: the set.
        n_obs_steps: observations in the history (To).
        settings: what a person set, by the parts that `settable` names.

    Raises:
        TrainingError: the set lacks what is to be observed, or a setting does not fit.
    """
    first, *others = names_of(observe)
    by_name = {first: settings.get("encoder", {})}
    by_name |= {name: each for name, each in settings.items() if name != "encoder"}
    seen = _Seen(data, n_obs_steps, (first, *others), by_name)
    parts = tuple(OBSERVED[name](seen) for name in seen.names)
    if "state" not in seen.names:
        parts = (seen.state(OWN_KEYS, differences=False), *parts)
    return parts[0] if len(parts) == 1 else ObservationEncoderConfig(parts)


def _sentence_key(arrays: Mapping[str, object], instructions: Sequence[str]) -> str:
    for key in SENTENCES:
        if key in arrays and instructions:
            return key
    raise TrainingError(f"the set has no instructions ({' or '.join(SENTENCES)})")


def observed_arrays(config: EncoderConfig, data: DemonstrationSet) -> Mapping[str, Array]:
    """The arrays of a set, (n_steps, ...) each; its sentences as tokens where they are read."""
    vocabulary = vocabulary_of(config)
    if vocabulary is None:
        return data.arrays
    ids = data.arrays[_sentence_key(data.arrays, data.instructions)]
    return {**data.arrays, INSTRUCTION: _tokens(vocabulary, data.instructions, ids)}


def _tokens(vocabulary: Vocabulary, instructions: Sequence[str], ids: Array) -> Array:
    tokens = np.zeros((len(instructions), vocabulary.length), np.int64)
    for i in np.unique(ids):
        tokens[i] = vocabulary.encode(instructions[i])
    return tokens[ids]


def stored_observations(config: PolicyConfig, stored: StoredSet, n: int) -> dict[str, Array]:
    """Histories for a policy, evenly from a whole set, of which nothing else is read.

    Args:
        config: of the policy.
        stored: an opened set, which must have what the policy observes.
        n: how many.

    Returns:
        Each key (n, To, ...).

    Raises:
        TrainingError: the set has no instructions.
        DemonstrationError: a chunk is damaged.
    """
    windows = window_table(
        stored.episode_ends,
        config.window_steps,
        config.encoder.n_obs_steps - 1,
        config.n_action_steps - 1,
        np.arange(stored.n_episodes),
    )
    chosen = windows[np.linspace(0, len(windows) - 1, n).astype(np.int64)]
    steps = chosen[:, :1] + np.arange(config.encoder.n_obs_steps)
    rows = np.clip(steps, chosen[:, 1:2], chosen[:, 2:])

    def read(key: str) -> Array:
        return np.stack([stored.read(key, row, row + 1)[0] for row in rows.flat]).reshape(
            *rows.shape, *stored.arrays[key].shape[1:]
        )

    found = {key: read(key) for key in config.encoder.inputs if key != INSTRUCTION}
    if (vocabulary := vocabulary_of(config.encoder)) is not None:
        said = stored.attributes.instructions if stored.attributes else ()
        ids = read(_sentence_key(stored.arrays, said))
        found[INSTRUCTION] = _tokens(vocabulary, said, ids)
    return found


def statistics_keys(config: EncoderConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Inputs whose statistics are taken from all windows, and from some because they are large."""
    fitted = {key: math.prod(i.shape) > LARGE for key, i in config.inputs.items() if i.fitted}
    return tuple(k for k in fitted if not fitted[k]), tuple(k for k in fitted if fitted[k])


def environment_options(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """What an environment must be asked for to be seen as in a set: plain types."""
    cameras = [key for key in arrays if key.startswith(CAMERA_PREFIX)]
    if not cameras:
        return {}
    height, width = arrays[cameras[0]].shape[1:3]
    options: dict[str, Any] = {
        "cameras": [key.removeprefix(CAMERA_PREFIX) for key in cameras],
        "image_width": int(width),
        "image_height": int(height),
    }
    if any(key.startswith(DEPTH_PREFIX) for key in arrays):
        options["depth"] = True
    if CLOUD in arrays:
        options["points"] = int(arrays[CLOUD].shape[1])
    return options
