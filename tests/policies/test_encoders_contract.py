"""What holds for every encoder."""

import pytest
import torch

from bridle.policies import (
    ENCODERS,
    ObservationEncoderConfig,
    Policy,
    PolicyConfig,
    PolicyError,
    StateEncoderConfig,
)
from bridle.policies.encoders import build_encoder

from .encoding import every_kind, fitted, images, observe, text

KINDS = tuple(every_kind(1))


def make(kind: str, steps: int = 2):
    torch.manual_seed(0)
    config = every_kind(steps)[kind]
    encoder = build_encoder(config)
    fitted(encoder, observe(config, 64))
    return encoder


def test_every_encoder_of_the_table_is_tested_here():
    assert {type(config) for config in every_kind(1).values()} == {
        ObservationEncoderConfig,
        *(config for config, _ in ENCODERS.values()),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 3])
def test_the_encoding_has_the_size_it_says_and_is_finite(kind, steps):
    encoder = make(kind, steps)
    encoding = encoder(observe(encoder.config, 5))
    assert encoding.shape == (5, encoder.output_size)
    assert encoding.isfinite().all()
    assert encoding.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_that_can_be_learned_gets_a_gradient(kind):
    encoder = make(kind)
    encoding = encoder(observe(encoder.config, 8))
    (encoding * torch.randn_like(encoding)).sum().backward() if encoding.requires_grad else None
    for name, weight in encoder.named_parameters():
        assert not weight.requires_grad or weight.grad.abs().max() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_encoded_by_itself(kind):
    encoder = make(kind).eval()
    observation = observe(encoder.config, 6)
    alone = {key: values[2:3] for key, values in observation.items()}
    assert torch.allclose(encoder(observation)[2:3], encoder(alone), atol=1e-5)


@pytest.mark.parametrize("kind", [k for k in KINDS if not k.startswith("text")])
def test_the_order_of_the_history_matters(kind):
    encoder = make(kind)
    observation = observe(encoder.config, 4)
    turned = {key: values.flip(1) for key, values in observation.items()}
    assert not torch.allclose(encoder(observation), encoder(turned), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_augmentation_is_a_function_of_the_seed_and_leaves_the_batch_alone(kind):
    encoder = make(kind)
    observation = observe(encoder.config, 6)
    before = {key: values.clone() for key, values in observation.items()}

    def augmented(seed):
        return encoder.augment(observation, torch.Generator().manual_seed(seed))

    first, again = augmented(1), augmented(1)
    assert all(torch.equal(first[key], again[key]) for key in observation)
    assert all(torch.equal(observation[key], before[key]) for key in observation)
    assert encoder(first).shape == encoder(observation).shape
    if type(encoder).augment is not build_encoder(every_kind(1)["state"]).__class__.augment:
        other = augmented(2)
        assert any(not torch.equal(first[key], other[key]) for key in observation)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_input_is_named(kind):
    encoder = make(kind)
    for key in encoder.config.inputs:
        observation = observe(encoder.config, 3)
        del observation[key]
        with pytest.raises(PolicyError, match=f"observation '{key}' is missing"):
            encoder(observation)


@pytest.mark.parametrize("kind", KINDS)
def test_another_number_of_channels_is_refused(kind):
    encoder = make(kind)
    for key in encoder.config.inputs:
        observation = observe(encoder.config, 3)
        observation[key] = observation[key][..., :-1]
        with pytest.raises(PolicyError, match=rf"'{key}' must be \(B, 2, .*\), got"):
            encoder(observation)


@pytest.mark.parametrize("kind", KINDS)
def test_another_type_of_number_is_refused(kind):
    encoder = make(kind)
    for key in encoder.config.inputs:
        observation = observe(encoder.config, 3)
        observation[key] = observation[key].to(torch.int16)
        with pytest.raises(PolicyError, match=rf"'{key}' must be torch\.\w+, got torch.int16"):
            encoder(observation)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_travel_with_the_weights_and_are_missed_without(kind):
    encoder, other = make(kind), build_encoder(every_kind(2)[kind])
    if any(wanted.fitted for wanted in encoder.config.inputs.values()):
        with pytest.raises(PolicyError, match="statistics are missing"):
            other.check_fitted()
    other.load_state_dict(encoder.state_dict())
    other.check_fitted()
    observation = observe(encoder.config, 3)
    assert torch.equal(encoder(observation), other(observation))


def test_joined_encodings_stand_one_after_the_other():
    encoder = make("joined")
    observation = observe(encoder.config, 3)
    parts = [part(observation) for part in encoder.parts]
    assert torch.equal(encoder(observation), torch.cat(parts, dim=1))


def test_parts_that_do_not_fit_together_are_refused():
    with pytest.raises(PolicyError, match=r"one n_obs_steps, got \[1, 2\]"):
        ObservationEncoderConfig((text(1), images(2)))
    with pytest.raises(PolicyError, match="'x' is read as"):
        ObservationEncoderConfig((StateEncoderConfig({"x": 2}), StateEncoderConfig({"x": 3})))
    with pytest.raises(PolicyError, match="at least one part"):
        ObservationEncoderConfig(())


def test_a_policy_augments_in_training_and_not_in_evaluation():
    config = ObservationEncoderConfig((StateEncoderConfig({"joint_position": 6}), images()))
    policy = Policy(PolicyConfig(config, action_size=7))
    batch = {**observe(config, 8), "action": torch.randn(8, 16, 7)}
    policy.fit(batch)
    seen = []
    policy.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))

    def look() -> list:
        seen.clear()
        policy.loss(batch, torch.Generator().manual_seed(3))
        return [seen[0][camera] for camera in config.parts[1].cameras]

    trained, again = look(), look()
    assert all(torch.equal(a, b) for a, b in zip(trained, again, strict=True))
    assert trained[0].shape == (8, 1, 43, 50, 3)
    policy.eval()
    assert all(
        torch.equal(a, batch[camera])
        for a, camera in zip(look(), config.parts[1].cameras, strict=True)
    )
