"""Objects: `object_state` as things of which the instruction names one.

A network that is given the numbers of three cubes and a sentence must learn a product of the two,
and memorises the demonstrations instead. Here one encoder looks at every object of a shape in turn,
with the sentence as it is about that object ("put THIS cube on the OTHER cube"), and attention
passes on the numbers of the one that is meant. Whatever is learned about one colour holds for all:
if two objects change places and the words for them do, too, nothing changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bridle.policies.encoders.base import Encoder, Input, check
from bridle.policies.encoders.text import INSTRUCTION, Reader, TextEncoderConfig
from bridle.policies.encoders.vocabulary import UNKNOWN
from bridle.policies.exceptions import PolicyError
from bridle.policies.normalizer import Normalizer

OBJECTS, TOOL = "object_state", "tcp_pose"


@dataclass(frozen=True)
class ObjectGroup:
    """Objects of one shape, which differ in nothing but the words for them."""

    names: tuple[str, ...]
    """The word for each in an instruction."""
    starts: tuple[int, ...]
    """Where the numbers of each begin in `object_state`."""
    size: int
    """How many numbers each has."""
    n_position: int = 3
    """How many of them, the first ones, are a position [m]."""

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise PolicyError(f"a group of objects needs different names, got {self.names}")
        if len(self.starts) != len(self.names):
            raise PolicyError(f"{len(self.names)} objects must begin somewhere, got {self.starts}")
        if not 1 <= self.n_position <= min(3, self.size):
            raise PolicyError(
                f"n_position must lie in 1..{min(3, self.size)}, got {self.n_position}"
            )


@dataclass(frozen=True)
class ObjectEncoderConfig:
    """Settings of an `ObjectEncoder`."""

    groups: tuple[ObjectGroup, ...]
    """What `object_state` holds. A group of one is passed on as it is."""
    object_size: int
    """Channels of `object_state`."""
    text: TextEncoderConfig
    """How sentences are read."""
    tool_size: int = 9
    """Channels of `tcp_pose`, the position first."""
    width: int = 64
    """Channels of what is said of an object beside its numbers."""
    heads: int = 2
    """Objects of a group that can be attended to at once."""
    permute: bool = True
    """Whether objects and the words for them change places at random in training. What this
    encoder gives is the same either way while only one group has several; what else is read from
    the same keys varies with it. Off where pictures show the objects."""

    def __post_init__(self) -> None:
        for name in ("width", "heads"):
            if getattr(self, name) < 1:
                raise PolicyError(f"{name} must be at least 1, got {getattr(self, name)}")
        spans = sorted((s, s + g.size) for g in self.groups for s in g.starts)
        if not spans or spans[0][0] < 0 or spans[-1][1] > self.object_size:
            raise PolicyError(f"objects must lie in 0..{self.object_size}, got {spans}")
        if any(end > begin for (_, end), (begin, _) in pairwise(spans)):
            raise PolicyError(f"objects must not share numbers, got {spans}")
        for name in (n for g in self.groups if len(g.names) > 1 for n in g.names):
            if self.text.vocabulary.token(name) == UNKNOWN:
                raise PolicyError(f"the vocabulary must have the word '{name}'")

    @property
    def n_obs_steps(self) -> int:
        """Observations in the history (To)."""
        return self.text.n_obs_steps

    @property
    def inputs(self) -> Mapping[str, Input]:
        """Objects, tool and sentence."""
        return {
            OBJECTS: Input((self.object_size,)),
            TOOL: Input((self.tool_size,)),
            **self.text.inputs,
        }


class _Group(nn.Module):
    """The objects of one shape: numbers (..., n, d), sentence (..., L) -> what is said of them."""

    def __init__(self, group: ObjectGroup, config: ObjectEncoderConfig) -> None:
        super().__init__()
        self.group = group
        n_features = group.size + group.n_position
        several = len(group.names) > 1
        self.normalizer = Normalizer({"object": group.size, "from tool": group.n_position})
        self.output_size = config.heads * (n_features + config.width) if several else n_features
        if not several:
            return
        vocabulary = config.text.vocabulary
        self.reader = Reader(config.text, extra_tokens=2)
        self.look = nn.Sequential(
            nn.Linear(n_features + config.text.width, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
        )
        self.score = nn.Linear(config.width, config.heads)
        tokens = torch.tensor([vocabulary.token(name) for name in group.names])
        # Row i turns a sentence into one about object i: its own name, and those of its like.
        views = torch.arange(vocabulary.size).repeat(len(tokens), 1)
        views[:, tokens] = vocabulary.size + 1
        views[torch.arange(len(tokens)), tokens] = vocabulary.size
        self.register_buffer("views", views, persistent=False)
        self.register_buffer("names", tokens, persistent=False)

    def numbers(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Numbers of each object, and its position from the tool (..., n, d), physical units."""
        group = self.group
        each = torch.stack(
            [observation[OBJECTS][..., s : s + group.size] for s in group.starts], dim=-2
        )
        tool = observation[TOOL][..., None, : group.n_position]
        return {"object": each, "from tool": each[..., : group.n_position] - tool}

    def forward(
        self, observation: Mapping[str, Tensor], sentence: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch steps features"]:
        normal = self.normalizer.normalize
        features = torch.cat(
            [normal(name, x) for name, x in self.numbers(observation).items()], dim=-1
        )
        if len(self.group.names) == 1:
            return features.squeeze(-2)
        views = self.get_buffer("views")
        # (B, 1, n, width), the same for all steps of the history
        said = self.reader(views[:, sentence].transpose(0, 1)).unsqueeze(1)
        said = said.expand(-1, features.shape[1], -1, -1)
        seen = self.look(torch.cat([features, said], dim=-1))
        weight = self.score(seen).softmax(dim=-2)  # (B, To, n, heads)
        attended = torch.einsum("btnh,btnf->bthf", weight, torch.cat([features, seen], dim=-1))
        return attended.flatten(-2)


class ObjectEncoder(Encoder):
    """Attends to the objects that the instruction is about."""

    def __init__(self, config: ObjectEncoderConfig) -> None:
        """Build an encoder with unfitted statistics."""
        super().__init__()
        self.config = config
        self.groups = nn.ModuleList(_Group(group, config) for group in config.groups)
        self.output_size = config.n_obs_steps * sum(
            group.output_size for group in self.groups if isinstance(group, _Group)
        )

    def fit(self, observations: Mapping[str, Tensor]) -> None:
        """Take the statistics of each group from all of its objects, keys (rows, d)."""
        for group in self.groups:
            assert isinstance(group, _Group)
            for name, values in group.numbers(observations).items():
                group.normalizer.fit(name, values)

    def augment(
        self, observation: Mapping[str, Tensor], random: torch.Generator | None
    ) -> Mapping[str, Tensor]:
        """Let the objects of each group change places, and the words for them with them."""
        several = [g for g in self.groups if isinstance(g, _Group) and len(g.group.names) > 1]
        if not self.config.permute or not several:
            return observation
        state, tokens = observation[OBJECTS].clone(), observation[INSTRUCTION]
        batch, device = len(state), state.device
        renamed = torch.arange(self.config.text.vocabulary.size, device=device).repeat(batch, 1)
        for group in several:
            starts = torch.tensor(group.group.starts, device=device)
            draw = torch.rand(batch, len(starts), generator=random, device=device)
            order = draw.argsort(dim=1)
            # The thing at place order[i] comes to place i, and its name becomes that of place i.
            names = group.get_buffer("names")
            renamed.scatter_(1, names[order], names.expand(batch, -1))
            channels = torch.arange(group.group.size, device=device)
            here = (starts[:, None] + channels).flatten()
            there = (starts[order][..., None] + channels).flatten(1)
            index = there[:, None].expand(-1, state.shape[1], -1)
            state[..., here] = observation[OBJECTS].gather(2, index)
        said = renamed.gather(1, tokens.flatten(1)).view_as(tokens)
        return {**observation, OBJECTS: state, INSTRUCTION: said}

    def forward(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "batch cond"]:
        """Encode: (B, To * D), the numbers of what is attended to, and what is said of it."""
        check(observation, self.config)
        sentence = observation[INSTRUCTION][:, -1]
        parts = [group(observation, sentence) for group in self.groups]
        return torch.cat(parts, dim=-1).flatten(1)
