"""Text: words to tokens without PyTorch, tokens to a vector with it."""

import numpy as np
import pytest
import torch

from bridle.policies import INSTRUCTION, PolicyError, TextEncoder, TextEncoderConfig, Vocabulary
from bridle.policies.encoders.vocabulary import PADDING, UNKNOWN

WORDS = Vocabulary.of(["Put the red cube on the blue one.", "stop"])


def test_a_vocabulary_has_every_word_once_and_the_length_of_the_longest_sentence():
    assert WORDS.words == ("blue", "cube", "on", "one", "put", "red", "stop", "the")
    assert WORDS.length == 8
    assert WORDS.size == 10


def test_a_sentence_becomes_tokens_without_case_and_punctuation():
    tokens = WORDS.encode("put the RED cube, on the blue one")
    assert tokens.dtype == np.int64
    words = [WORDS.words[token - 2] for token in tokens]
    assert " ".join(words) == "put the red cube on the blue one"
    assert WORDS.encode("stop!").tolist() == [WORDS.token("stop"), *[PADDING] * 7]


def test_a_word_that_is_not_known_has_a_token_of_its_own():
    assert WORDS.encode("stop now").tolist()[:3] == [WORDS.token("stop"), UNKNOWN, PADDING]


def test_a_sentence_that_is_too_long_is_refused():
    with pytest.raises(PolicyError, match="may have 8 words, got 9"):
        WORDS.encode("the " * 9)


def encode(encoder, *sentences) -> torch.Tensor:
    tokens = np.stack([WORDS.encode(s) for s in sentences])
    return encoder({INSTRUCTION: torch.from_numpy(tokens)[:, None]})


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_the_order_of_words_matters_and_what_fills_up_a_sentence_does_not(pooling):
    torch.manual_seed(0)
    encoder = TextEncoder(TextEncoderConfig(WORDS, pooling=pooling))
    a, b, empty = encode(encoder, "red on blue", "blue on red", "")
    assert not torch.allclose(a, b, atol=1e-3)
    assert empty.isfinite().all()
    with torch.no_grad():
        encoder.reader.word.weight[PADDING] += 1
    assert torch.allclose(encode(encoder, "red on blue")[0], a)


def test_the_newest_sentence_counts():
    torch.manual_seed(0)
    encoder = TextEncoder(TextEncoderConfig(WORDS, n_obs_steps=2))
    old, new = (torch.from_numpy(WORDS.encode(s)) for s in ("stop", "red on blue"))
    changed = encoder({INSTRUCTION: torch.stack([old, new])[None]})
    assert torch.equal(changed, encoder({INSTRUCTION: torch.stack([new, new])[None]}))


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda: Vocabulary(("a", "a"), 3), "different words"),
        (lambda: Vocabulary(("a",), 0), "length of at least 1"),
        (lambda: TextEncoderConfig(WORDS, width=0), "width"),
        (lambda: TextEncoderConfig(WORDS, pooling="max"), "pooling must be one of mean, attention"),
        (lambda: TextEncoderConfig(WORDS, n_obs_steps=0), "n_obs_steps"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, what):
    with pytest.raises(PolicyError, match=what):
        wrong()
