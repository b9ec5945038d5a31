"""What tests of several commands need."""

from pathlib import Path

import torch

from bridle.deploy.export import Source, export_policy
from bridle.policies import MLPConfig, Policy, PolicyConfig, StateEncoderConfig
from bridle.sim import JOINT_NAMES
from bridle.sim.robots.ur5e import kinematics_xml

SIZES = {"joint_position": 6, "gripper": 1, "tcp_pose": 9, "object_state": 8}


def export_still(path: Path, task: str) -> Path:
    """A bundle of an untrained policy that stays near where it is, on the simulator's arm."""
    torch.manual_seed(0)
    policy = Policy(
        PolicyConfig(
            StateEncoderConfig(SIZES), action_size=7, network=MLPConfig(width=16, blocks=1)
        )
    )
    batch = {key: torch.randn(64, 1, n) for key, n in SIZES.items()}
    here = torch.nn.functional.pad(batch["joint_position"], (0, 1))
    policy.fit(batch | {"action": here + 0.02 * torch.randn(64, 16, 7)})
    source = Source("ur5e_2f85", kinematics_xml(), task, JOINT_NAMES, 20.0, (), "0" * 64, {}, "")
    export_policy(policy, source, path)
    return path
