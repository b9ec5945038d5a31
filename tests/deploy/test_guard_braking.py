import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridle.deploy.guard.braking import stopping_speed

distances = st.floats(0, 10)
accelerations = st.floats(1e-2, 1e3)
periods = st.floats(1e-3, 0.1)


@given(distances, accelerations, periods, st.floats(0, 0.1))
def test_the_stopping_speed_uses_up_the_distance_after_the_delay(d, a, dt, latency):
    delay = dt + latency
    v = stopping_speed(d, a, delay)
    assert v * delay + v * v / (2 * a) == pytest.approx(d, rel=1e-6, abs=1e-9)


@given(distances, accelerations, periods, st.floats(-0.5, 10), st.floats(0, 1))
def test_full_braking_always_satisfies_the_next_bound(d, a, dt, extra, share):
    # The claim of the docstring: inductively feasible for every T >= dt / 2, from any allowed v.
    delay = dt * (1 + extra)
    v = share * stopping_speed(d, a, delay)
    next_bound = stopping_speed(max(d - v * dt, 0.0), a, delay)
    assert v - a * dt <= next_bound + 1e-9 * max(1.0, v)


@given(distances, accelerations, periods, st.floats(0, 0.1))
def test_no_step_passes_the_limit(d, a, dt, latency):
    assert stopping_speed(d, a, dt + latency) * dt <= d * (1 + 1e-6) + 1e-12
