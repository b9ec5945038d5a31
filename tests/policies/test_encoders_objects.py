"""Objects: the numbers of the one that the instruction names."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from bridle.policies import (
    INSTRUCTION,
    ObjectEncoder,
    ObjectEncoderConfig,
    ObjectGroup,
    ObservationEncoderConfig,
    PolicyError,
    TextEncoderConfig,
    Vocabulary,
)
from bridle.policies.encoders import build_encoder

from .encoding import BINS, COLOURS, CUBES, SENTENCES, VOCABULARY, fitted, observe, text


def make(steps: int = 1, **settings) -> ObjectEncoder:
    torch.manual_seed(0)
    encoder = ObjectEncoder(ObjectEncoderConfig((CUBES, *BINS), 19, text(steps), **settings))
    fitted(encoder, observe(encoder.config, 256))
    return encoder


def said(sentences) -> torch.Tensor:
    return torch.from_numpy(np.stack([VOCABULARY.encode(s) for s in sentences]))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_nothing_changes_if_objects_and_the_words_for_them_change_places(order):
    encoder = make()
    random = np.random.default_rng(0)
    sentences = random.choice(SENTENCES, 16)
    observation = observe(encoder.config, 16)
    observation[INSTRUCTION] = said(sentences)[:, None]
    moved = dict(observation)
    moved["object_state"] = observation["object_state"].clone()
    new_name = {}
    for place, thing in enumerate(order):
        a, b = 5 * place, 5 * thing
        moved["object_state"][..., a : a + 5] = observation["object_state"][..., b : b + 5]
        new_name[COLOURS[thing]] = COLOURS[place]
    renamed = [" ".join(new_name.get(word, word) for word in s.split()) for s in sentences]
    moved[INSTRUCTION] = said(renamed)[:, None]
    assert torch.allclose(encoder(observation), encoder(moved), atol=1e-5)
    if order != (0, 1, 2):
        only_objects = {**moved, INSTRUCTION: observation[INSTRUCTION]}
        assert not torch.allclose(encoder(observation), encoder(only_objects), atol=1e-3)


def test_augmentation_is_such_a_change_of_places_in_the_whole_history():
    encoder = make(steps=2)
    observation = observe(encoder.config, 64)
    varied = encoder.augment(observation, torch.Generator().manual_seed(0))
    assert torch.allclose(encoder(observation), encoder(varied), atol=1e-5)
    cubes = observation["object_state"][..., :15].unflatten(-1, (3, 5))
    new = varied["object_state"][..., :15].unflatten(-1, (3, 5))
    for before, after in zip(cubes, new, strict=True):
        # Which thing is where now: one order for both steps, with nothing lost.
        same = (before[:, None] == after[:, :, None]).all(-1)
        assert torch.equal(same[0], same[1])
        assert same[0].sum(0).tolist() == same[0].sum(1).tolist() == [1, 1, 1]
    assert torch.equal(varied["object_state"][..., 15:], observation["object_state"][..., 15:])
    orders = {tuple(after[0, :, 0].argsort().tolist()) for after in new}
    assert len(orders) == 6


def test_what_others_read_of_the_same_keys_changes_with_it():
    config = ObservationEncoderConfig((text(), make().config))
    encoder = build_encoder(config)
    fitted(encoder, observe(config, 64))
    observation = observe(config, 64)
    varied = encoder.augment(observation, torch.Generator().manual_seed(0))
    changed = (varied[INSTRUCTION] != observation[INSTRUCTION]).any(-1).float().mean()
    assert 0.4 < changed < 0.9  # two of three names differ after an even draw of six orders
    still = build_encoder(ObservationEncoderConfig((text(), make(permute=False).config)))
    assert still.augment(observation, None) is observation


def test_a_group_of_one_is_passed_on_as_it_is():
    encoder = ObjectEncoder(ObjectEncoderConfig(BINS, 19, text()))
    observation = observe(encoder.config, 512)
    fitted(encoder, observation)
    encoding = encoder(observation)
    bins = observation["object_state"][:, 0, 15:19].unflatten(1, (2, 2))
    from_tool = bins - observation["tcp_pose"][:, :, :2]
    expected = torch.cat([bins, from_tool], dim=2)
    expected = (expected - expected.mean(0)) / expected.std(0, unbiased=False)
    assert torch.allclose(encoding, expected.flatten(1), atol=1e-4)


def test_selection_is_learned_from_few_layouts_and_holds_for_a_colour_never_asked_for():
    """Where flat concatenation memorises: 96 layouts, two colours asked for, all three tested."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)

    def scenes(n, colours):
        named = random.integers(len(colours), size=n)
        state = random.uniform(-1, 1, (n, 1, 19)).astype(np.float32)
        sentences = [f"put the {colours[i]} cube into the left bin" for i in named]
        slot = np.array([COLOURS.index(colours[i]) for i in named])
        target = np.stack([s[0, 5 * i : 5 * i + 3] for s, i in zip(state, slot, strict=True)])
        return {
            "object_state": torch.from_numpy(state),
            "tcp_pose": torch.zeros(n, 1, 9) + 0.01 * torch.randn(n, 1, 9),
            INSTRUCTION: said(sentences)[:, None],
        }, torch.from_numpy(target)

    train, target = scenes(96, ("red", "green"))
    encoder = ObjectEncoder(ObjectEncoderConfig((CUBES, *BINS), 19, text()))
    fitted(encoder, train)
    head = nn.Linear(encoder.output_size, 3)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 3e-3)
    for _ in range(400):
        loss = (head(encoder(train)) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for colours in (("red", "green"), ("blue",)):
        test, wanted = scenes(300, colours)
        with torch.no_grad():
            error = (head(encoder(test)) - wanted).square().mean().sqrt()
        assert error < 0.1  # guessing the mean of the three has 0.47, the mean of all 0.58


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda: ObjectGroup((), (), 5), "different names"),
        (lambda: ObjectGroup(("red", "red"), (0, 5), 5), "different names"),
        (lambda: ObjectGroup(("red", "blue"), (0,), 5), "must begin somewhere"),
        (lambda: ObjectGroup(("red",), (0,), 5, 4), r"n_position must lie in 1\.\.3"),
        (lambda: ObjectEncoderConfig((CUBES,), 14, text()), r"must lie in 0\.\.14"),
        (
            lambda: ObjectEncoderConfig((CUBES, ObjectGroup(("x",), (3,), 2, 2)), 15, text()),
            "share",
        ),
        (lambda: ObjectEncoderConfig((CUBES,), 15, text(), heads=0), "heads must be"),
        (
            lambda: ObjectEncoderConfig((CUBES,), 15, TextEncoderConfig(Vocabulary.of(["red"]))),
            "must have the word 'green'",
        ),
    ],
)
def test_layouts_that_cannot_be_are_refused(wrong, what):
    with pytest.raises(PolicyError, match=what):
        wrong()
