"""Robot models."""
