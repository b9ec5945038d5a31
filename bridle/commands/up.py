"""Start the graph and watch over it: policy, guard, correction and the simulated robot.

Ctrl-C stops everything. A policy or correction node that dies is started again while the guard
holds the robot; when the guard or the robot dies, everything stops. Set ROS_DOMAIN_ID to run more
than one graph on a machine; ROS_AUTOMATIC_DISCOVERY_RANGE is LOCALHOST unless you set it.
"""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bridle import sim
from bridle.commands import parse
from bridle.deploy.bundle import load_bundle
from bridle.deploy.confinement import verify_confined
from bridle.deploy.robot import load_robot
from bridle.deploy.tightening import load_tightening, tighten


@dataclass(frozen=True)
class Options:
    """Options of `bridle up`."""

    bundle: Path
    """Bundle to serve."""
    task: str | None = None
    """Task to simulate; by default the one the policy was trained on."""
    seed: int = 0
    """Seed of the simulated layout."""
    provider: Literal["cpu", "cuda", "tensorrt", "openvino", "auto"] = "cpu"
    """What runs the network."""
    strategy: Literal["auto", "replace", "blend", "ensemble", "rtc"] = "auto"
    """How a chunk follows the one before (docs/deployment.md)."""
    limits: Path | None = None
    """File with tighter limits for the task (docs/guard.md)."""
    camera_rate: float = 0.0
    """Frames per second of camera/front [Hz]; 0 turns the camera off."""
    log: Path | None = None
    """File that every correction is appended to as a JSON line."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must lie in 0..2^31-1, got {self.seed}")
        if not (math.isfinite(self.camera_rate) and 0 <= self.camera_rate <= 60):
            raise ValueError(f"camera-rate must lie in 0..60 Hz, got {self.camera_rate}")


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Options, "up", arguments, __doc__)
    # What cannot work is refused here, before anything starts.
    if importlib.util.find_spec("rclpy") is None:
        raise ModuleNotFoundError("rclpy", name="rclpy")
    bundle = load_bundle(options.bundle)
    verify_confined(bundle)
    manifest = bundle.manifest
    task = options.task or manifest.task
    sim.make(task)
    if options.limits:
        tighten(load_robot(manifest.robot), load_tightening(options.limits))
    from bridle.ros_nodes.up import Graph, simulated_graph

    graph = Graph(
        simulated_graph(
            str(options.bundle.resolve()),
            task=task,
            robot=manifest.robot,
            seed=options.seed,
            camera_rate=options.camera_rate,
            log=str(options.log.resolve()) if options.log else "",
            limits=str(options.limits.resolve()) if options.limits else "",
            policy={"provider": options.provider, "strategy": options.strategy},
        )
    )
    with graph:
        print('the graph starts; in another terminal: bridle say "a bit to the left"')
        return graph.watch()
