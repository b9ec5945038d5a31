"""Commands of `bridle`, run in processes of their own with one thread each."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bridle.training.exceptions import TrainingError


def flags(options: Mapping[str, Any]) -> list[str]:
    """Options as a command line has them."""
    words: list[str] = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            values = value if isinstance(value, list | tuple) else [value]
            words += [f"--{flag}", *map(str, values)]
    return words


def run_command(arguments: Sequence[str], log: Path, folder: Path | None = None) -> float:
    """Run one command to its end.

    Args:
        arguments: what follows `bridle`.
        log: file that all it says is added to, in `folder`.
        folder: where it runs; by default here.

    Returns:
        Seconds of the processor that it took.

    Raises:
        TrainingError: it failed; with what it said last.
    """
    path = (folder or Path()) / log
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(f"$ bridle {shlex.join(arguments)}\n")
        file.flush()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bridle", *arguments],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = path.read_text(errors="replace").strip().splitlines()[-1]
        raise TrainingError(f"{last} (status {process.returncode}, see {log})")
    return usage.ru_utime + usage.ru_stime
