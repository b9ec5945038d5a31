"""Starts the graph, watches it, and takes it down cleanly."""

import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from rich.console import Console

RESTART_AFTER = 1.5
"""Pause before a process that died is started again [s]: the guard is seen to hold meanwhile."""
MAX_RESTARTS = 3
STOP_PATIENCE = 5.0
"""Time a process has to end after SIGINT before it is killed [s]."""


@dataclass(frozen=True)
class Process:
    """One node of the graph."""

    name: str
    module: str
    params: Mapping[str, object] = field(default_factory=dict)
    essential: bool = False
    """Whether its death takes the graph down; the others are started again."""

    def command(self) -> list[str]:
        """The command line that starts it."""
        line = [sys.executable, "-m", self.module, "--ros-args"]
        for name, value in self.params.items():
            if value != "":  # rcl cannot parse an empty value; it is the default of every text
                line += ["-p", f"{name}:={json.dumps(value)}"]
        return line


def environment() -> dict[str, str]:
    """The environment of the nodes: this machine only unless asked otherwise, one thread each."""
    defaults = {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return defaults | dict(os.environ)


def use_local_domain() -> None:
    """Reach this machine only, unless asked otherwise."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


def use_own_domain() -> None:
    """Keep a graph that this process starts and watches to itself, unless asked otherwise."""
    use_local_domain()
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.randint(1, 101)))


def _die_with_parent() -> None:
    # Linux: the kernel ends the nodes when the watcher is killed and cannot do it itself.
    prctl_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(prctl_set_pdeathsig, signal.SIGTERM)


class Graph:
    """The running processes; a context manager that leaves none behind."""

    def __init__(self, processes: Sequence[Process]) -> None:
        """Describe the graph; entering it starts it."""
        self._specs = {p.name: p for p in processes}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._restarts = dict.fromkeys(self._specs, 0)
        self._restart_at: dict[str, float] = {}
        self._console = Console(stderr=True, highlight=False)

    def __enter__(self) -> "Graph":
        """Start every process."""
        for name in self._specs:
            self._start(name)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every process."""
        self.stop()

    def _start(self, name: str) -> None:
        self._running[name] = subprocess.Popen(
            self._specs[name].command(),
            env=environment(),
            # A process group of its own: Ctrl-C reaches the watcher, which stops the nodes.
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )

    def pid(self, name: str) -> int:
        """Process number of a node."""
        return self._running[name].pid

    def check(self) -> str | None:
        """Look after the processes once; a sentence when the graph cannot go on."""
        now = time.monotonic()
        for name, process in self._running.items():
            code = process.poll()
            if code is None:
                continue
            if name not in self._restart_at:
                spec = self._specs[name]
                # Status 2 is a configuration error: it said why, and would say it again.
                if spec.essential or code == 2 or self._restarts[name] >= MAX_RESTARTS:
                    return f"{name} ended with status {code}"
                self._console.print(f"[yellow]{name} died (status {code}); starting it again")
                self._restart_at[name] = now + RESTART_AFTER
            elif now >= self._restart_at[name]:
                del self._restart_at[name]
                self._restarts[name] += 1
                self._start(name)
                break
        return None

    def watch(self) -> int:
        """Watch until SIGINT, SIGTERM, or the graph cannot go on; the exit status."""
        stopped = False

        def stop(signum: int, frame: FrameType | None) -> None:
            nonlocal stopped
            stopped = True

        previous = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            while not stopped:
                problem = self.check()
                if problem is not None:
                    self._console.print(f"[red]{problem}; stopping everything")
                    return 1
                time.sleep(0.1)
            return 0
        finally:
            for s, handler in previous.items():
                signal.signal(s, handler)

    def stop(self) -> None:
        """End one process after the other: the policy first, the guard next, the robot last."""
        for name in self._specs:
            process = self._running.get(name)
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()


def simulated_graph(
    bundle: str,
    *,
    task: str,
    robot: str,
    seed: int,
    camera_rate: float,
    log: str,
    limits: str = "",
    policy: Mapping[str, object] | None = None,
) -> list[Process]:
    """Policy, correction, guard and the simulated robot, in the order in which they are stopped.

    `limits` is a file with tighter limits for the task, `policy` holds further parameters of
    policy_node.
    """
    nodes = "bridle.ros_nodes"
    serving = {"bundle": bundle, "seed": seed, **(policy or {})}
    return [
        Process("policy_node", f"{nodes}.policy_node", serving),
        Process("correction_node", f"{nodes}.correction_node", {"bundle": bundle, "log": log}),
        Process("guard_node", f"{nodes}.guard_node", {"robot": robot, "limits": limits}, True),
        Process(
            "sim_robot_node",
            f"{nodes}.sim_robot_node",
            {"task": task, "robot": robot, "seed": seed, "camera_rate": float(camera_rate)},
            True,
        ),
    ]
