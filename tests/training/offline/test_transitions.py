from dataclasses import replace

import numpy as np
import pytest
import torch

from bridle.policies import Policy, PolicyConfig, StateEncoderConfig
from bridle.training.demonstrations import DemonstrationSet
from bridle.training.exceptions import TrainingError
from bridle.training.offline.transitions import transition_table

N, TO = 3, 2
"""Executed actions, observations."""


def policy() -> Policy:
    config = PolicyConfig(
        StateEncoderConfig({"joint_position": 2}, n_obs_steps=TO),
        action_size=2,
        horizon=6,
        n_action_steps=N,
    )
    made = Policy(config)
    rows = torch.randn(50, TO, 2)
    made.fit({"joint_position": rows, "action": torch.randn(50, 6, 2) * torch.tensor([1.0, 3.0])})
    return made


@pytest.fixture
def data() -> DemonstrationSet:
    """Two episodes, of 5 steps and of 2."""
    random = np.random.default_rng(0)
    arrays = {
        "joint_position": random.standard_normal((7, 2)).astype(np.float32),
        "action": random.standard_normal((7, 2)).astype(np.float32),
        "reward": np.array([1, 0, 0, 2, 4, 8, 16], np.float32),
        "cost": np.array([0, 0, 0, 0, 1, 0, 0], np.float32),
    }
    return DemonstrationSet(arrays, np.array([5, 7]), None)


def test_rewards_are_discounted_and_nothing_comes_after_the_episode(data):
    table = transition_table(policy(), data, 0.5)
    # 1; 0 + 2/4; 0 + 2/2 + 4/4; 2 + 4/2; 4; 8 + 16/2; 16.
    assert table.reward.tolist() == [1.0, 0.5, 2.0, 4.0, 4.0, 16.0, 16.0]


def test_a_cost_is_that_of_the_executed_steps_alone(data):
    assert transition_table(policy(), data, 0.5).cost.tolist() == [0, 0, 1, 1, 1, 0, 0]


def test_without_costs_nothing_costs(data):
    arrays = {key: value for key, value in data.arrays.items() if key != "cost"}
    assert not transition_table(policy(), replace(data, arrays=arrays), 0.5).cost.any()


def test_what_follows_is_what_was_seen_when_the_chunk_was_done(data):
    table = transition_table(policy(), data, 0.5)
    assert table.following.tolist() == [3, 4, 4, 4, 4, 6, 6]
    assert table.last.tolist() == [0, 0, 1, 1, 1, 1, 1]
    taken = table.take(torch.tensor([1]))
    assert torch.equal(taken.following, table.cond[4:5])


def test_states_and_actions_are_as_the_policy_has_them(data):
    made = policy()
    table = transition_table(made, data, 0.5)
    joints, action = (torch.from_numpy(data.arrays[k]) for k in ("joint_position", "action"))
    # Row 6 is the last of its episode: its action stays; row 5 the first: its joints were there.
    for row, history, executed in (
        (1, [0, 1], [1, 2, 3]), (6, [5, 6], [6, 6, 6]), (5, [5, 5], [5, 6, 6]),
    ):  # fmt: skip
        cond, offset, scale = made.encode({"joint_position": joints[None, history]})
        assert torch.allclose(table.cond[row], cond[0])
        expected = (action[executed] - offset[0]) / scale
        assert torch.allclose(table.action[row], expected.flatten(), atol=1e-6)


def test_a_set_without_rewards_is_refused(data):
    arrays = {key: value for key, value in data.arrays.items() if key != "reward"}
    with pytest.raises(TrainingError, match="no reward"):
        transition_table(policy(), replace(data, arrays=arrays), 0.5)
