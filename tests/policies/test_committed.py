"""Policies that are given the actions which are committed, and go on from them."""

import pytest
import torch

from bridle.policies import (
    DiffusionConfig,
    EnergyConfig,
    FlowConfig,
    MLPConfig,
    Policy,
    PolicyConfig,
    PolicyError,
    RegressionConfig,
    ShortcutConfig,
    StateEncoderConfig,
    TransformerConfig,
    UNetConfig,
)

HORIZON, MOST = 8, 4


def make_policy(n_obs_steps=1, **settings):
    torch.manual_seed(0)
    config = PolicyConfig(
        StateEncoderConfig({"joint_position": 1}, n_obs_steps=n_obs_steps),
        action_size=1,
        **{
            "horizon": HORIZON,
            "n_action_steps": 4,
            "committed": MOST,
            "network": MLPConfig(64, 2, 16),
        }
        | settings,
    )
    return Policy(config)


def lanes(n, random):
    """Windows of a robot that goes to the right or to the left, both always right; the sides."""
    here = torch.randn(n, 1, 1, generator=random)
    side = torch.randint(0, 2, (n, 1, 1), generator=random) * 2.0 - 1
    ramp = torch.linspace(0.1, 0.4, HORIZON)[:, None]
    wobble = 0.01 * torch.randn(n, 1, 1, generator=random)
    return {"joint_position": here, "action": here + side * ramp + wobble}, side[:, 0, 0]


def fitted(**settings):
    policy = make_policy(**settings)
    random = torch.Generator().manual_seed(0)
    batch, _ = lanes(256, random)
    batch["joint_position"] = batch["joint_position"].repeat(1, settings.get("n_obs_steps", 1), 1)
    policy.fit(batch)
    return policy.eval(), batch


def commit(batch, n):
    """The first n actions of each window are committed, whatever the others hold."""
    n = torch.as_tensor(n).expand(len(batch["action"]))[:, None]
    observation = {"joint_position": batch["joint_position"]}
    return observation | {"committed": batch["action"][:, :MOST].clone(), "n_committed": n}


LEARNED = {
    "flow": (250, {"generator": FlowConfig(4)}),
    "flow in one step": (250, {"generator": FlowConfig(1)}),
    "shortcut": (300, {"generator": ShortcutConfig()}),
    "diffusion": (250, {"generator": DiffusionConfig(n_steps=5, prediction="sample")}),
    "energy": (500, {"generator": EnergyConfig(n_steps=2)}),
    "regression": (200, {"generator": RegressionConfig()}),
    "unet": (120, {"network": UNetConfig(channels=(8, 16), groups=4, time_channels=16)}),
    "transformer": (300, {"network": TransformerConfig(width=32, layers=1, heads=2)}),
}
"""Steps of training, and what is trained."""


@pytest.mark.parametrize("name", LEARNED)
def test_a_policy_learns_to_keep_to_the_side_that_is_committed(name):
    steps, settings = LEARNED[name]
    policy = make_policy(**settings).train()
    random = torch.Generator().manual_seed(0)
    policy.fit(lanes(1024, random)[0])
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for _ in range(steps):
        loss, _ = policy.loss(lanes(128, random)[0], random)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    policy.eval()
    batch, side = lanes(400, random)
    noise = torch.randn(400, HORIZON, 1, generator=random)
    n = torch.randint(1, MOST + 1, (400,), generator=random)
    ends = (policy.sample(commit(batch, n), noise) - batch["joint_position"])[:, -1, 0]
    assert (ends.sign() != side).float().mean() <= 0.05
    assert (ends - 0.4 * side).abs().median() < 0.1
    # With nothing committed either side is as good, so that each chunk is a new choice.
    free = policy.sample({"joint_position": batch["joint_position"]}, noise)
    other = (free[:, -1, 0] - batch["joint_position"][:, 0, 0]).sign() != side
    assert 0.4 < other.float().mean() < 0.6


@pytest.mark.parametrize("n", range(MOST + 1))
def test_what_is_not_committed_has_no_influence(n):
    policy, batch = fitted()
    given, other = commit(batch, n), commit(batch, n)
    other["committed"][:, n:] = torch.nan
    assert torch.equal(policy.encode(given)[0], policy.encode(other)[0])
    if n:
        other["committed"][:, n - 1] += 0.1
        assert not torch.allclose(policy.encode(given)[0], policy.encode(other)[0])


def test_nothing_given_is_nothing_committed():
    policy, batch = fitted()
    observation = {"joint_position": batch["joint_position"]}
    noise = torch.randn(256, HORIZON, 1)
    assert torch.equal(policy.sample(observation, noise), policy.sample(commit(batch, 0), noise))


def test_committed_actions_are_told_in_the_units_of_the_chunk():
    policy, batch = fitted()
    cond, offset, scale = policy.encode(commit(batch, 3))
    known, counts = cond[:, -2 * MOST : -MOST], cond[:, -MOST:]
    assert torch.allclose(offset[:, 0] + scale * known[:, :3], batch["action"][:, :3, 0], atol=1e-5)
    assert counts.unique(dim=0).tolist() == [[1, 1, 1, 0]]


def test_candidates_continue_what_is_committed_too():
    policy, batch = fitted(n_obs_steps=2)
    given = commit(batch, 3)
    noise = torch.randn(256, 2, HORIZON, 1)
    unknown = torch.full((256, 1, 1), torch.nan)
    expected = policy.sample(given, noise[:, 0])
    assert torch.allclose(policy.best_of(given, noise, unknown), expected, atol=1e-5)


def test_only_training_draws_what_is_committed():
    policy, batch = fitted()
    encoded = []
    encode = policy.encode
    policy.encode = lambda observation: encoded.append(observation) or encode(observation)
    policy.loss(batch)
    assert "n_committed" not in encoded[-1]
    policy.train().loss(batch, torch.Generator().manual_seed(0))
    n = encoded[-1]["n_committed"]
    assert set(n.unique().tolist()) == set(range(MOST + 1))
    assert 0.15 < (n == 0).float().mean() < 0.35
    # A little off, as what the policy itself went on with is.
    noise = (encoded[-1]["committed"] - batch["action"][:, :MOST]) / policy.encode(batch)[2]
    assert 0.04 < noise.std() < 0.08


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("past", [True, False])
def test_committed_rows_do_not_count_in_the_loss(past, draws):
    policy, batch = fitted(n_obs_steps=2, past=past)
    first = policy.config.first_action
    batch = {
        "joint_position": batch["joint_position"],
        "action": torch.randn(256, policy.config.window_steps, 1),
    }
    ahead = batch["action"][:, -HORIZON:][:, first : first + MOST]
    n = torch.randint(0, MOST + 1, (256, 1))
    entries = torch.rand(256 * draws, HORIZON, 1)
    policy.generator.loss = lambda *arguments: entries
    found, _ = policy.loss(batch | {"committed": ahead, "n_committed": n}, draws=draws)
    counted = [
        entries[i * draws + k, row, 0]
        for i in range(256)
        for k in range(draws)
        for row in range(HORIZON)
        if not first <= row < first + int(n[i])
    ]
    assert float(found) == pytest.approx(float(torch.stack(counted).mean()), rel=1e-4)


@pytest.mark.parametrize("committed", [-1, HORIZON])
def test_some_of_the_chunk_has_to_stay_free(committed):
    with pytest.raises(PolicyError, match=r"committed must lie in 0\.\.7"):
        make_policy(committed=committed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: o.pop("n_committed"), "n_committed is missing"),
        (lambda o: o.pop("committed"), "committed is missing"),
        (
            lambda o: o.update(committed=torch.zeros(256, 2, 1)),
            r"\(batch, 4, 1\), got \(256, 2, 1\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    policy, batch = fitted()
    observation = commit(batch, 2)
    change(observation)
    with pytest.raises(PolicyError, match=message):
        policy.encode(observation)
