"""Saying how far a long piece of work is, without knowing who looks."""

from typing import Protocol


class Progress(Protocol):
    """Called often: what is being done, how much of it is done, and how much there is in all."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Tell."""
        ...


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""
