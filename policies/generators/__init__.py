"""Generators: how noise becomes a chunk. Adding one is a file here and a line in `GENERATORS`."""

from typing import Any, TypeAlias

from bridle.policies.generators.base import Generator, Network
from bridle.policies.generators.diffusion import Diffusion, DiffusionConfig
from bridle.policies.generators.energy import Energy, EnergyConfig
from bridle.policies.generators.flow import Flow, FlowConfig, Shortcut, ShortcutConfig
from bridle.policies.generators.regression import Regression, RegressionConfig

__all__ = [
    "GENERATORS",
    "Diffusion",
    "DiffusionConfig",
    "Energy",
    "EnergyConfig",
    "Flow",
    "FlowConfig",
    "Generator",
    "GeneratorConfig",
    "Network",
    "Regression",
    "RegressionConfig",
    "Shortcut",
    "ShortcutConfig",
    "build_generator",
]

GeneratorConfig: TypeAlias = (
    DiffusionConfig | FlowConfig | ShortcutConfig | EnergyConfig | RegressionConfig
)
GENERATORS: dict[str, tuple[type[Any], type[Any]]] = {
    "diffusion": (DiffusionConfig, Diffusion),
    "flow": (FlowConfig, Flow),
    "shortcut": (ShortcutConfig, Shortcut),
    "energy": (EnergyConfig, Energy),
    "regression": (RegressionConfig, Regression),
}
"""Name -> settings and class."""


def build_generator(config: GeneratorConfig) -> Generator:
    """The generator of some settings."""
    built: Generator = next(made for kind, made in GENERATORS.values() if kind is type(config))(
        config
    )
    return built
