"""A real graph: real processes on real rclpy, a real exported policy, a simulated robot."""

import os
import random
import socket
from contextlib import suppress

import numpy as np
import pytest
import torch

from bridle import sim
from bridle.deploy.export import Source, export_policy
from bridle.policies import MLPConfig, Policy, PolicyConfig, StateEncoderConfig

KEYS = {"joint_position": 6, "gripper": 1, "tcp_pose": 9, "object_state": 8}


@pytest.fixture(scope="session", autouse=True)
def isolation():
    """No other graph on this machine is heard, none hears us, and bad fields are errors."""
    with socket.socket() as claim:
        for domain in random.sample(range(1, 102), 101):
            with suppress(OSError):  # tests that run at the same time hold this one
                claim.bind(("127.0.0.1", 20_000 + domain))
                break
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
        yield


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A policy that was trained for seconds to do one simple thing: turn the base to the left.

    Chunk k of its target is the present position plus k hundredths of a radian in every joint of
    `motion`, so it is always in motion and always inside the limits.
    """
    torch.manual_seed(0)
    policy = Policy(PolicyConfig(StateEncoderConfig(KEYS), action_size=7, network=MLPConfig(32, 1)))
    motion = torch.tensor([0.02, 0, 0, 0, 0, 0, 0])
    random_state = torch.Generator().manual_seed(0)
    env = sim.make("pick-place")
    rows = [env.reset(seed=s)[0] for s in range(64)]
    batch = {key: torch.tensor(np.array([row[key] for row in rows]))[:, None] for key in KEYS}
    here = torch.nn.functional.pad(batch["joint_position"], (0, 1))
    batch["action"] = here + motion * torch.arange(16)[:, None]
    policy.fit(batch)
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    for _ in range(400):
        loss, _ = policy.loss(batch, random_state)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    path = tmp_path_factory.mktemp("bundles") / "turning"
    export_policy(
        policy.eval(),
        Source(
            robot="ur5e_2f85",
            robot_xml=sim.kinematics_xml(),
            task="pick-place",
            joint_names=sim.JOINT_NAMES,
            control_rate=20.0,
            instructions=("turn left",),
            dataset_digest="0" * 64,
            versions={},
            card="# turns the base\n",
        ),
        path,
    )
    return path
