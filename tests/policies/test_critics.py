import math

import pytest
import torch

from bridle.policies import PolicyError
from bridle.policies.candidates import best_feasible, cheapest
from bridle.policies.critics import (
    CriticConfig,
    Critics,
    Judge,
    Transitions,
    WeightConfig,
    advantage_weight,
    expectile_loss,
    feasible_target,
    feasible_weight,
    value_target,
)


def test_an_expectile_lies_between_the_mean_and_the_largest():
    targets = torch.tensor([0.0, 0.0, 0.0, 10.0])
    estimate = torch.linspace(0, 10, 10001)
    losses = expectile_loss(targets[:, None] - estimate, 0.5).mean(0)
    assert math.isclose(estimate[losses.argmin()], 2.5, abs_tol=2e-3)
    # tau (10 - v) = 3 (1 - tau) v at tau = 0.9: v = 7.5.
    losses = expectile_loss(targets[:, None] - estimate, 0.9).mean(0)
    assert math.isclose(estimate[losses.argmin()], 7.5, abs_tol=2e-3)


def test_the_target_of_feasibility_is_the_worst_ahead():
    h = torch.tensor([-1.0, -1.0, 25.0, -1.0])
    following = torch.tensor([-1.0, 5.0, -1.0, 5.0])
    last = torch.tensor([0.0, 0.0, 0.0, 1.0])
    # 0.1 * -1 + 0.9 * -1; 0.1 * -1 + 0.9 * 5; 25 whatever follows; h alone at the end.
    expected = torch.tensor([-1.0, 4.4, 25.0, -1.0])
    assert torch.allclose(feasible_target(h, following, 0.9, last), expected)


def test_nothing_is_worth_anything_after_the_end():
    target = value_target(torch.ones(2), torch.full((2,), 4.0), 0.5, torch.tensor([0.0, 1.0]))
    assert torch.equal(target, torch.tensor([3.0, 1.0]))


def test_an_advantage_becomes_a_bounded_weight():
    q, v = torch.tensor([1.0, 0.5, 1000.0]), torch.tensor([1.0, 1.0, 0.0])
    weight = advantage_weight(q, v, WeightConfig())
    assert torch.allclose(weight, torch.tensor([1.0, math.exp(-1.5), 100.0]))


def test_safety_comes_before_reward():
    v_h = torch.tensor([-1.0, -1.0, 2.0, 2.0, 2.0])
    q_h = torch.tensor([-0.5, 0.5, 1.9, 2.5, -1.0])
    q = torch.tensor([1.1, 9.0, 9.0, 9.0, -9.0])
    weight = feasible_weight(q, torch.ones(5), q_h, v_h, WeightConfig())
    # The advantage; nothing, however much it is worth; exp(5 (V_h - Q_h)), at most 150.
    expected = torch.tensor([math.exp(0.3), 0.0, math.exp(0.5), math.exp(-2.5), 150.0])
    assert torch.allclose(weight, expected)


def test_the_best_of_the_feasible_is_chosen_and_the_least_unsafe_of_none():
    chunks = torch.arange(4.0).reshape(1, 4, 1, 1).expand(3, 4, 1, 1)
    q_h = torch.tensor([[-1.0, -0.5, 3.0, -0.1], [4.0, 2.0, 3.0, 9.0], [1.0, -0.1, 1.0, 1.0]])
    q = torch.tensor([[1.0, 5.0, 9.0, 2.0], [9.0, 1.0, 9.0, 9.0], [9.0, -50.0, 9.0, 9.0]])
    chosen = cheapest(chunks, best_feasible(q_h, q))
    assert chosen.flatten().tolist() == [1.0, 1.0, 1.0]


def test_an_ensemble_is_pessimistic():
    cond, action = torch.randn(6, 3), torch.randn(6, 2)
    for sign, worst in ((1, torch.amin), (-1, torch.amax)):
        judge = Judge(3, 2, CriticConfig(width=8, ensemble=3), sign)
        each = judge.estimates(judge.average, cond, action)
        assert torch.equal(judge.action_value(cond, action), worst(each, dim=0))


def test_targets_follow_slowly():
    judge = Judge(3, 2, CriticConfig(width=8), 1)
    before = judge.average[0][0].weight.clone()
    with torch.no_grad():
        judge.q[0][0].weight += 1
    judge.follow(0.25)
    assert torch.allclose(judge.average[0][0].weight, before + 0.25)


def test_without_an_unsafe_value_there_is_no_feasibility():
    critics = Critics(3, 2, CriticConfig(unsafe=None, width=8))
    assert critics.feasibility is None
    cond, action = torch.randn(4, 3), torch.randn(4, 2)
    q, v = critics.reward.action_value(cond, action), critics.reward.state_value(cond)
    weights = critics.weights(cond, action, WeightConfig())
    assert torch.equal(weights, advantage_weight(q, v, WeightConfig()))


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda: CriticConfig(width=0), "width"),
        (lambda: CriticConfig(expectile=0.5), "expectile"),
        (lambda: CriticConfig(discount=1.0), "discount"),
        (lambda: CriticConfig(unsafe=0.0), "unsafe"),
        (lambda: CriticConfig(averaging=0.0), "averaging"),
        (lambda: WeightConfig(temperature=math.inf), "temperature"),
    ],
)
def test_wrong_settings_are_named(made, named):
    with pytest.raises(PolicyError, match=named):
        made()


def learn(table: Transitions, config: CriticConfig, discount: float, steps: int) -> Critics:
    torch.manual_seed(0)
    critics = Critics(table.cond.shape[1], table.action.shape[1], config)
    optimizer = torch.optim.Adam([p for p in critics.parameters() if p.requires_grad], lr=2e-3)
    for _ in range(steps):
        rows = torch.randint(len(table.cond), (256,))
        losses = critics.loss(Transitions(*(each[rows] for each in table)), discount)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        critics.follow()
    return critics


def test_values_of_a_chain_are_those_of_dynamic_programming():
    """Five places in a row, one action: a cost at the last, a reward of 1 for reaching it."""
    n, discount = 5, 0.8
    cond = torch.eye(n)
    following = torch.eye(n)[[1, 2, 3, 4, 4]]
    last = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])
    table = Transitions(cond, torch.zeros(n, 1), last, last, following, last)
    config = CriticConfig(width=32, unsafe=3.0, averaging=0.1, expectile=0.7)
    critics = learn(table, config, discount, steps=250)
    # V_h = 3 at the end, then v <- 0.2 (-1) + 0.8 v: the distance to the cost can be read off.
    v_h, v = [3.0], [1.0]
    for _ in range(n - 1):
        v_h.append(-0.2 + 0.8 * v_h[-1])
        v.append(0.8 * v[-1])
    found = critics.feasibility.state_value(cond)
    assert torch.allclose(found, torch.tensor(v_h[::-1]), atol=0.15)
    assert torch.allclose(critics.reward.state_value(cond), torch.tensor(v[::-1]), atol=0.08)


def test_the_feasible_set_of_a_braking_cart_is_found():
    """A cart before a wall at x = 1 with |a| <= 1: feasible are x + v^2 / 2 < 1 (and all v < 0)."""
    random = torch.Generator().manual_seed(0)
    n, dt = 40000, 0.1
    x = torch.rand(n, generator=random) * 2 - 1
    v = torch.rand(n, generator=random) * 3 - 1.5
    a = torch.randint(0, 2, (n,), generator=random) * 2.0 - 1
    # Its speed is bounded: no way out of the sampled states but to the wall and back.
    after = torch.stack([x + v * dt + a * dt**2 / 2, (v + a * dt).clamp(-1.5, 1.5)], dim=1)
    hit = (after[:, 0] > 1).float()
    out = (after[:, 0].abs() > 1).float()
    table = Transitions(torch.stack([x, v], dim=1), a[:, None], torch.zeros(n), hit, after, out)
    config = CriticConfig(width=32, unsafe=1.0, expectile=0.95, averaging=0.1)
    critics = learn(table, config, discount=0.97, steps=500)
    braking = x + v.clamp_min(0).square() / 2
    with torch.no_grad():
        unsafe = critics.feasibility.state_value(table.cond) > 0
    assert unsafe[braking > 1.1].float().mean() > 0.95
    assert unsafe[braking < 0.9].float().mean() < 0.02
    # In a state from which braking alone helps, the critic tells braking from going on.
    edge = torch.tensor([[0.5, 0.85]]).expand(2, 2)
    brake, push = critics.feasibility.action_value(edge, torch.tensor([[-1.0], [1.0]])).tolist()
    assert brake < push
