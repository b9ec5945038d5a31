import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridle.deploy.guard.braking import Stop, stopping_speed

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


@given(st.integers(0, 2**32 - 1), periods, st.floats(0, 0.05))
def test_a_stop_from_an_allowed_state_stays_within_limits_and_acceleration(seed, dt, latency):
    random = np.random.default_rng(seed)
    n = 5
    acceleration = 10 ** random.uniform(-2, 3, n)
    lower, upper = -random.uniform(0.1, 3, n), random.uniform(0.1, 3, n)
    q = random.uniform(lower, upper)
    up = stopping_speed(upper - q, acceleration, dt + latency)
    down = stopping_speed(q - lower, acceleration, dt + latency)
    v = random.uniform(-down, up) * (random.random(n) < 0.8)
    stop = Stop.plan(q, v, lower, upper, acceleration)
    times = np.arange(0, stop.times.max() + 3 * dt, dt)[:2000]
    path = np.array([q - v * dt, *(stop.position(t) for t in times)])
    assert (path[1:] <= upper + 1e-9).all()
    assert (path[1:] >= lower - 1e-9).all()
    assert (np.abs(np.diff(path, 2, axis=0)) <= acceleration * dt**2 * (1 + 1e-6) + 1e-12).all()
    np.testing.assert_allclose(stop.position(stop.times.max() + 1), stop.end, atol=1e-9)
    np.testing.assert_array_equal(stop.position(1e6), stop.position(2e6))


def test_far_from_limits_all_joints_stop_together_so_the_path_is_straight():
    v, acceleration = np.array([1.0, -0.5, 0.1]), np.array([5.0, 10.0, 10.0])
    stop = Stop.plan(np.zeros(3), v, np.full(3, -9.0), np.full(3, 9.0), acceleration)
    np.testing.assert_allclose(stop.times, 0.2)
    for t in (0.05, 0.1, 0.2):
        path = stop.position(t)
        np.testing.assert_allclose(path / path[0], v / v[0])


def test_a_joint_near_its_limit_stops_sooner_than_the_others():
    q, v = np.array([0.0, 0.99]), np.array([2.0, 0.2])
    stop = Stop.plan(q, v, np.full(2, -1.0), np.full(2, 1.0), np.array([10.0, 10.0]))
    np.testing.assert_allclose(stop.times, [0.2, 0.1])
    assert stop.end[1] == pytest.approx(1.0)
