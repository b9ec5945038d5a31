"""Pictures: cropped and varied in colour, a batch at a time, on its device."""

import torch
from jaxtyping import UInt8
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""
Pictures = UInt8[Tensor, "batch steps height width 3"]


def centre_crop(pictures: Pictures, height: int, width: int) -> Pictures:
    """The middle of pictures."""
    top = (pictures.shape[2] - height) // 2
    left = (pictures.shape[3] - width) // 2
    return pictures[:, :, top : top + height, left : left + width]


def random_crop(
    pictures: Pictures, height: int, width: int, random: torch.Generator | None
) -> Pictures:
    """A part of pictures, at a place of its own for each sample and the same in its history."""
    batch, device = len(pictures), pictures.device
    draw = torch.rand(2, batch, generator=random, device=device)
    top = (draw[0] * (pictures.shape[2] - height + 1)).long()
    left = (draw[1] * (pictures.shape[3] - width + 1)).long()
    rows = top[:, None] + torch.arange(height, device=device)
    columns = left[:, None] + torch.arange(width, device=device)
    sample = torch.arange(batch, device=device)[:, None, None]
    # Indices on both sides of the time axis put it behind them: (B, h, w, To, 3).
    cropped = pictures[sample, :, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2, 4)


def jitter(pictures: Pictures, strength: float, random: torch.Generator | None) -> Pictures:
    """Other brightness, contrast and saturation, by factors of 1 - `strength` to 1 + `strength`.

    One draw for each sample, the same in its history.
    """
    shape = (3, len(pictures), 1, 1, 1, 1)
    draw = torch.rand(shape, generator=random, device=pictures.device)
    brightness, contrast, saturation = 1 + strength * (2 * draw - 1)
    x = pictures.float() * brightness
    grey = (x * x.new_tensor(LUMA)).sum(-1, keepdim=True)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    x = grey + saturation * (x - grey)
    x = mean + contrast * (x - mean)
    varied: Tensor = x.round().clamp(0, 255).to(torch.uint8)
    return varied
