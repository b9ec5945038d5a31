"""What the numbers of a key are: pictures or channels, with their names and units."""

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bridle.training.demonstrations import KeySpec
from bridle.training.demonstrations.schema import CAMERA_PREFIX, DEPTH_PREFIX

Layout = Literal["HWC", "CHW", "HW"]
_COLOURS = (1, 3, 4)
_LEAST_SIDE = 8
"""Pixels a side must have for an array without a camera's name to be taken as a picture."""
_POSITION = re.compile(r"(tcp|eef|ee)_?(pose|pos|position)$")
_TCP = ("x", "y", "z", "R00", "R10", "R20", "R01", "R11", "R21")
ALL_CHANNELS, SOME_CHANNELS = 96, 24
"""A key with more channels than the first is shown by the second number of them."""


@dataclass(frozen=True)
class Key:
    """One key of a set."""

    name: str
    shape: tuple[int, ...]
    """Shape of one time step."""
    dtype: "np.dtype[Any]"
    unit: str | None
    """None where the set does not say."""
    meaning: str

    @classmethod
    def of(
        cls, name: str, shape: tuple[int, ...], dtype: "np.dtype[Any]", spec: KeySpec | None
    ) -> "Key":
        """A stored array, and what the set's attributes say about it."""
        unit, meaning = (spec.unit, spec.meaning) if spec else (None, "")
        return cls(name, shape, np.dtype(dtype), unit, meaning)

    @property
    def layout(self) -> Layout | None:
        """How the axes of a picture are ordered; None for what is not a picture."""
        named = self.name.startswith((CAMERA_PREFIX, DEPTH_PREFIX))
        least = 1 if named else _LEAST_SIDE
        if len(self.shape) == 3:
            if self.shape[2] in _COLOURS and min(self.shape[:2]) >= least:
                return "HWC"
            if self.shape[0] in _COLOURS and min(self.shape[1:]) >= least:
                return "CHW"
        if len(self.shape) == 2 and (
            named or (self.dtype == np.uint8 and min(self.shape) >= 2 * _LEAST_SIDE)
        ):
            return "HW"
        return None

    @property
    def is_depth(self) -> bool:
        """Whether the pixels are distances."""
        return self.name.startswith(DEPTH_PREFIX)

    @property
    def is_position(self) -> bool:
        """Whether its first three channels are where the tool is."""
        return bool(_POSITION.search(self.name)) and len(self.shape) == 1 and self.shape[0] >= 3

    @property
    def is_scalar(self) -> bool:
        """Whether a time step holds one number."""
        return math.prod(self.shape) == 1

    @property
    def n_channels(self) -> int:
        """Numbers in a time step; for a picture its colours, whose means over the frame count."""
        if self.layout is None:
            return math.prod(self.shape)
        return {"HWC": self.shape[-1], "CHW": self.shape[0], "HW": 1}[self.layout]

    @property
    def channels(self) -> list[int]:
        """Those that are shown: all of them, or some, evenly chosen."""
        if self.n_channels <= ALL_CHANNELS:
            return list(range(self.n_channels))
        places = np.linspace(0, self.n_channels - 1, SOME_CHANNELS).round()
        return [int(place) for place in places]

    def channel_name(self, channel: int) -> str:
        """What a channel is, as far as the key tells."""
        if self.layout is not None:
            if self.is_depth:
                return "mean distance"
            names = ("red", "green", "blue", "alpha") if self.n_channels > 1 else ("brightness",)
            return f"mean {names[channel]}"
        if self.n_channels == 1:
            return self.name
        if self.is_position and (channel < 3 or self.shape == (9,)):
            return _TCP[channel]
        last = self.n_channels - 1
        if self.name == "action" and self.meaning.endswith("gripper last") and channel == last:
            return "gripper"
        if self.name.startswith("joint_") or (
            self.name == "action" and self.meaning.startswith("commanded joint positions")
        ):
            return f"joint {channel}"
        place = np.unravel_index(channel, self.shape)
        return "[" + ", ".join(str(int(i)) for i in place) + "]"

    def title(self, channel: int) -> str:
        """Key and channel, for where the key is not said otherwise."""
        name = self.channel_name(channel)
        if name == self.name:
            return name
        return f"{self.name}{name}" if name.startswith("[") else f"{self.name} {name}"

    def channel_unit(self, channel: int) -> str:
        """Unit of a channel; "" where it has none or the set does not say."""
        if self.layout is not None:
            return "m" if self.is_depth else "of 255" if self.dtype == np.uint8 else ""
        parts = [part.strip() for part in (self.unit or "").split(",")]
        if self.is_position and len(parts) == 2:
            parts = [parts[0] if channel < 3 else parts[1]]
        unit = ", ".join(parts)
        return "" if unit == "1" else unit
