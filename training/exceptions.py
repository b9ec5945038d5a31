"""Errors of training that a person can act on."""


class TrainingError(ValueError):
    """A run, its settings or its data do not fit together."""
