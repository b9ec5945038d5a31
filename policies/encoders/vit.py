"""A small vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929) for small pictures.

What the tokens say is summed up by their mean and by a spatial softmax: a mean alone would have to
learn first that a token's place matters, which takes more pictures than demonstrations hold.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.encoders.resnet import SpatialSoftmax
from bridle.policies.exceptions import PolicyError

PATCH, LAYERS, HEADS = 8, 2, 4


class VisionTransformer(nn.Module):
    """Pictures (B, 3, h, w), -1 to 1 -> features (B, n).

    Patches of 8 pixels, two layers, four heads. Rows and columns of pixels that fill no patch are
    left out, at the bottom and on the right.
    """

    def __init__(self, size: tuple[int, int], width: int, features: int) -> None:
        """Build.

        Args:
            size: height and width of pictures [px].
            width: half the channels of a token.
            features: numbers of a picture.

        Raises:
            PolicyError: the picture has no whole patch.
        """
        super().__init__()
        height, breadth = size[0] // PATCH, size[1] // PATCH
        if not height * breadth:
            raise PolicyError(f"a vision transformer needs pictures of {PATCH} pixels, got {size}")
        self.grid = (height, breadth)
        channels, points = 2 * width, max(1, features // 2)
        self.patches = nn.Conv2d(3, channels, PATCH, PATCH)
        self.place = nn.Parameter(0.02 * torch.randn(height * breadth, channels))
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    channels, HEADS, 4 * channels, dropout=0.0, activation="gelu",
                    batch_first=True, norm_first=True,
                )
                for _ in range(LAYERS)
            )
        )  # fmt: skip
        self.norm = nn.LayerNorm(channels)
        self.locate = SpatialSoftmax(channels, points)
        self.out = nn.Linear(channels + 2 * points, features)

    def forward(self, pictures: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch features"]:
        """Encode."""
        tokens = self.patches(pictures).flatten(2).transpose(1, 2) + self.place
        tokens = self.norm(self.layers(tokens))
        places = self.locate(tokens.transpose(1, 2).unflatten(2, self.grid))
        features: Tensor = self.out(torch.cat([tokens.mean(dim=1), places], dim=1))
        return features
