"""Measure how fast Bridle is, as ratios of what the libraries below it could do at best."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bridle.commands import dispatch

ACTIONS = {
    "sim": "steps and pictures per second, beside the same physics in bare C",
    "data": "windows of demonstrations per second, beside bare numpy",
    "train": "training steps per second, beside a bare loop of PyTorch",
    "latency": "milliseconds to a chunk, beside bare ONNX Runtime, PyTorch and the processor",
    "guard": "milliseconds of a tick of the guard, beside a step of mink, and its memory",
    "chunks": "seams, mode switches and success where chunks meet, for each delay",
    "familiarity": "what a calibrated bundle notices: false alarms, and shifts it has not seen",
}
"""Action -> what it does; each lives in `bridle.commands.benchmark.<action>`."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return dispatch("benchmark", ACTIONS, arguments)


def machine(*packages: str) -> dict[str, object]:
    """What a measurement was made on, with the versions of some packages and the present load."""
    found: dict[str, object] = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
    }
    return found | {name: _version(name) for name in packages}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
