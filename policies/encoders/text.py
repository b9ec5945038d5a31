"""Text: the sentence that says what to do, as the words of the training sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bridle.policies.encoders.base import Encoder, Input, check, check_n_obs_steps
from bridle.policies.encoders.vocabulary import PADDING, UNKNOWN, Vocabulary
from bridle.policies.exceptions import PolicyError

INSTRUCTION = "instruction"
"""Observation key of the tokens (B, To, L), int64."""
Pooling = Literal["mean", "attention"]


@dataclass(frozen=True)
class TextEncoderConfig:
    """Settings of a `TextEncoder`."""

    vocabulary: Vocabulary
    """Known words, and the length of a sentence."""
    n_obs_steps: int = 1
    """Observations in the history (To); the newest sentence counts."""
    width: int = 32
    """Channels of a sentence."""
    pooling: Pooling = "mean"
    """How words become a sentence: their mean, or a mean with learned weights."""

    def __post_init__(self) -> None:
        check_n_obs_steps(self.n_obs_steps)
        if self.width < 1:
            raise PolicyError(f"width must be at least 1, got {self.width}")
        if self.pooling not in get_args(Pooling):
            raise PolicyError(
                f"pooling must be one of {', '.join(get_args(Pooling))}, got {self.pooling!r}"
            )

    @property
    def inputs(self) -> Mapping[str, Input]:
        """The tokens of the sentence."""
        return {INSTRUCTION: Input((self.vocabulary.length,), torch.int64, fitted=False)}


class Reader(nn.Module):
    """Reads sentences: tokens (..., L) -> (..., width).

    A word and its place go through one layer together before the mean is taken: a mean of words
    alone could not tell "red on blue" from "blue on red".
    """

    def __init__(self, config: TextEncoderConfig, extra_tokens: int = 0) -> None:
        """Build a reader of a vocabulary's tokens and of `extra_tokens` after them."""
        super().__init__()
        size, width = config.vocabulary.size + extra_tokens, config.width
        self.word = nn.Embedding(size, width)
        self.place = nn.Embedding(config.vocabulary.length, width)
        with torch.no_grad():
            # A word never met says nothing, rather than something at random.
            self.word.weight[UNKNOWN] = 0
        self.together = nn.Sequential(nn.Linear(width, width), nn.SiLU())
        self.weigh = nn.Linear(width, 1) if config.pooling == "attention" else None
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Int[Tensor, "*batch length"]) -> Float[Tensor, "*batch width"]:
        """Read."""
        read = self.together(self.word(tokens) + self.place.weight)
        there = (tokens != PADDING).unsqueeze(-1)
        if self.weigh is None:
            weight = there / there.sum(-2, keepdim=True).clamp(min=1)
        else:
            score = self.weigh(read).masked_fill(~there, torch.finfo(read.dtype).min)
            weight = score.softmax(-2) * there
        sentence: Tensor = self.out((weight * read).sum(-2))
        return sentence


class TextEncoder(Encoder):
    """Encodes the newest instruction: (B, To, L) -> (B, width)."""

    def __init__(self, config: TextEncoderConfig) -> None:
        """Build an untrained encoder."""
        super().__init__()
        self.config = config
        self.reader = Reader(config)
        self.output_size = config.width

    def forward(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "batch cond"]:
        """Encode; a sentence that changes during a history is replaced, not mixed."""
        check(observation, self.config)
        sentence: Tensor = self.reader(observation[INSTRUCTION][:, -1])
        return sentence
