import subprocess
import sys
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy")

CONFIG = Path(__file__).parents[2] / "ros_nodes" / "config"
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
        ("guard_node", ["robot:=ur5e_2f85", "limits:=no/such.yaml"], "no/such.yaml"),
        ("guard_node", ["robot:=ur5e_2f85", "caution_speed:=0.0"], "caution_speed"),
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


@pytest.mark.parametrize(
    ("node", "schema"),
    [
        ("policy_node", "PolicyParams"),
        ("guard_node", "GuardParams"),
        ("correction_node", "CorrectionParams"),
        ("sim_robot_node", "SimRobotParams"),
    ],
)
def test_the_shipped_parameter_file_holds_the_defaults(node, schema):
    module = import_module(f"bridle.ros_nodes.{node}")
    defaults = {
        f.name: f.default for f in fields(getattr(module, schema)) if f.default is not MISSING
    }
    content = yaml.safe_load((CONFIG / f"{node}.yaml").read_text())
    assert content == {f"/**/{node}": {"ros__parameters": defaults}}


def test_a_parameter_file_is_read(tmp_path):
    text = (CONFIG / "guard_node.yaml").read_text()
    file = tmp_path / "guard.yaml"
    file.write_text(text.replace('"forward_position"', '"telepathy"'))
    command = [sys.executable, "-m", "bridle.ros_nodes.guard_node", "--ros-args"]
    command += ["--params-file", str(file), "-p", "robot:=ur5e_2f85"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "telepathy" in result.stderr
