"""Errors that say what is wrong with a policy or with what it was given."""


class PolicyError(ValueError):
    """A policy's configuration, weights or input do not fit together."""
