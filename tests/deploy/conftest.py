"""A small policy, exported once, and the arm it belongs to."""

from pathlib import Path

import pytest
import torch

from bridle.deploy.bundle import load_bundle
from bridle.deploy.export import Source, export_policy
from bridle.deploy.robot import load_robot
from bridle.policies import Difference, MLPConfig, Policy, PolicyConfig, StateEncoderConfig

KEYS = {"joint_position": 6, "gripper": 1, "tcp_pose": 9, "object_state": 8}
JOINTS = load_robot("ur5e_2f85").joint_names


def arm_xml() -> str:
    """A six-joint arm with roughly the links of a UR5e, its tool pointing down at home."""
    axes = ["0 0 1", "0 1 0", "0 1 0", "0 1 0", "0 0 -1", "0 1 0"]
    places = ["0 0 .16", "0 .14 0", "0 -.13 .425", "0 0 .39", "0 .13 0", "0 0 .1"]
    xml = ""
    for name, axis, place in zip(JOINTS, axes, places, strict=False):
        limit = 3.14 if name == "elbow_joint" else 6.28
        xml += (
            f'<body pos="{place}"><joint name="{name}" axis="{axis}" range="-{limit} {limit}" '
            'limited="true"/><inertial pos="0 0 0" mass="1" diaginertia=".1 .1 .1"/>'
        )
    xml += '<site name="tcp" pos="0 .1 .15"/>' + "</body>" * 6
    return f'<mujoco><compiler angle="radian"/><worldbody>{xml}</worldbody></mujoco>'


def make_policy(n_obs_steps: int = 1) -> Policy:
    torch.manual_seed(0)
    policy = Policy(
        PolicyConfig(
            StateEncoderConfig(
                KEYS, (Difference("object_state", 0, "tcp_pose", 0, 3),), n_obs_steps
            ),
            action_size=7,
            network=MLPConfig(width=64, blocks=2),
        )
    )
    batch = {key: torch.randn(64, n_obs_steps, n) for key, n in KEYS.items()}
    # Actions within some hundredths of a radian of where the robot is, as a trained policy's are.
    here = torch.nn.functional.pad(batch["joint_position"][:, -1:], (0, 1))
    policy.fit(batch | {"action": here + 0.03 * torch.randn(64, 16, 7)})
    return policy.eval()


def make_source() -> Source:
    return Source(
        robot="ur5e_2f85",
        robot_xml=arm_xml(),
        task="pick-place",
        joint_names=JOINTS,
        control_rate=20.0,
        instructions=("pick up the cube",),
        dataset_digest="0" * 64,
        versions={"bridle": "0.1.0"},
        card="# card\n",
    )


@pytest.fixture(scope="session")
def policy() -> Policy:
    return make_policy()


@pytest.fixture(scope="session")
def exported(policy, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "small"
    export_policy(policy, make_source(), path)
    return path


@pytest.fixture(scope="session")
def bundle(exported):
    return load_bundle(exported)
