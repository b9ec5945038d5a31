"""The table of encoders. Adding one is a file here and a line in `ENCODERS`."""

from typing import Any, TypeAlias

from bridle.policies.encoders.base import Encoder
from bridle.policies.encoders.embedding import EmbeddingEncoder, EmbeddingEncoderConfig
from bridle.policies.encoders.image import ImageEncoder, ImageEncoderConfig
from bridle.policies.encoders.objects import ObjectEncoder, ObjectEncoderConfig
from bridle.policies.encoders.point_cloud import PointCloudEncoder, PointCloudEncoderConfig
from bridle.policies.encoders.state import StateEncoder, StateEncoderConfig
from bridle.policies.encoders.text import TextEncoder, TextEncoderConfig

PartConfig: TypeAlias = (
    StateEncoderConfig
    | ImageEncoderConfig
    | PointCloudEncoderConfig
    | TextEncoderConfig
    | ObjectEncoderConfig
    | EmbeddingEncoderConfig
)
ENCODERS: dict[str, tuple[type[Any], type[Encoder]]] = {
    "state": (StateEncoderConfig, StateEncoder),
    "image": (ImageEncoderConfig, ImageEncoder),
    "point-cloud": (PointCloudEncoderConfig, PointCloudEncoder),
    "text": (TextEncoderConfig, TextEncoder),
    "objects": (ObjectEncoderConfig, ObjectEncoder),
    "embedding": (EmbeddingEncoderConfig, EmbeddingEncoder),
}
"""Name -> settings and class."""


def build_part(config: PartConfig) -> Encoder:
    """The encoder of some settings."""
    return next(made for kind, made in ENCODERS.values() if kind is type(config))(config)
