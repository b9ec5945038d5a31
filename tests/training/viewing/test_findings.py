"""What stands out is said in words, with its place; what is as it should be is not."""

from contextlib import contextmanager

import numpy as np
import pytest

from bridle.training.demonstrations.storage import opened_sound
from bridle.training.viewing.findings import find
from bridle.training.viewing.reading import Reader
from bridle.training.viewing.survey import survey
from bridle.training.viewing.totals import totals
from tests.training.viewing.sets import pictures, record_arm, record_foreign

RNG = np.random.default_rng(0)
LENGTH, N = 60, 6


def smooth(n=LENGTH * N, channels=3):
    """Six episodes that begin and end alike, with a little noise."""
    t = np.linspace(0, 2 * np.pi * N, n, endpoint=False)[:, None]
    return np.sin(t + np.arange(channels)) + 0.01 * RNG.standard_normal((n, channels))


@contextmanager
def reading(path):
    with opened_sound(path) as (stored, _):
        yield Reader(stored, path, range(stored.n_episodes))


def looks(path):
    with reading(path) as reader:
        surveys = {name: survey(reader, key) for name, key in reader.keys.items()}
        found = find(reader, totals(reader), surveys)
    return [finding for finding in found if finding.kind == "look"]


def set_of(tmp_path, action, **more):
    ends = LENGTH * np.arange(1, len(action) // LENGTH + 1)
    return record_foreign(tmp_path / "set", ends, action=action, **more)


def test_a_good_set_gives_nothing_to_look_at(tmp_path):
    assert looks(set_of(tmp_path, smooth(), state=smooth())) == []
    assert looks(record_arm(tmp_path / "arm")) == []


@pytest.mark.parametrize("value", [50.0, -50.0])
def test_an_outlier_is_named_once_with_its_place(tmp_path, value):
    action = smooth()
    action[3 * LENGTH + 7, 1] = value
    (finding,) = looks(set_of(tmp_path, action))
    assert (finding.key, finding.episode, finding.step) == ("action", 3, 7)
    assert f"action[1] reaches {value:g} in episode 3, step 7; 98 %" in finding.text


def test_a_jump_is_named_with_its_place(tmp_path):
    action = smooth()
    action[2 * LENGTH + 20 : 2 * LENGTH + 40, 0] += 1.5
    (finding,) = looks(set_of(tmp_path, action))
    assert (finding.episode, finding.step) in ((2, 20), (2, 40))
    assert "action[0] jumps by 1." in finding.text


def test_an_angle_that_wraps_is_called_so(tmp_path):
    path = record_arm(tmp_path / "arm", lengths=(40, 40), turns=True)
    assert any("an angle that wraps around" in finding.text for finding in looks(path))


def test_what_rests_at_an_end_in_many_episodes_is_saturated(tmp_path):
    (finding,) = looks(set_of(tmp_path, np.clip(smooth(channels=1), -2, 0.8)))
    assert finding.text.startswith("action rests at its highest, 0.8, in ")


def test_a_gripper_that_is_open_or_closed_is_not_saturated(tmp_path):
    gripper = np.clip(8 * smooth(channels=1), 0, 0.8)
    assert looks(set_of(tmp_path, smooth(), gripper=gripper)) == []


def test_an_action_that_never_changes_is_worth_a_look(tmp_path):
    action = smooth()
    action[:, 2] = 0.25
    (finding,) = looks(set_of(tmp_path, action))
    assert finding.text == "action[2] is 0.25 throughout"


def test_an_episode_without_motion_is_named(tmp_path):
    action = smooth()
    action[LENGTH : 2 * LENGTH] = action[LENGTH]
    texts = [finding.text for finding in looks(set_of(tmp_path, action))]
    assert "the action never changes in episode 1" in texts


def test_numbers_that_are_none_are_counted(tmp_path):
    state = smooth()
    state[LENGTH + 5, 1] = np.nan
    state[LENGTH + 6, 0] = np.inf
    (finding,) = looks(set_of(tmp_path, smooth(), state=state))
    assert finding.text == "state: 2 values are not finite, the first in episode 1, step 5"


def test_odd_lengths_are_told(tmp_path):
    ends = np.cumsum([50, 50, 50, 3, 207])
    texts = [f.text for f in looks(record_foreign(tmp_path / "set", ends, action=smooth()))]
    assert "1 episode is very long: episode 4 has 207 steps, the median is 50" in texts
    assert "1 episode is very short: episode 3 has 3 steps, the median is 50" in texts


def test_failures_and_costs_are_told(tmp_path):
    reward = np.zeros(LENGTH * N)
    reward[LENGTH - 1 :: LENGTH] = 1
    reward[3 * LENGTH - 1] = 0
    cost = np.zeros(LENGTH * N)
    cost[4 * LENGTH] = 1
    path = set_of(tmp_path, smooth(), reward=reward, cost=cost)
    texts = [finding.text for finding in looks(path)]
    assert texts == ["1 of 6 episodes do not succeed: 2", "1 episode has cost: 4"]


def test_rewards_of_another_kind_tell_no_success(tmp_path):
    path = set_of(tmp_path, smooth(), reward=-RNG.random(LENGTH * N))
    with reading(path) as reader:
        assert totals(reader).success is None


def test_black_and_frozen_cameras_are_told(tmp_path):
    frames = pictures(LENGTH * N, (16, 16, 3))
    frames[:LENGTH] = 0
    frames[LENGTH : 2 * LENGTH] = frames[LENGTH]
    texts = [finding.text for finding in looks(set_of(tmp_path, smooth(), camera_front=frames))]
    assert texts == [
        "camera_front is black in episode 0",
        "camera_front stands still in episode 1: 100 % of its frames are exactly the one before",
    ]
