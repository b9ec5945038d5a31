"""Whether a bundle can serve: beyond its hashes, everything in it must fit and compute."""

import numpy as np

from bridle.deploy.bundle import Bundle
from bridle.deploy.exceptions import BundleError
from bridle.deploy.robot import load_robot
from bridle.deploy.runtime import Runtime
from bridle.deploy.serving import PolicyServer
from bridle.deploy.steering import SteeringConfig

TOLERANCE = 1e-3
"""Largest difference between the sampler as one graph and walked step by step [rad]."""


def verify(bundle: Bundle) -> float:
    """Load every part of a bundle and run it.

    Returns:
        The largest difference between `policy.onnx` and `step.onnx` walked along its table, on
        random inputs [rad].

    Raises:
        BundleError: a graph or a table does not fit the manifest, or the two samplers disagree.
        InferenceError: a graph does not run, or gives numbers that are not finite.
        KinematicsError: `robot.xml` is unusable or of another arm.
        RobotError: the robot is not known.
    """
    manifest = bundle.manifest
    robot = load_robot(manifest.robot)
    if list(robot.joint_names) != manifest.joint_names:
        raise BundleError(
            f"{manifest.robot} has the joints {', '.join(robot.joint_names)}; "
            f"the bundle is for {', '.join(manifest.joint_names)}"
        )
    loop, walked = Runtime(bundle), Runtime(bundle, walk=True)
    PolicyServer(bundle, loop, seed=0, steering=SteeringConfig())
    random = np.random.default_rng(0)
    observation = {
        spec.name: random.standard_normal((2, *spec.shape[1:]), dtype=np.float32)
        for spec in manifest.inputs
    }
    shape = (2, manifest.horizon, len(manifest.joint_names))
    noise = random.standard_normal(shape, dtype=np.float32)
    chunks = [runtime.infer(observation, noise).chunk for runtime in (loop, walked)]
    difference = float(np.abs(chunks[0] - chunks[1]).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(chunks[0]).max())):
        raise BundleError(
            f"{bundle.path}: policy.onnx and step.onnx disagree by {difference:.2e} rad"
        )
    return difference
