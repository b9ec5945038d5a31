import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bridle import sim
from bridle.ros_nodes.messages import trajectory
from bridle.ros_nodes.operator import Operator
from bridle.ros_nodes.trials import Trials
from bridle.ros_nodes.up import Graph, simulated_graph

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trials(bundle, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "corrections.jsonl"
    specs = simulated_graph(
        str(bundle), task="pick-place", robot="ur5e_2f85", seed=0, camera_rate=0.0, log=str(log)
    )
    with Graph(specs) as graph, Operator(sim.JOINT_NAMES) as operator:
        trials = Trials(graph, operator)
        trials.log = log
        trials.wait_until_up()
        yield trials
        trials.count_violations()
        assert trials.physics_steps > 1000
        assert trials.violations == {"position": 0, "velocity": 0, "acceleration": 0}


def test_the_policy_moves_the_robot_through_the_guard(trials):
    trials.start_episode(1)
    before = trials.operator.position.copy()
    trials.wait_for_motion()
    trials.operator.wait_for("NOMINAL", lambda: trials.operator.guard["mode"] == "NOMINAL", 5)
    trials.operator.spin(1.0)
    moved = trials.operator.position - before
    assert moved[0] > 0.1
    assert np.abs(moved[1:]).max() < 0.1


def test_a_spoken_stop_latches_and_only_a_reset_releases(trials):
    assert trials.stop_ms(2) <= 500
    operator = trials.operator
    assert operator.guard["mode"] == "LATCHED"
    rest = operator.position.copy()
    operator.spin(1.0)  # the policy goes on sending chunks
    assert np.abs(operator.position - rest).max() < 1e-3
    refused = operator.say("a bit to the left")
    assert refused["state"] == "refused"
    assert "reset" in refused["why"]
    operator.trigger("reset")
    trials.wait_for_motion()


def test_a_killed_policy_leaves_the_robot_at_rest_and_comes_back(trials):
    assert trials.policy_killed_rest_ms(3) <= 1000
    assert trials.operator.guard["mode"] == "HOLD"

    def back() -> bool:
        assert trials.graph.check() is None
        return trials.operator.guard["mode"] == "NOMINAL"

    trials.operator.wait_for("the policy coming back", back, 30)
    trials.wait_for_motion()


def test_outcomes_say_what_was_understood(trials):
    trials.start_episode(4)
    operator = trials.operator
    nudge = operator.say("2 cm up")
    assert (nudge["state"], nudge["kind"]) == ("sent", "nudge")
    assert nudge["metres"] == pytest.approx(0.02)
    unclear = operator.say("make me a sandwich")
    assert (unclear["state"], unclear["kind"]) == ("not_understood", "not_understood")
    instruct = operator.say("turn left")
    assert (instruct["state"], instruct["kind"]) == ("refused", "instruct")
    assert instruct["why"] == "this policy does not take instructions"
    lines = [json.loads(line) for line in trials.log.read_text().splitlines()]
    assert [line["text"] for line in lines[-3:]] == ["2 cm up", "make me a sandwich", "turn left"]


def test_the_command_line_speaks_to_the_graph(trials):
    trials.start_episode(5)
    said = subprocess.run(
        [sys.executable, "-m", "bridle", "say", "slower"], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    assert "pace" in said.stdout


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda m: m.points[3].positions.__setitem__(2, float("nan")), "finite"),
        (lambda m: m.joint_names.__setitem__(0, "elbow"), "names"),
        (lambda m: setattr(m.header.stamp, "sec", m.header.stamp.sec - 100), "age"),
        (lambda m: setattr(m.header.stamp, "sec", m.header.stamp.sec + 100), "future"),
        (lambda m: setattr(m, "points", []), "empty"),
    ],
)
def test_bad_chunks_are_refused_by_name_and_nothing_moves(trials, change, rule):
    from lifecycle_msgs.msg import Transition
    from trajectory_msgs.msg import JointTrajectory

    from bridle.ros_nodes import qos

    operator = trials.operator
    trials.start_episode(6)
    operator.transition("policy_node", Transition.TRANSITION_DEACTIVATE, seconds=20)
    operator.wait_for("HOLD", lambda: operator.guard["mode"] == "HOLD", 5)
    operator.wait_for("rest", lambda: np.abs(operator.velocity).max() < 0.01, 5)
    operator.spin(0.7)  # the counters are published twice a second
    rest = operator.position.copy()
    accepted, refused = operator.guard["chunks_accepted"], int(operator.guard["chunks_refused"])
    publisher = operator._node.create_publisher(JointTrajectory, "action_chunk", qos.CHUNK)
    operator.wait_for("meeting the guard", lambda: publisher.get_subscription_count() > 0, 5)
    times, target = np.arange(16) * 0.05, rest + 0.3
    message = trajectory(time.time_ns(), sim.JOINT_NAMES, times, np.tile(target, (16, 1)))
    change(message)
    publisher.publish(message)
    operator.wait_for("the refusal", lambda: int(operator.guard["chunks_refused"]) > refused, 5)
    assert f"({rule})" in operator.guard["last_refusal"]
    assert operator.guard["chunks_accepted"] == accepted
    operator.spin(0.3)
    # The fingers of the open gripper settle for seconds; the arm stands still.
    assert np.abs(operator.position - rest)[:6].max() < 1e-3


def test_a_second_guard_does_not_command_the_same_robot(trials):
    trials.start_episode(7)
    second = subprocess.run(
        [
            *(sys.executable, "-m", "bridle.ros_nodes.guard_node", "--ros-args"),
            *("-p", "robot:=ur5e_2f85", "-r", "__node:=second_guard"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 2
    assert "another node commands this robot" in second.stderr
    trials.operator.spin(0.7)
    assert trials.operator.guard["mode"] != "LATCHED"  # the first one has not noticed


def test_garbage_on_any_topic_neither_kills_a_node_nor_breaks_a_limit(trials):
    from geometry_msgs.msg import Vector3Stamped
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Float64, Float64MultiArray, String

    from bridle.ros_nodes import qos

    trials.start_episode(8)
    trials.wait_for_motion()
    operator, nan = trials.operator, float("nan")
    pids = {name: trials.graph.pid(name) for name in ("policy_node", "guard_node")}
    names, publish = list(sim.JOINT_NAMES), []
    for topic, message, profile in (
        ("joint_states", JointState(name=names, position=[nan] * 7), qos.SENSOR),
        ("joint_states", JointState(name=names[:3], position=[0.0], velocity=[]), qos.SENSOR),
        ("observation/object_state", Float64MultiArray(data=[]), qos.SENSOR),
        ("observation/object_state", Float64MultiArray(data=[nan] * 8), qos.SENSOR),
        ("grip", String(data="ajar"), qos.EVENT),
        ("pace", Float64(data=-1.0), qos.LATCHED),
        ("pace", Float64(data=nan), qos.LATCHED),
        ("correction", String(data="\N{ROBOT FACE}" * 3000), qos.EVENT),
        ("instruction", String(data="x" * 100_000), qos.LATCHED),
    ):
        publish.append((operator._node.create_publisher(type(message), topic, profile), message))
    for metres in (nan, 1e3, 1e200):
        nudge = Vector3Stamped()
        nudge.vector.y = metres
        publish.append((operator._node.create_publisher(Vector3Stamped, "nudge", qos.EVENT), nudge))
    operator.wait_for(
        "meeting the graph", lambda: all(p.get_subscription_count() for p, _ in publish), 5
    )
    for _ in range(20):
        for publisher, message in publish:
            publisher.publish(message)
        operator.spin(0.05)
    for publisher, _ in publish:
        operator._node.destroy_publisher(publisher)
    operator.spin(1.5)
    assert trials.graph.check() is None
    assert pids == {name: trials.graph.pid(name) for name in pids}
    trials.start_episode(9)
    trials.wait_for_motion()


def test_a_guard_that_is_told_to_end_brings_the_robot_to_rest_first(trials):
    """The last test of the graph: it takes the guard away."""
    trials.start_episode(10)
    trials.wait_for_motion()
    trials.operator.spin(0.5)
    trials.wait_for_motion()
    told_at = time.monotonic()
    os.kill(trials.graph.pid("guard_node"), signal.SIGTERM)
    assert trials.rest_ms(told_at) <= 500
    assert trials.operator.guard["mode"] == "LATCHED"
    assert "shutting down" in trials.operator.guard["sentence"]
