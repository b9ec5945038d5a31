"""Generators: how noise becomes a chunk. Each is one `step` and one `table`."""

from bridle.policies.generators.base import Generator, Network
from bridle.policies.generators.flow import Flow, FlowConfig

__all__ = ["Flow", "FlowConfig", "Generator", "Network"]
