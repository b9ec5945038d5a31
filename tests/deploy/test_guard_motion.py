"""Motions and references of the guard against their own statements."""

import numpy as np
import pytest

from bridle.deploy.chunks import ActionChunk
from bridle.deploy.guard.along import Companion, _fading
from bridle.deploy.guard.motion import Motions, Posture
from bridle.deploy.guard.pursuit import Pursuit
from bridle.deploy.guard.reference import SHARE, SMOOTHING, Reference
from bridle.deploy.robot import JointLimits

N = 3
LIMITS = JointLimits(
    np.full(N, -2.0),
    np.full(N, 2.0),
    np.array([2.0, 1.0, 3.0]),
    np.array([10.0, 20.0, 15.0]),
    np.array([500.0, 2000.0, 900.0]),
)


def postures(count, seed=0):
    """That can be reached: with room to take the acceleration back."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        a = random.uniform(-1, 1, N) * LIMITS.acceleration
        room = LIMITS.velocity - a**2 / (2 * LIMITS.jerk)
        yield Posture(random.uniform(-0.5, 0.5, N), random.uniform(-1, 1, N) * room, a)


def samples(motion, count=400):
    return [motion.at(t) for t in np.linspace(0, motion.duration, count)]


@pytest.mark.parametrize("together", [True, False])
def test_a_stop_comes_to_rest_within_all_limits_and_its_range(together):
    motions = Motions(LIMITS)
    for start in postures(200):
        stop = motions.stop(start, together=together)
        low, high = stop.range
        dt = stop.duration / 399
        way = samples(stop)
        for posture in way:
            assert (posture.q >= low - 1e-12).all()
            assert (posture.q <= high + 1e-12).all()
            assert (np.abs(posture.v) <= LIMITS.velocity * (1 + 1e-6)).all()
            assert (np.abs(posture.a) <= LIMITS.acceleration * (1 + 1e-6)).all()
        a = np.array([posture.a for posture in way])
        assert (np.abs(np.diff(a, axis=0)) / dt <= LIMITS.jerk * (1 + 1e-4)).all()
        for t in (stop.duration, stop.duration + 1.0):
            assert not stop.at(t).v.any()
            assert not stop.at(t).a.any()
            np.testing.assert_array_equal(stop.at(t).q, stop.position(stop.duration))


def test_the_range_of_a_stop_is_no_wider_than_what_it_uses_by_more_than_it_says():
    motions = Motions(LIMITS)
    for start in postures(200, seed=1):
        stop = motions.stop(start)
        low, high = stop.range
        q = np.array([posture.q for posture in samples(stop, 2000)])
        slack = LIMITS.acceleration * (stop.duration / 8) ** 2 / 8
        assert (q.min(axis=0) - low <= slack + 1e-9).all()
        assert (high - q.max(axis=0) <= slack + 1e-9).all()


def test_on_one_line_the_joints_stop_on_it():
    direction = np.array([0.5, -0.25, 0.6])
    stop = Motions(LIMITS).stop(Posture(np.zeros(N), direction, np.zeros(N)))
    for posture in samples(stop, 50)[1:]:
        share = posture.q / direction
        assert share == pytest.approx(np.full(N, share[0]), rel=1e-6)


def test_a_motion_to_a_posture_arrives_and_takes_its_time():
    motions = Motions(LIMITS)
    for start in postures(100, seed=3):
        target = Posture(start.q + 0.3, np.full(N, 0.2), np.zeros(N))
        motion = motions.towards(start, target, 0.8)
        assert motion.duration >= 0.8 - 1e-9
        np.testing.assert_allclose(motion.at(motion.duration).q, target.q, atol=1e-9)
        np.testing.assert_allclose(motion.at(motion.duration).v, target.v, atol=1e-9)


def test_a_target_that_cannot_be_stopped_before_a_limit_is_slowed_down():
    motions = Motions(LIMITS)
    start = Posture(np.array([1.0, 0, 0]), np.zeros(N), np.zeros(N))
    target = Posture(np.array([1.999, 0.0, 0.0]), np.array([1.5, 0.0, 0.0]), np.zeros(N))
    motion = motions.towards(start, target, 0.025)
    arrived = motion.at(motion.duration)
    _, high = motions.stop(arrived).range
    assert high[0] <= 2.0
    beyond = motions.towards(start, target._replace(q=np.array([3.0, 0, 0])), 0.025)
    assert beyond.at(beyond.duration).q[0] < 2.0


# -- the reference ---------------------------------------------------------------------------------


def triangle(chunk, t, width, count=4001):
    """The mean over the triangle, summed."""
    shifts = np.linspace(-1, 1, count)
    weights = 1 - np.abs(shifts)
    times = t + width * shifts
    columns = []
    for column in chunk.positions.T:
        value = np.interp(times - chunk.observed_at, chunk.times, column)
        early = times - chunk.observed_at < chunk.times[0]
        slope = (column[1] - column[0]) / (chunk.times[1] - chunk.times[0])
        slope = np.clip(slope, -LIMITS.velocity[len(columns)], LIMITS.velocity[len(columns)])
        value[early] = column[0] + slope * (times[early] - chunk.observed_at - chunk.times[0])
        columns.append(weights @ value / weights.sum())
    return np.array(columns)


def test_a_reference_is_the_mean_over_a_triangle_with_its_derivatives():
    random = np.random.default_rng(0)
    for _ in range(20):
        times = np.cumsum(random.uniform(0.01, 0.08, 8))
        chunk = ActionChunk(5.0, times, random.normal(size=(8, N)))
        reference = Reference.of(chunk, LIMITS)
        width = reference.ends - 5.0 - times[-1]
        assert SMOOTHING[0] - 1e-9 <= width <= SMOOTHING[1] + 1e-9
        for t in 5.0 + random.uniform(times[0], times[-1] + 0.1, 5):
            position, velocity, acceleration = reference.at(t)
            np.testing.assert_allclose(position, triangle(chunk, t, width), atol=1e-4)
            h = 1e-5
            before, after = reference.at(t - h), reference.at(t + h)
            np.testing.assert_allclose((after[0] - before[0]) / (2 * h), velocity, atol=0.05)
            # The acceleration is continuous, and has corners.
            np.testing.assert_allclose((after[1] - before[1]) / (2 * h), acceleration, atol=2.0)


def test_what_is_straight_stays_as_it_is_and_in_time():
    chunk = ActionChunk(1.0, np.arange(8) * 0.05, np.outer(np.arange(8), [0.1, -0.05, 0.02]))
    reference = Reference.of(chunk, LIMITS)
    for t in (1.0, 1.013, 1.2, 1.3):
        position, velocity, acceleration = reference.at(t)
        np.testing.assert_allclose(position, chunk.reference(t)[0], atol=1e-12)
        np.testing.assert_allclose(velocity, [2.0, -1.0, 0.4], atol=1e-9)
        np.testing.assert_allclose(acceleration, 0.0, atol=1e-6)
    after, velocity, _ = reference.at(9.0)
    np.testing.assert_array_equal(after, chunk.positions[-1])
    assert not velocity.any()


def test_a_corner_stays_one_when_the_next_chunk_begins_at_it():
    points = np.array([[0.0], [0.1], [0.2], [0.2], [0.2], [0.2]])
    first = ActionChunk(0.0, np.arange(6) * 0.05, points)
    second = ActionChunk(0.1, np.arange(4) * 0.05, points[2:])
    whole, alone, knowing = (
        Reference.of(first, LIMITS[:1]),
        Reference.of(second, LIMITS[:1]),
        Reference.of(second, LIMITS[:1], first),
    )
    t = 0.11
    assert knowing.at(t)[0] == pytest.approx(whole.at(t)[0], abs=1e-9)
    assert abs(alone.at(t)[0] - whole.at(t)[0]) > 1e-3


def test_a_corner_is_cut_no_more_than_its_sharpness_asks_for():
    """And is taken with the share of the limits that is meant for corners."""
    least, most = SMOOTHING
    widths = []
    for dv in (0.01, 0.25, 0.4, 3.0):
        slopes = np.array([0, 0, 0, dv, dv, dv])
        chunk = ActionChunk(0.0, np.arange(7) * 0.05, np.append(0, slopes.cumsum() * 0.05)[:, None])
        limits = LIMITS[:1]
        reference = Reference.of(chunk, limits)
        width = reference.ends - 0.3
        widths.append(width)
        fine = np.array([np.stack(reference.at(t)) for t in np.arange(0.05, 0.25, 1e-4)])[..., 0]
        if width < most - 1e-9:
            assert np.abs(fine[:, 2]).max() <= SHARE * limits.acceleration[0] * 1.001
            jerk = np.diff(fine[:, 2]) / 1e-4
            assert np.abs(jerk).max() <= SHARE * limits.jerk[0] * 1.001
        off = reference.at(0.15)[0][0] - chunk.positions[3, 0]
        assert off == pytest.approx(dv * width / 6, rel=1e-6)
    assert widths[0] == pytest.approx(least)
    assert widths[-1] == pytest.approx(most)
    assert widths == sorted(widths)


@pytest.mark.parametrize("moment", [1e-12, 1e-9, 1e-7, 1e-5])
def test_two_points_at_almost_one_time_make_no_way_of_their_own(moment):
    points = np.array([[0.0], [1e-6], [1e-6]])
    reference = Reference.of(ActionChunk(0.0, np.array([0.0, moment, 1.0]), points), LIMITS[:1])
    way = [reference.at(t)[0][0] for t in np.linspace(0.0, 0.1, 101)]
    assert np.abs(way).max() < 0.01


def test_a_leap_between_two_points_at_one_time_has_no_velocity_of_its_own():
    chunk = ActionChunk(0.0, np.array([0.0, 0.1, 0.1, 0.2]), np.array([[0.0], [0], [1], [1]]))
    reference = Reference.of(chunk, LIMITS[:1])
    assert reference.at(0.05)[0] == pytest.approx(0.0, abs=1e-9)
    assert reference.at(0.15)[0] == pytest.approx(1.0, abs=1e-9)
    assert reference.at(0.1)[0] == pytest.approx(0.5, abs=1e-9)


# -- the pursuit -----------------------------------------------------------------------------------


def test_a_reference_within_the_limits_is_followed_and_caught_up_with():
    dt, names = 0.005, ("a", "b", "c")
    times = np.arange(61) * 0.05
    amplitude = np.array([0.4, 0.2, 0.5])
    chunk = ActionChunk(0.0, times, amplitude * np.sin(3 * times)[:, None])
    reference, pursuit = Reference.of(chunk, LIMITS), Pursuit(slice(0, N), LIMITS, names, dt)
    companion = Companion(LIMITS, dt, pursuit.meetings)
    # From rest, and 0.3 rad beside it.
    posture = Posture(np.array([0.3, -0.3, 0.1]), np.zeros(N), np.zeros(N))
    errors, bounds = [], []
    for k in range(480):
        now = k * dt
        *way, ahead = reference.instants([now, now + dt / 2, now + dt, now + pursuit.lookahead])
        along = companion(posture, reference, np.array(way), now, 1.0, LIMITS.acceleration)
        found = pursuit(posture, reference, Posture(*ahead), now, 1.0, LIMITS.acceleration, along)
        posture = found.posture
        errors.append(np.abs(posture.q - reference.at(now + dt)[0]).max())
        bounds.append(found.bound)
    assert bounds[0].rule == "velocity"
    assert max(errors[200:]) < 1e-6
    assert not any(bounds[200:])


def test_a_step_along_a_reference_keeps_the_jerk_at_every_instant():
    """Not only on average over the period: the next command's third difference sees the rest."""
    dt, times, random = 0.005, (0.025, 0.06), np.random.default_rng(0)
    companion = Companion(LIMITS, dt, times)
    allowed, fine = 0, np.linspace(0.0, dt, 41)
    for _ in range(300):
        points = np.cumsum(random.normal(0, 0.01, (8, N)), axis=0)
        reference = Reference.of(ActionChunk(0.0, np.arange(8) * 0.05, points), LIMITS)
        now = random.uniform(0.1, 0.3)
        way = reference.instants([now, now + dt / 2, now + dt])
        error = random.normal(0, 1, (3, N)) * np.array([[2e-4], [0.02], [1.0]])
        before = Posture(*(way[0] + error))
        along = companion(before, reference, way, now, 1.0, LIMITS.acceleration)
        for time, within in zip(times, along.within, strict=True):
            a = [(reference.instants([now + t])[0] + _fading(time, t)[:3] @ error)[2] for t in fine]
            jerk = np.abs(np.diff(a, axis=0)).max(axis=0) / (dt / 40)
            assert (jerk[within] <= LIMITS.jerk[within]).all()
            allowed += within.sum()
    assert allowed > 300
