import numpy as np
import pytest

pytest.importorskip("rclpy")

from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import JointState

from bridle.ros_nodes.messages import (
    MessageError,
    joint_vectors,
    nanoseconds,
    stamp_of,
    trajectory,
    trajectory_arrays,
)

NAMES = ("a", "b", "c")


@given(st.integers(0, 2**31 * 10**9 - 1))
def test_stamps_come_back(ns):
    assert nanoseconds(stamp_of(ns)) == ns


@given(st.lists(st.floats(0, 5), min_size=1, max_size=20))
def test_chunks_come_back(times):
    times = np.array(times)
    positions = np.random.default_rng(0).standard_normal((len(times), 3))
    message = trajectory(123456789, NAMES, times, positions)
    stamp, names, back, rows = trajectory_arrays(message)
    assert (stamp, names) == (123456789, list(NAMES))
    assert np.allclose(back, times, atol=1e-9)
    assert np.array_equal(np.array(rows), positions)


def test_joints_are_found_by_name_among_others():
    message = JointState(name=["x", "c", "a", "b"], position=[9.0, 3.0, 1.0, 2.0])
    message.velocity = [0.0, 0.3, 0.1, 0.2]
    position, velocity = joint_vectors(message, NAMES)
    assert position.tolist() == [1, 2, 3]
    assert velocity.tolist() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"name": ["a", "b"], "position": [0.0] * 2, "velocity": [0.0] * 2}, "c missing"),
        ({"name": list(NAMES), "position": [0.0] * 2, "velocity": [0.0] * 3}, "2 position"),
        ({"name": list(NAMES), "position": [0.0] * 3, "velocity": []}, "0 velocity"),
        (
            {"name": list(NAMES), "position": [0.0, np.nan, 0.0], "velocity": [0.0] * 3},
            "not finite",
        ),
        (
            {"name": list(NAMES), "position": [0.0, 1e308, 0.0], "velocity": [0.0] * 3},
            "no joint is there",
        ),
    ],
)
def test_bad_joint_states_are_refused(fields, what):
    with pytest.raises(MessageError, match=what):
        joint_vectors(JointState(**fields), NAMES)
