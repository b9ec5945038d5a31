import subprocess
import sys

import pytest

pytest.importorskip("rclpy")

NODES = {"policy_node": "bundle", "guard_node": "robot", "correction_node": "bundle"}


def start(node: str, *params: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"bridle.ros_nodes.{node}", "--ros-args"]
    for p in params:
        command += ["-p", p]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("node", NODES)
def test_a_parameter_that_must_be_given_is_named(node):
    result = start(node)
    assert result.returncode == 2
    assert f"{node}: parameter {NODES[node]} must be given" in result.stderr


@pytest.mark.parametrize(
    ("node", "params", "message"),
    [
        ("guard_node", ["robot:=7"], "robot"),
        ("guard_node", ["robot:=no_such_robot"], "no robot is called 'no_such_robot'"),
        ("guard_node", ["robot:=ur5e_2f85", "command_interface:=telepathy"], "'telepathy'"),
        ("policy_node", ["bundle:=/nowhere"], "/nowhere is not a folder"),
        ("policy_node", ["bundle:=/nowhere", "threads:=0"], "threads must be at least 1"),
        ("sim_robot_node", ["task:=fly"], "there is no task 'fly'"),
        ("sim_robot_node", ["joint_state_rate:=0.0"], "joint_state_rate must lie in"),
    ],
)
def test_a_wrong_parameter_ends_the_node_with_one_clear_line(node, params, message):
    result = start(node, *params)
    assert result.returncode == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("bridle: ")]
    assert len(lines) == 1
    assert message in lines[0]
