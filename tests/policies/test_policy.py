import numpy as np
import pytest
import torch

from bridle.policies import (
    Difference,
    EnergyConfig,
    FlowConfig,
    MLPConfig,
    Normalizer,
    Policy,
    PolicyConfig,
    PolicyError,
    StateEncoder,
    StateEncoderConfig,
)

KEYS = {"joint_position": 6, "gripper": 1, "tcp_pose": 9, "object_state": 8}
CUBE_FROM_TOOL = Difference("object_state", 0, "tcp_pose", 0, 3)


def make_policy(n_obs_steps: int = 2, **settings) -> Policy:
    config = PolicyConfig(
        StateEncoderConfig(KEYS, (CUBE_FROM_TOOL,), n_obs_steps), action_size=7, **settings
    )
    torch.manual_seed(0)
    return Policy(config)


def make_batch(policy: Policy, rows: int = 64) -> dict[str, torch.Tensor]:
    steps = policy.config.encoder.n_obs_steps
    batch = {key: torch.randn(rows, steps, n) * 2 + 1 for key, n in KEYS.items()}
    batch["action"] = torch.randn(rows, policy.config.horizon, 7)
    return batch


def test_a_policy_without_statistics_is_refused():
    policy = make_policy()
    with pytest.raises(PolicyError, match="statistics are missing for joint_position"):
        policy.check_fitted()
    assert torch.isnan(policy.sample(make_batch(policy, 1), torch.randn(1, 16, 7))).all()


def test_statistics_travel_in_the_state_dict():
    policy, other = make_policy(), make_policy()
    batch = make_batch(policy)
    policy.fit(batch)
    other.load_state_dict(policy.state_dict())
    other.check_fitted()
    noise = torch.randn(64, 16, 7)
    assert torch.equal(policy.sample(batch, noise), other.sample(batch, noise))


def test_normalised_features_have_zero_mean_and_unit_variance_and_come_back():
    normalizer = Normalizer({"x": 3})
    x = torch.randn(1000, 3) * torch.tensor([0.1, 1, 10]) + 5
    normalizer.fit("x", x)
    z = normalizer.normalize("x", x)
    assert torch.allclose(z.mean(0), torch.zeros(3), atol=1e-4)
    assert torch.allclose(z.std(0, unbiased=False), torch.ones(3), atol=1e-4)
    assert torch.allclose(normalizer.unnormalize("x", z), x, atol=1e-4)


def test_a_constant_channel_is_not_blown_up():
    normalizer = Normalizer({"x": 1}, min_std=1e-2)
    normalizer.fit("x", torch.full((100, 1), 0.3))
    assert float(normalizer.normalize("x", torch.tensor([[0.31]]))) == pytest.approx(1.0, abs=1e-3)


def test_windows_count_by_their_weight():
    policy = make_policy()
    batch = make_batch(policy, rows=6)
    policy.fit(batch)
    random = torch.Generator()
    rows = torch.arange(6.0)[:, None].expand(6, 2)

    def loss(weight):
        return policy.loss({**batch, "weight": weight}, random.manual_seed(0))[0]

    plain = policy.loss(batch, random.manual_seed(0))[0]
    assert torch.allclose(loss(torch.ones(6, 2)), plain)
    # The loss is linear in the weights: alone they add up to what they give together.
    alone = [loss(rows * (rows == i)) for i in range(6)]
    assert torch.allclose(loss(rows), torch.stack(alone).sum())
    assert alone[0] == 0 < alone[5]


@pytest.mark.parametrize(
    "bad", [torch.full((4, 2), torch.nan), torch.zeros(0, 2), torch.zeros(4, 3)]
)
def test_statistics_of_bad_data_are_refused(bad):
    with pytest.raises(PolicyError):
        Normalizer({"x": 2}).fit("x", bad)


def test_relative_actions_follow_the_robot():
    # The same noise from a robot whose joints are all 0.1 rad further, seen as the same features,
    # gives joint targets 0.1 rad further and the same gripper target.
    policy = make_policy(n_obs_steps=1)
    batch = make_batch(policy)
    policy.fit(batch)
    mean = policy.encoder.normalizer.mean("joint_position")
    moved = {k: v.clone() for k, v in batch.items()}
    moved["joint_position"] += 0.1
    noise = torch.randn(64, 16, 7)
    before = policy.sample(batch, noise)
    mean += 0.1  # undo the shift in what the network sees
    after = policy.sample(moved, noise)
    assert torch.allclose(after[..., :6] - before[..., :6], torch.tensor(0.1), atol=1e-5)
    assert torch.allclose(after[..., 6], before[..., 6], atol=1e-5)


def test_differences_are_computed_in_physical_units():
    encoder = StateEncoder(StateEncoderConfig(KEYS, (CUBE_FROM_TOOL,), 1))
    batch = make_batch(make_policy(1))
    features = encoder.features(batch)
    expected = batch["object_state"][..., :3] - batch["tcp_pose"][..., :3]
    assert torch.equal(features["object_state[0:3]-tcp_pose[0:3]"], expected)


def test_the_first_executed_action_belongs_to_the_newest_observation():
    assert make_policy(n_obs_steps=3).config.first_action == 2


def test_a_few_steps_of_training_lower_the_loss():
    policy = make_policy()
    batch = make_batch(policy)
    policy.fit(batch)
    optimizer = torch.optim.Adam(policy.parameters(), 1e-3)
    losses = []
    for step in range(60):
        loss, parts = policy.loss(batch, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(parts["loss"])
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_several_draws_are_those_of_the_batch_repeated_with_each_observation_encoded_once():
    policy = make_policy()
    batch = make_batch(policy, 8)
    policy.fit(batch)
    encoded = []
    policy.encoder.register_forward_hook(lambda *call: encoded.append(len(call[2])))

    def loss(windows, draws):
        return policy.loss(windows, torch.Generator().manual_seed(3), draws)[0]

    repeated = {key: rows.repeat_interleave(4, dim=0) for key, rows in batch.items()}
    torch.testing.assert_close(loss(batch, 4), loss(repeated, 1))
    assert encoded == [8, 32]
    assert loss(batch, 1) != loss(batch, 4)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"n_action_steps": 16}, "n_action_steps must lie in 1..15"),
        ({"n_action_steps": 0}, "n_action_steps"),
        ({"relative_key": "camera"}, "relative_key 'camera'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, what):
    with pytest.raises(PolicyError, match=what):
        make_policy(**settings)


def test_a_difference_outside_its_observation_is_refused():
    with pytest.raises(PolicyError, match="'gripper' has 1 channels"):
        StateEncoderConfig(KEYS, (Difference("tcp_pose", 0, "gripper", 0, 3),))


def test_flow_steps_must_be_positive():
    with pytest.raises(PolicyError, match="n_steps"):
        FlowConfig(0)


@pytest.mark.parametrize(("tolerance", "taken"), [(0.0, 5), (1e-9, 5), (1e9, 1)])
def test_a_walk_ends_after_a_step_that_moves_nothing_by_more_than_the_tolerance(tolerance, taken):
    policy = make_policy(generator=EnergyConfig(n_steps=5, tolerance=tolerance))
    batch = make_batch(policy, 3)
    policy.fit(batch)
    cond, offset, scale = policy.encode(batch)
    noise = torch.randn(3, 16, 7)
    chunks = [chunk for chunk, _ in policy.walk(cond, noise)]
    assert len(chunks) == taken
    assert torch.equal(policy.sample(batch, noise), offset + scale * chunks[-1])


def past_policy(past=True, n_obs_steps=3):
    torch.manual_seed(0)
    config = PolicyConfig(
        StateEncoderConfig({"joint_position": 6}, n_obs_steps=n_obs_steps),
        action_size=7,
        past=past,
        network=MLPConfig(16, 1),
    )
    policy = Policy(config)
    batch = {
        "joint_position": torch.randn(32, n_obs_steps, 6),
        "action": torch.randn(32, config.window_steps, 7),
    }
    policy.fit(batch)
    return policy.eval(), batch


def test_a_chunk_begins_at_the_oldest_or_at_the_newest_observation():
    with_past, _ = past_policy()
    assert (with_past.config.first_action, with_past.config.window_steps) == (2, 16)
    without, batch = past_policy(past=False)
    assert (without.config.first_action, without.config.window_steps) == (0, 18)
    # What lies before the newest observation neither counts in the loss nor in the statistics.
    changed = batch | {"action": batch["action"].clone()}
    changed["action"][:, :2] += 100
    first, second = (without.loss(b, torch.Generator().manual_seed(1))[0] for b in (batch, changed))
    assert torch.equal(first, second)
    mean = without.action_normalizer.mean("action").clone()
    without.fit(changed)
    assert torch.equal(without.action_normalizer.mean("action"), mean)


def test_the_best_of_several_is_the_one_whose_past_was_executed():
    policy, batch = past_policy()
    observation = {"joint_position": batch["joint_position"][:5]}
    noise = torch.randn(5, 4, 16, 7)
    alone = torch.stack([policy.sample(observation, noise[:, i]) for i in range(4)], dim=1)
    for i in range(4):
        chosen = policy.best_of(observation, noise, alone[:, i, :2])
        assert torch.allclose(chosen, alone[:, i], atol=1e-5)
    unknown = torch.full((5, 2, 7), torch.nan)
    assert torch.allclose(policy.best_of(observation, noise, unknown), alone[:, 0], atol=1e-5)


def test_a_policy_without_a_past_has_nothing_to_choose_by():
    policy, batch = past_policy(past=False)
    observation = {"joint_position": batch["joint_position"][:5]}
    with pytest.raises(PolicyError, match="predicts 0 past actions"):
        policy.best_of(observation, torch.randn(5, 4, 16, 7), torch.zeros(5, 2, 7))
