"""How networks are told the time and the condition, and what of the U-Net may be chosen."""

import math

import pytest
import torch

from bridle.policies import MLPConfig, PolicyError, TransformerConfig, UNetConfig
from bridle.policies.networks import UNet1D, build_network
from bridle.policies.networks.time import SinusoidalEmbedding


def test_frequencies_rise_from_one_to_a_thousand():
    expected = torch.linspace(0.0, math.log(1000.0), 8).exp()
    assert torch.equal(SinusoidalEmbedding(16).frequencies, expected)


def test_a_span_makes_the_embedding_of_steps_that_is_published():
    steps, channels = 100, 16
    index = torch.arange(0, steps, 10)
    # Vaswani et al. 2017 over channels / 2 - 1, as in Diffusion Policy.
    falling = torch.exp(torch.arange(channels // 2) * (-math.log(10_000) / (channels // 2 - 1)))
    angles = index[:, None] * falling
    embed = SinusoidalEmbedding(channels, span=(steps, steps / 10_000))
    expected = torch.cat([angles.sin(), angles.cos()], dim=1)
    assert torch.allclose(embed((index / steps)[:, None]), expected, atol=2e-5)


@pytest.mark.parametrize("span", [(0.0, 1.0), (1.0, -2.0), (1.0, math.inf)])
def test_frequencies_that_are_not_positive_are_refused(span):
    with pytest.raises(PolicyError, match="frequencies of times must be positive"):
        SinusoidalEmbedding(8, span)


@pytest.mark.parametrize(
    "config",
    [
        MLPConfig(width=16, blocks=1, time_channels=8),
        UNetConfig(channels=(8, 16), groups=4, time_channels=8),
        TransformerConfig(width=8, layers=2, heads=2, time_channels=8),
    ],
    ids=["mlp", "unet", "transformer"],
)
def test_what_is_told_of_many_steps_at_once_is_what_each_step_is_told(config):
    torch.manual_seed(0)
    network = build_network(config, horizon=4, action_size=3, cond_size=5, n_times=2)
    for weight in network.parameters():
        weight.data += 0.1 * torch.randn_like(weight)  # an untrained transformer says nothing
    x, cond = torch.randn(2, 4, 3), torch.randn(2, 5)
    times = torch.rand(6, 2)
    told = network.modulate(times.repeat_interleave(2, dim=0), cond.repeat(6, 1))
    for time, modulation in zip(times, told.unflatten(0, (6, 2)), strict=True):
        expected = network(x, time.expand(2, -1), cond)
        assert torch.allclose(network.predict(x, modulation), expected, atol=1e-5)
        assert not torch.allclose(network.predict(x, modulation.flip(0)), expected, atol=1e-3)


def test_the_activation_of_the_time_is_its_own():
    kinds = [
        {type(m) for m in unet.time} & {torch.nn.SiLU, torch.nn.Mish}
        for unet in (
            UNet1D(4, 2, 3, 1, UNetConfig((8,), activation="mish")),
            UNet1D(4, 2, 3, 1, UNetConfig((8,), time_activation="mish")),
        )
    ]
    assert kinds == [{torch.nn.SiLU}, {torch.nn.Mish}]


def test_an_activation_that_is_not_there_is_refused():
    with pytest.raises(PolicyError, match="time_activation must be silu or mish"):
        UNetConfig(time_activation="relu")
