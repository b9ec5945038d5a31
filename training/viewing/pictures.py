"""Pictures of any stored kind as RGB."""

from dataclasses import dataclass
from functools import cache

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bridle.training.demonstrations.schema import Array
from bridle.training.viewing.keys import Key
from bridle.training.viewing.reading import Reader

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Scale:
    """The numbers that are drawn as black and as white (near and far for distances)."""

    low: float
    high: float

    @classmethod
    def of(cls, key: Key, samples: list[Array]) -> "Scale":
        """The scale of a key, judged by some of its frames."""
        if key.dtype == np.uint8 and not key.is_depth:
            return cls(0.0, 255.0)
        if key.dtype == np.bool_:
            return cls(0.0, 1.0)
        values = np.concatenate([sample.ravel() for sample in samples]).astype(np.float64)
        values = values[np.isfinite(values)]
        if not values.size:
            return cls(0.0, 1.0)
        if key.is_depth:
            # What a camera sees of the sky must not make all else one colour.
            low, high = np.percentile(values, [1, 99])
            return cls(float(low), float(high))
        low, high = float(values.min()), float(values.max())
        if low >= 0:
            usual = [white for white in (1.0, 255.0, 65535.0) if high <= white]
            return cls(0.0, usual[0] if usual else high)
        return cls(-1.0, 1.0) if low >= -1 and high <= 1 else cls(low, high)


def sampled_scale(reader: Reader, key: Key) -> Scale:
    """The scale of a key, from three frames of up to four episodes."""
    some = reader.episodes[:: max(1, len(reader.episodes) // 4)][:4]
    lengths = {episode: int(reader.lengths[episode]) for episode in some}
    steps = [(e, step) for e, n in lengths.items() for step in sorted({0, n // 2, n - 1})]
    return Scale.of(key, [reader.row(key.name, *at) for at in steps])


def to_rgb(key: Key, frame: Array, scale: Scale) -> Frame:
    """A stored frame as (H, W, 3); transparent pixels are laid on white."""
    if key.layout == "CHW":
        frame = np.moveaxis(frame, 0, -1)
    if key.layout == "HW":
        frame = frame[..., None]
    if frame.dtype == np.uint8 and frame.shape[2] == 3 and (scale.low, scale.high) == (0, 255):
        return np.ascontiguousarray(frame)
    span = scale.high - scale.low or 1.0
    share = np.nan_to_num((frame.astype(np.float64) - scale.low) / span, nan=0.0).clip(0, 1)
    if key.is_depth:
        return _depth_colours()[np.round(255 * share[..., 0]).astype(np.uint8)]
    if share.shape[2] == 4:
        alpha = share[..., 3:]
        share = share[..., :3] * alpha + 1 - alpha
    pixels = np.round(255 * share).astype(np.uint8)
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels[..., :1], 3, axis=2)


@cache
def _depth_colours() -> Frame:
    colours = matplotlib.colormaps["viridis_r"](np.arange(256))[:, :3]
    return np.round(255 * colours).astype(np.uint8)


def fitted(frame: Frame, width: int, height: int) -> Image.Image:
    """A frame scaled to lie within a box, its shape kept."""
    rows, columns = frame.shape[:2]
    scale = min(width / columns, height / rows)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    image = Image.fromarray(frame)
    if scale >= 1:
        return image.resize(size, Image.Resampling.BICUBIC)
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
