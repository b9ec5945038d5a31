"""Errors of the robot side."""


class BundleError(ValueError):
    """A bundle is incomplete, altered, or does not fit this version."""


class ExportError(ValueError):
    """A policy cannot be exported, or its export does not compute what the policy computes."""


class InferenceError(ValueError):
    """An observation does not fit the policy, or the policy gave numbers that are not finite."""


class KinematicsError(ValueError):
    """A kinematic model is unusable, or a pose cannot be reached."""


class RobotError(ValueError):
    """A robot file is unusable, or limits contradict each other."""


class SigningError(ValueError):
    """A key cannot be used, or a bundle cannot be signed with it."""
