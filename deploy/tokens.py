"""Sentences as the numbers that a policy reads, without PyTorch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.exceptions import BundleError, InferenceError

PADDING, UNKNOWN = "<pad>", "<unknown>"


def tokenizer_file(words: tuple[str, ...], length: int) -> str:
    """`tokenizer.json` of a vocabulary: words without case and punctuation, one number each.

    Args:
        words: the known ones; token 0 pads, 1 is any other word, i + 2 is word i.
        length: tokens of an encoded sentence (L).
    """
    tokenizers = _library()
    numbers = {word: i for i, word in enumerate((PADDING, UNKNOWN, *words))}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token=UNKNOWN))
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(
        tokenizers.Regex(r"[\W_]+"), behavior="removed"
    )
    tokenizer.enable_padding(length=length, pad_id=0, pad_token=PADDING)
    text: str = tokenizer.to_str()
    return text


class Tokenizer:
    """The tokenizer of a bundle."""

    def __init__(self, content: bytes, length: int) -> None:
        """Load `tokenizer.json`.

        Args:
            content: the file.
            length: tokens that the policy reads (L).

        Raises:
            BundleError: it is not a tokenizer.
        """
        try:
            self._tokenizer = _library().Tokenizer.from_str(content.decode())
        except Exception as error:  # the library raises bare exceptions
            raise BundleError(f"tokenizer.json: {str(error).splitlines()[0]}") from error
        self._length = length

    def encode(self, sentence: str) -> NDArray[np.int64]:
        """Tokens (L,) of a sentence.

        Raises:
            InferenceError: it has more words than the longest sentence of the training.
        """
        tokens = self._tokenizer.encode(sentence, add_special_tokens=False).ids
        if len(tokens) != self._length:
            raise InferenceError(
                f"a sentence may have {self._length} words, got {len(tokens)}: {sentence[:80]!r}"
            )
        return np.array(tokens, np.int64)


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise BundleError(
            "a policy that reads instructions needs tokenizers: pip install 'bridle[cpu]'"
        ) from error
    return tokenizers
