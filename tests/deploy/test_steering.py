import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridle.deploy.steering import Steering, SteeringConfig

CONFIG = SteeringConfig(hold=3.0, speed=0.15, max_offset=0.10)
LEFT = np.array([0.0, 0.03, 0.0])


def offset_at(steering: Steering, time: float) -> np.ndarray:
    return steering.offsets(np.array([time]))[0]


def test_a_nudge_is_ramped_in_held_and_ramped_out():
    steering = Steering(CONFIG).nudged(LEFT, now=10.0)
    assert np.allclose(offset_at(steering, 10.0), 0)
    assert 0 < offset_at(steering, 10.1)[1] < 0.03
    for t in (10.2, 11.0, 13.2):
        assert np.allclose(offset_at(steering, t), LEFT)
    assert np.allclose(offset_at(steering, 13.4), 0)


def test_nudges_add_up_and_opposite_ones_cancel():
    steering = Steering(CONFIG).nudged(LEFT, 10.0).nudged(LEFT, 11.0)
    assert np.allclose(offset_at(steering, 12.0), 2 * LEFT)
    steering = steering.nudged(-2 * LEFT, 12.0)
    assert np.allclose(offset_at(steering, 13.0), 0)


def test_the_sum_of_nudges_is_bounded_and_a_refused_one_changes_nothing():
    steering = Steering(CONFIG).nudged(3 * LEFT, 10.0)
    with pytest.raises(ValueError, match=r"12.0 cm .* allowed 10 cm"):
        steering.nudged(LEFT, 11.0)
    assert np.allclose(offset_at(steering, 11.0), 3 * LEFT)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 5),
            st.tuples(*[st.floats(-0.05, 0.05)] * 3),
        ),
        max_size=6,
    )
)
def test_the_offset_never_jumps_and_never_exceeds_its_bound(nudges):
    steering, now, dt = Steering(CONFIG), 0.0, 0.005
    last = np.zeros(3)
    for wait, offset in [*nudges, (8.0, (0.0, 0.0, 0.0))]:
        for t in np.arange(now, now + wait, dt):
            current = offset_at(steering, t)
            # Smoothstep is at most 1.5 times as fast as a straight ramp; a ramp out may overlap.
            assert np.linalg.norm(current - last) <= 2 * 1.5 * CONFIG.speed * dt * 1.2 + 1e-9
            assert np.linalg.norm(current) <= CONFIG.max_offset + 1e-9
            last = current
        now += wait
        try:
            steering = steering.nudged(np.array(offset), now)
        except ValueError:
            continue


@pytest.mark.parametrize("bad", [[np.nan, 0, 0], [0, 0], [np.inf, 0, 0]])
def test_a_nudge_that_is_no_vector_is_refused(bad):
    with pytest.raises(ValueError, match="three finite numbers"):
        Steering(CONFIG).nudged(np.array(bad), 0.0)


def test_a_grip_replaces_the_plan_for_the_hold_time():
    steering = Steering(CONFIG).gripped(0.8, now=10.0)
    planned = np.zeros(3)
    assert steering.grips(np.array([10.0, 12.9, 13.1]), planned).tolist() == [0.8, 0.8, 0.0]


def test_pace_is_bounded_and_checked():
    assert Steering(CONFIG).paced(0.5).pace == 0.5
    assert Steering(CONFIG).paced(9.0).pace == 2.0
    assert Steering(CONFIG).paced(0.001).pace == 0.1
    for bad in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="positive number"):
            Steering(CONFIG).paced(bad)
