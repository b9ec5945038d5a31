"""Which episodes are looked at."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridle.training.demonstrations import DemonstrationError
from bridle.training.viewing.selection import asked, evenly


@given(n=st.integers(1, 500), most=st.integers(2, 20))
def test_episodes_are_evenly_spread_with_both_ends(n, most):
    chosen = evenly(range(n), most)
    assert len(chosen) == min(n, most)
    assert (chosen[0], chosen[-1]) == (0, n - 1)
    steps = [b - a for a, b in pairwise(chosen)]
    assert not steps or max(steps) - min(steps) <= 1


def test_numbers_and_ranges_in_the_order_they_are_asked_for():
    assert asked("0,3,7-9", 10) == [0, 3, 7, 8, 9]
    assert asked(" 4 , 2-4 ", 5) == [4, 2, 3]


@pytest.mark.parametrize("text", ["", "a", "-1", "1-", "3-1", "1,,2", "10", "0-10", "9" * 30])
def test_what_is_not_there_is_refused_in_one_line(text):
    with pytest.raises(DemonstrationError, match="--episodes: ") as caught:
        asked(text, 10)
    assert "\n" not in str(caught.value)
