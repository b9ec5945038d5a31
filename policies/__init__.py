"""Networks, generators and policies: pure PyTorch, no files, no simulator.

A policy is an encoder, a network, a generator and a normaliser; `Policy` joins them.
"""

from bridle.policies.encoders import Difference, StateEncoder, StateEncoderConfig
from bridle.policies.exceptions import PolicyError
from bridle.policies.generators import (
    GENERATORS,
    Diffusion,
    DiffusionConfig,
    Energy,
    EnergyConfig,
    Flow,
    FlowConfig,
    Generator,
    GeneratorConfig,
    Network,
    Regression,
    RegressionConfig,
    Shortcut,
    ShortcutConfig,
)
from bridle.policies.networks import (
    NETWORKS,
    MLPConfig,
    NetworkConfig,
    ResidualMLP,
    Transformer,
    TransformerConfig,
    UNet1D,
    UNetConfig,
)
from bridle.policies.normalizer import Normalizer
from bridle.policies.policy import Policy, PolicyConfig

__all__ = [
    "GENERATORS",
    "NETWORKS",
    "Difference",
    "Diffusion",
    "DiffusionConfig",
    "Energy",
    "EnergyConfig",
    "Flow",
    "FlowConfig",
    "Generator",
    "GeneratorConfig",
    "MLPConfig",
    "Network",
    "NetworkConfig",
    "Normalizer",
    "Policy",
    "PolicyConfig",
    "PolicyError",
    "Regression",
    "RegressionConfig",
    "ResidualMLP",
    "Shortcut",
    "ShortcutConfig",
    "StateEncoder",
    "StateEncoderConfig",
    "Transformer",
    "TransformerConfig",
    "UNet1D",
    "UNetConfig",
]
