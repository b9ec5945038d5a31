"""Networks of one signature: noisy chunk (B, H, A), time (B,), condition (B, C) -> (B, H, A)."""

from bridle.policies.networks.mlp import MLPConfig, ResidualMLP

__all__ = ["MLPConfig", "ResidualMLP"]
