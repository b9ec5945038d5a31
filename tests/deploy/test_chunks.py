import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridle.deploy.chunks import ActionChunk, ChunkRefused, StampClock, parse_chunk

JOINTS = ("a", "b", "c")
POINTS = [[0.0, 1.0, 2.0], [0.1, 1.1, 2.1]]
MS = 1_000_000


def parse(names=JOINTS, times=(0.0, 0.05), positions=POINTS, observed_at=10.0):
    return parse_chunk(names, times, positions, joint_names=JOINTS, observed_at=observed_at)


def test_columns_follow_the_robots_order_whatever_the_senders():
    chunk = parse(names=("c", "a", "b"))
    np.testing.assert_array_equal(chunk.positions[0], [1.0, 2.0, 0.0])


@pytest.mark.parametrize(
    ("rule", "wrong", "message"),
    [
        ("names", {"names": ("a", "b", "b")}, "'b' is given twice"),
        ("names", {"names": ("a", "b", "d")}, "missing: c; unknown: d"),
        ("names", {"names": ("a", "b")}, "missing: c"),
        ("length", {"positions": [[0.0, 1.0, 2.0], [0.0, 1.0]]}, r"point 1 has shape \(2,\)"),
        ("length", {"times": (0.0,)}, r"got \(1,\), \(2, 3\)"),
        ("empty", {"times": (), "positions": []}, "no points"),
        ("finite", {"positions": [[0.0, 1.0, 2.0], [0.0, np.nan, 2.0]]}, "point 1, joint 1 is nan"),
        ("finite", {"positions": [[0.0, 1.0, np.inf], [0.0] * 3]}, "point 0, joint 2 is inf"),
        ("finite", {"positions": [["x", "y", "z"], [0.0] * 3]}, "must be numbers"),
        ("finite", {"times": (0.0, np.nan)}, "a time is not finite"),
        ("finite", {"observed_at": np.nan}, "a time is not finite"),
        ("times", {"times": (0.1, 0.05)}, "point 1 at 0.05 s is before 0.1 s"),
        ("times", {"times": (-0.1, 0.05)}, "point 0 at -0.1 s is before 0 s"),
        ("horizon", {"times": (0.0, 50.0)}, "reaches 50 s ahead, at most 30 s"),
        ("horizon", {"times": np.zeros(5000), "positions": np.zeros((5000, 3))}, "5000 points"),
    ],
)
def test_a_bad_chunk_is_refused_by_a_named_rule(rule, wrong, message):
    with pytest.raises(ChunkRefused, match=message) as refused:
        parse(**wrong)
    assert refused.value.rule == rule
    assert "\n" not in str(refused.value)


def test_the_reference_is_linear_between_points_and_rests_outside():
    chunk = ActionChunk(10.0, np.array([0.1, 0.2, 0.4]), np.array([[0.0], [1.0], [0.0]]))
    for t, position, velocity in (
        (9.0, 0.0, 0.0),
        (10.11, 0.1, 10.0),
        (10.15, 0.5, 10.0),
        (10.3, 0.5, -5.0),
        (10.4, 0.0, 0.0),
        (99.0, 0.0, 0.0),
    ):
        q, v = chunk.reference(t)
        assert q == pytest.approx([position])
        assert v == pytest.approx([velocity], abs=1e-9)


@given(
    st.lists(st.floats(0, 0.3), min_size=1, max_size=8).map(np.cumsum),
    st.floats(-1, 4),
    st.integers(0, 2**32 - 1),
)
def test_the_reference_agrees_with_numpy_interpolation(times, t, seed):
    positions = np.random.default_rng(seed).normal(size=(len(times), 2))
    # numpy leaves the value at a repeated time open.
    times = times + np.arange(len(times)) * 1e-3
    q, _ = ActionChunk(0.0, times, positions).reference(t)
    np.testing.assert_allclose(q, [np.interp(t, times, p) for p in positions.T], atol=1e-9)


def test_two_points_at_one_time_are_a_jump():
    chunk = ActionChunk(0.0, np.array([0.0, 0.1, 0.1, 0.2]), np.array([[0.0], [0], [1], [1]]))
    assert chunk.reference(0.0999)[0] == 0
    q, v = chunk.reference(0.1)
    assert (q, v) == (1, 0)


def test_a_chunk_does_not_follow_its_source():
    positions = np.zeros((2, 3))
    chunk = parse(positions=positions)
    positions[0, 0] = 9.0
    assert chunk.positions[0, 0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        chunk.positions[0, 0] = 9.0


def clock(offset_ns=0, n=100, start=0):
    """Joint states every 5 ms, received 2 ms after their stamp on a clock that is offset."""
    built = StampClock()
    for i in range(start, start + n):
        built.record(offset_ns + i * 5 * MS, i * 0.005 + 0.002)
    return built


@pytest.mark.parametrize("offset", [0, 10**18, -(10**18)])
def test_stamps_map_to_their_receipt_whatever_the_senders_clock(offset):
    built = clock(offset)
    assert built.to_monotonic(offset + 50 * 5 * MS) == pytest.approx(0.252)
    assert built.to_monotonic(offset + 252 * MS + MS // 2) == pytest.approx(0.2545)


def test_a_little_newer_than_the_newest_is_extrapolated_and_more_is_refused():
    built = clock()
    assert built.to_monotonic(495 * MS + 40 * MS) == pytest.approx(0.537)
    with pytest.raises(ChunkRefused, match=r"0\.060 s newer") as refused:
        built.to_monotonic(495 * MS + 60 * MS)
    assert refused.value.rule == "future"


def test_only_the_last_two_seconds_are_known():
    built = clock(n=1000)
    assert built.to_monotonic(3000 * MS) == pytest.approx(3.002)
    with pytest.raises(ChunkRefused, match="older than any known") as refused:
        built.to_monotonic(2900 * MS)
    assert refused.value.rule == "age"


def test_without_joint_states_no_age_is_known():
    with pytest.raises(ChunkRefused, match="no joint state has arrived"):
        StampClock().to_monotonic(0)


@pytest.mark.parametrize("step", [-30, -1, 1, 30])
def test_after_a_step_of_the_senders_clock_only_new_stamps_count(step):
    built = clock()
    before = 490 * MS
    built.to_monotonic(before)
    for i in range(100, 110):
        built.record(i * 5 * MS + step * 10**9, i * 0.005 + 0.002)
    assert built.to_monotonic(105 * 5 * MS + step * 10**9) == pytest.approx(0.527)
    with pytest.raises(ChunkRefused):
        built.to_monotonic(before)


def test_a_repeated_stamp_keeps_its_first_receipt():
    built = clock()
    built.record(495 * MS, 0.6)
    assert built.to_monotonic(495 * MS) == pytest.approx(0.497)


def test_a_stalled_network_is_no_clock_step():
    built = clock()
    built.record(2000 * MS, 2.002)
    assert built.to_monotonic(490 * MS) == pytest.approx(0.492)
