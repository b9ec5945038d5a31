"""The one normaliser: an affine map per feature whose statistics travel with the weights."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bridle.policies.exceptions import PolicyError


class Normalizer(nn.Module):
    """Maps named features to zero mean and unit variance, and back.

    The statistics are buffers, so they are saved and moved with the weights. They start as NaN: a
    policy without fitted statistics fails loudly instead of passing raw numbers through.
    """

    def __init__(self, sizes: Mapping[str, int], min_std: float = 1e-2) -> None:
        """Prepare unfitted statistics.

        Args:
            sizes: feature name -> number of channels.
            min_std: smallest standard deviation, in the feature's unit; keeps a channel that never
                moves (a constant wrist) from being blown up.
        """
        super().__init__()
        self.names = tuple(sizes)
        self.min_std = min_std
        self._index = {name: i for i, name in enumerate(self.names)}
        for name, size in sizes.items():
            self.register_buffer(self._buffer(name, "mean"), torch.full((size,), torch.nan))
            self.register_buffer(self._buffer(name, "std"), torch.full((size,), torch.nan))

    def _buffer(self, name: str, statistic: str) -> str:
        # Buffer names may not contain dots or brackets, feature names do.
        return f"{statistic}_{self._index[name]}"

    def mean(self, name: str) -> Float[Tensor, " channels"]:
        """Mean of a feature, in its unit."""
        return self.get_buffer(self._buffer(name, "mean"))

    def std(self, name: str) -> Float[Tensor, " channels"]:
        """Standard deviation of a feature, in its unit, at least `min_std`."""
        return self.get_buffer(self._buffer(name, "std"))

    @torch.no_grad()
    def fit(self, name: str, values: Float[Tensor, "*rows channels"]) -> None:
        """Take the statistics of one feature from data.

        Raises:
            PolicyError: the values are empty, not finite, or have another number of channels.
        """
        mean = self.mean(name)
        flat = values.reshape(-1, values.shape[-1]).double()
        if flat.shape[1] != mean.shape[0] or flat.shape[0] == 0:
            raise PolicyError(
                f"statistics of '{name}' need (rows > 0, {mean.shape[0]}) values, "
                f"got {tuple(values.shape)}"
            )
        if not torch.isfinite(flat).all():
            raise PolicyError(f"'{name}' has values that are not finite; validate the data first")
        mean.copy_(flat.mean(0))
        self.std(name).copy_(flat.std(0, unbiased=False).clamp_min(self.min_std))

    def check_fitted(self) -> None:
        """Raise PolicyError when the statistics of any feature are missing."""
        missing = [
            name
            for name in self.names
            if not (torch.isfinite(self.mean(name)).all() and torch.isfinite(self.std(name)).all())
        ]
        if missing:
            raise PolicyError(f"normalisation statistics are missing for {', '.join(missing)}")

    def normalize(self, name: str, values: Tensor) -> Tensor:
        """Physical units to normalised units; any leading shape."""
        return (values - self.mean(name)) / self.std(name)

    def unnormalize(self, name: str, values: Tensor) -> Tensor:
        """Normalised units to physical units; any leading shape."""
        return values * self.std(name) + self.mean(name)
