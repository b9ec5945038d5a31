"""Settings of all tests."""

from hypothesis import settings

# No test asserts a time: a busy machine is no failure.
settings.register_profile("bridle", deadline=None)
settings.load_profile("bridle")
