"""Launches the graph on a machine with a full ROS 2.

    ros2 launch bridle bridle.launch.py bundle:=/path/to/bundle

Without `sim:=true` no robot is started: remap `joint_states` and the command topic to the robot's.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node


def defaults(node: str) -> str:
    """The parameter file of a node that comes with the package."""
    return str(Path(get_package_share_directory("bridle")) / "config" / f"{node}.yaml")


def generate_launch_description() -> LaunchDescription:
    """Describe the graph; every node is a process of its own."""
    arguments = [
        DeclareLaunchArgument("bundle", description="Folder of the bundle to serve."),
        DeclareLaunchArgument(
            "robot", default_value="ur5e_2f85", description="Robot file or name."
        ),
        DeclareLaunchArgument("limits", default_value="", description="Tighter limits (YAML)."),
        DeclareLaunchArgument("task", default_value="pick-place", description="Simulated task."),
        DeclareLaunchArgument(
            "provider", default_value="cpu", description="cpu, cuda, tensorrt, openvino or auto."
        ),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of all nodes."),
        DeclareLaunchArgument("sim", default_value="false", description="Start a simulated robot."),
    ]
    bundle, robot = LaunchConfiguration("bundle"), LaunchConfiguration("robot")
    common = {"package": "bridle", "namespace": LaunchConfiguration("namespace"), "output": "both"}
    nodes = [
        LifecycleNode(
            name="guard_node",
            executable="guard_node",
            parameters=[
                defaults("guard_node"),
                {"robot": robot, "limits": LaunchConfiguration("limits")},
            ],
            **common,
        ),
        LifecycleNode(
            name="policy_node",
            executable="policy_node",
            parameters=[
                defaults("policy_node"),
                {"bundle": bundle, "robot": robot, "provider": LaunchConfiguration("provider")},
            ],
            **common,
        ),
        Node(
            name="correction_node",
            executable="correction_node",
            parameters=[defaults("correction_node"), {"bundle": bundle}],
            **common,
        ),
        Node(
            name="sim_robot_node",
            executable="sim_robot_node",
            parameters=[
                defaults("sim_robot_node"),
                {"task": LaunchConfiguration("task"), "robot": robot},
            ],
            condition=IfCondition(LaunchConfiguration("sim")),
            **common,
        ),
    ]
    return LaunchDescription([*arguments, *nodes])
