"""Networks, generators and policies: pure PyTorch, no files, no simulator.

A policy is an encoder, a network, a generator and a normaliser; `Policy` joins them.
"""

from bridle.policies.encoders import Difference, StateEncoder, StateEncoderConfig
from bridle.policies.exceptions import PolicyError
from bridle.policies.generators import Flow, FlowConfig, Generator, Network
from bridle.policies.networks import MLPConfig, ResidualMLP
from bridle.policies.normalizer import Normalizer
from bridle.policies.policy import Policy, PolicyConfig

__all__ = [
    "Difference",
    "Flow",
    "FlowConfig",
    "Generator",
    "MLPConfig",
    "Network",
    "Normalizer",
    "Policy",
    "PolicyConfig",
    "PolicyError",
    "ResidualMLP",
    "StateEncoder",
    "StateEncoderConfig",
]
