import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.training.demonstrations import DemonstrationError, DemonstrationSet
from bridle.training.demonstrations.windows import WindowSampler


def numbered(lengths):
    """Every row holds its own index."""
    ends = np.cumsum(lengths)
    rows = np.arange(ends[-1], dtype=np.float32)
    arrays = {"action": np.stack([rows, -rows], 1), "state": rows[:, None], "reward": rows}
    return DemonstrationSet(arrays, ends, None)


def windows_by_definition(lengths, horizon, n_obs, n_act, episodes):
    """Step by step: an out-of-episode step repeats the nearest one of its episode."""
    found = []
    for episode in episodes:
        begin, length = sum(lengths[:episode]), lengths[episode]
        for start in range(-(n_obs - 1), length - horizon + (n_act - 1) + 1):
            rows, pads = [], []
            for step in range(start, start + horizon):
                inside = step
                while inside < 0:
                    inside += 1
                while inside >= length:
                    inside -= 1
                rows.append(begin + inside)
                pads.append(inside != step)
            found.append((rows, pads))
    return found


@st.composite
def cases(draw):
    lengths = draw(st.lists(st.integers(1, 25), min_size=1, max_size=6))
    n_obs, n_act = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    horizon = draw(st.integers(n_obs - 1 + n_act, 20))
    episodes = draw(
        st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=len(lengths), unique=True)
    )
    return lengths, horizon, n_obs, n_act, episodes


@settings(max_examples=200)
@given(cases())
def test_windows_are_those_of_the_definition(case):
    lengths, horizon, n_obs, n_act, episodes = case
    expected = windows_by_definition(*case)
    data = numbered(lengths)
    if not expected:
        with pytest.raises(DemonstrationError, match="no window fits"):
            WindowSampler(data, horizon, n_obs, n_act, ["state"], episodes)
        return
    sampler = WindowSampler(data, horizon, n_obs, n_act, ["state", "reward"], episodes)
    assert len(sampler) == len(expected)
    batch = sampler.sample(np.arange(len(sampler)))
    rows = np.array([rows for rows, _ in expected])
    np.testing.assert_array_equal(batch["action"], np.stack([rows, -rows], 2))
    np.testing.assert_array_equal(batch["is_pad"], [pads for _, pads in expected])
    np.testing.assert_array_equal(batch["state"], rows[:, :n_obs, None])
    np.testing.assert_array_equal(batch["reward"], rows[:, :n_obs])
    # The action at To-1 is the one of the last observation.
    np.testing.assert_array_equal(batch["action"][:, n_obs - 1, 0], batch["reward"][:, -1])


def test_the_picture_in_the_docs():
    sampler = WindowSampler(numbered([7]), 6, 2, 4, ["state"])
    rows = sampler.sample(np.array([0, len(sampler) - 1]))["action"][:, :, 0]
    assert rows.tolist() == [[0, 0, 1, 2, 3, 4], [4, 5, 6, 6, 6, 6]]


def test_the_published_settings_give_the_published_count():
    """Diffusion Policy on an episode of 100 steps: starts -1 to 100 - 16 + 7."""
    assert len(WindowSampler(numbered([100]), 16, 2, 8, ["state"])) == 93


def test_images_keep_their_type_and_batches_own_their_memory():
    data = numbered([20])
    images = np.random.default_rng(0).integers(0, 255, (20, 4, 5, 3), np.uint8)
    data = DemonstrationSet({**data.arrays, "camera_front": images}, data.episode_ends, None)
    batch = WindowSampler(data, 8, 2, 4, ["camera_front"]).sample(np.array([5]))
    assert batch["camera_front"].shape == (1, 2, 4, 5, 3)
    np.testing.assert_array_equal(batch["camera_front"][0], images[4:6])
    batch["camera_front"][:] = 0
    assert images[4:6].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizon": 8}, "horizon must be at least .* = 9, got 8"),
        ({"n_obs_steps": 0}, "n_obs_steps must be at least 1"),
        ({"n_action_steps": 0}, "n_action_steps must be at least 1"),
        ({"obs_keys": ["torque"]}, "the set has no torque; it has action, state, reward"),
        ({"obs_keys": ["action"]}, "action cannot be an observation"),
        ({"episodes": [2]}, r"episodes must lie in 0 to 1, got \[2\]"),
        ({"episodes": [-1]}, "episodes must lie in 0 to 1"),
        ({"episodes": [0.5]}, "episodes must be a list of integers"),
        ({"episodes": []}, "no window fits: 0 episodes"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    settings = {"horizon": 16, "n_obs_steps": 2, "n_action_steps": 8, "obs_keys": ["state"]}
    with pytest.raises(DemonstrationError, match=message):
        WindowSampler(numbered([30, 30]), **(settings | change))


def test_wrong_indices_are_refused():
    sampler = WindowSampler(numbered([30]), 16, 2, 8, ["state"])
    for indices in ([-1], [len(sampler)], [[0]], [0.5]):
        with pytest.raises(DemonstrationError, match="indices: expected"):
            sampler.sample(np.array(indices))
