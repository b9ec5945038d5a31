"""Demonstration sets, imitation and evaluation."""
