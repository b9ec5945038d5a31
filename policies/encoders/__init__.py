"""Observation encoders: named observations with history in, one conditioning vector out."""

from bridle.policies.encoders.base import Encoder, Input
from bridle.policies.encoders.embedding import (
    EMBEDDING,
    EmbeddingEncoder,
    EmbeddingEncoderConfig,
)
from bridle.policies.encoders.image import ImageEncoder, ImageEncoderConfig
from bridle.policies.encoders.objects import ObjectEncoder, ObjectEncoderConfig, ObjectGroup
from bridle.policies.encoders.observation import (
    EncoderConfig,
    ObservationEncoder,
    ObservationEncoderConfig,
    build_encoder,
    vocabulary_of,
)
from bridle.policies.encoders.point_cloud import PointCloudEncoder, PointCloudEncoderConfig
from bridle.policies.encoders.state import Difference, StateEncoder, StateEncoderConfig
from bridle.policies.encoders.table import ENCODERS, PartConfig
from bridle.policies.encoders.text import INSTRUCTION, TextEncoder, TextEncoderConfig
from bridle.policies.encoders.vocabulary import Vocabulary

__all__ = [
    "EMBEDDING",
    "ENCODERS",
    "INSTRUCTION",
    "Difference",
    "EmbeddingEncoder",
    "EmbeddingEncoderConfig",
    "Encoder",
    "EncoderConfig",
    "ImageEncoder",
    "ImageEncoderConfig",
    "Input",
    "ObjectEncoder",
    "ObjectEncoderConfig",
    "ObjectGroup",
    "ObservationEncoder",
    "ObservationEncoderConfig",
    "PartConfig",
    "PointCloudEncoder",
    "PointCloudEncoderConfig",
    "StateEncoder",
    "StateEncoderConfig",
    "TextEncoder",
    "TextEncoderConfig",
    "Vocabulary",
    "build_encoder",
    "vocabulary_of",
]
