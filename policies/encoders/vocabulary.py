"""Sentences as numbers: the words of the training sentences, without PyTorch."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bridle.policies.exceptions import PolicyError

PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2
"""Tokens after the end of a sentence, of words that are not known, and of the first that is."""


def split_words(sentence: str) -> list[str]:
    """The words of a sentence, without case and punctuation."""
    return re.findall(r"[^\W_]+", sentence.lower())


@dataclass(frozen=True)
class Vocabulary:
    """The words a policy knows. Token i + 2 is word i; 0 pads, 1 is any other word."""

    words: tuple[str, ...]
    """Known words."""
    length: int
    """Tokens of an encoded sentence (L)."""

    def __post_init__(self) -> None:
        if len(set(self.words)) != len(self.words) or self.length < 1:
            raise PolicyError(
                f"a vocabulary needs different words and a length of at least 1, "
                f"got {self.words} and {self.length}"
            )

    @classmethod
    def of(cls, sentences: Iterable[str]) -> Self:
        """The words of some sentences, in alphabetical order; the longest one fits exactly."""
        split = [split_words(sentence) for sentence in sentences]
        words = sorted({word for sentence in split for word in sentence})
        return cls(tuple(words), max([1, *map(len, split)]))

    @property
    def size(self) -> int:
        """Number of different tokens."""
        return FIRST_WORD + len(self.words)

    def token(self, word: str) -> int:
        """The token of a word."""
        return FIRST_WORD + self.words.index(word) if word in self.words else UNKNOWN

    def encode(self, sentence: str) -> NDArray[np.int64]:
        """Tokens (L,) of a sentence.

        Raises:
            PolicyError: it has more words than the longest sentence of the training.
        """
        words = split_words(sentence)
        if len(words) > self.length:
            raise PolicyError(
                f"a sentence may have {self.length} words, got {len(words)}: {sentence!r}"
            )
        tokens = np.full(self.length, PADDING, np.int64)
        tokens[: len(words)] = [self.token(word) for word in words]
        return tokens
