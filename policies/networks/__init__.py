"""Networks of one signature: chunk (B, H, A), times (B, T), condition (B, C) -> (B, H, A).

Adding one is a file here and a line in `NETWORKS`.
"""

from typing import Any, TypeAlias

from bridle.policies.networks.base import ConditionalNetwork
from bridle.policies.networks.mlp import MLPConfig, ResidualMLP
from bridle.policies.networks.transformer import Transformer, TransformerConfig
from bridle.policies.networks.unet import UNet1D, UNetConfig

__all__ = [
    "NETWORKS",
    "ConditionalNetwork",
    "MLPConfig",
    "NetworkConfig",
    "ResidualMLP",
    "Transformer",
    "TransformerConfig",
    "UNet1D",
    "UNetConfig",
    "build_network",
]

NetworkConfig: TypeAlias = MLPConfig | UNetConfig | TransformerConfig
NETWORKS: dict[str, tuple[type[Any], type[ConditionalNetwork]]] = {
    "mlp": (MLPConfig, ResidualMLP),
    "unet": (UNetConfig, UNet1D),
    "transformer": (TransformerConfig, Transformer),
}
"""Name -> settings and class."""


def build_network(
    config: NetworkConfig, *, horizon: int, action_size: int, cond_size: int, n_times: int
) -> ConditionalNetwork:
    """The network of some settings, for chunks (B, horizon, action_size)."""
    made = next(made for kind, made in NETWORKS.values() if kind is type(config))
    return made(horizon, action_size, cond_size, n_times, config)
