"""Whether a bundle can serve: beyond its hashes, everything in it must fit and compute."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.bundle import Bundle, TensorSpec
from bridle.deploy.exceptions import BundleError
from bridle.deploy.execution import ExecutionConfig
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
        RobotError: the robot is not known, or has other joints.
    """
    manifest = bundle.manifest
    loop, walked = Runtime(bundle), Runtime(bundle, walk=True)
    PolicyServer(bundle, loop, seed=0, steering=SteeringConfig())
    random = np.random.default_rng(0)
    observation = {spec.name: _random(spec, random) for spec in manifest.inputs}
    shape = (2, manifest.horizon, len(manifest.joint_names))
    noise = random.standard_normal(shape, dtype=np.float32)
    chunks = [runtime.infer(observation, noise).chunk for runtime in (loop, walked)]
    # What a loop carries may grow with its rounds, and a robot asks for one chunk at a time.
    alone = {name: value[:1] for name, value in observation.items()}
    for runtime in (loop, walked):
        runtime.infer(alone, noise[:1])
        runtime.infer(alone, noise[:1], max(runtime.tables))
    if loop.judges:
        # As many as a robot chooses among.
        n = ExecutionConfig.safest
        many = loop.infer(alone, random.standard_normal((n, *shape[1:]), dtype=np.float32)).chunk
        loop.feasibility(loop.encode(alone), many[:, manifest.first_action :])
    difference = float(np.abs(chunks[0] - chunks[1]).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(chunks[0]).max())):
        raise BundleError(
            f"{bundle.path}: policy.onnx and step.onnx disagree by {difference:.2e} rad"
        )
    return difference


def _random(spec: TensorSpec, random: np.random.Generator) -> NDArray[Any]:
    """Two observations that the input can take."""
    shape = (2, *spec.shape[1:])
    if spec.dtype == "float32":
        return random.standard_normal(shape, dtype=np.float32)
    # Padding and the unknown word are the tokens that every vocabulary has.
    return random.integers(0, 256 if spec.dtype == "uint8" else 2, shape).astype(spec.dtype)
