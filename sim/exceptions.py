"""Errors of the simulation that a person can act on."""


class SimulationError(ValueError):
    """An action, an option or a task's name does not fit."""


class RenderingError(RuntimeError):
    """Nothing on this machine can draw."""
