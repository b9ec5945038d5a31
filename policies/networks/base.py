"""The one contract of every network: what time and condition say, apart from what the chunk does.

A chunk is sampled in many steps under one condition. What follows from condition and times alone
can therefore be computed for all steps at once, before the first.
"""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class ConditionalNetwork(nn.Module, ABC):
    """Maps a noisy chunk, its times and a condition to a prediction of the chunk's shape."""

    @abstractmethod
    def modulate(
        self, times: Float[Tensor, "batch times"], cond: Float[Tensor, "batch cond"]
    ) -> Float[Tensor, "batch modulation"]:
        """Everything that depends on times and condition alone, as one vector."""

    @abstractmethod
    def predict(
        self,
        x: Float[Tensor, "batch horizon action"],
        modulation: Float[Tensor, "batch modulation"],
    ) -> Float[Tensor, "batch horizon action"]:
        """Predict one value per entry of the chunk, given what `modulate` says."""

    def forward(
        self,
        x: Float[Tensor, "batch horizon action"],
        times: Float[Tensor, "batch times"],
        cond: Float[Tensor, "batch cond"],
    ) -> Float[Tensor, "batch horizon action"]:
        """Predict one value per entry of the chunk."""
        return self.predict(x, self.modulate(times, cond))
