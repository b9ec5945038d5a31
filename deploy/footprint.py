"""What a bundle costs a process that does nothing but serve it.

python -m bridle.deploy.footprint BUNDLE      # prints a `Footprint` as JSON
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Footprint:
    """Of a fresh process."""

    import_seconds: float
    """Until `bridle.deploy.bundle` and `bridle.deploy.runtime` were imported."""
    load_seconds: float
    """From there to a loaded `Runtime`, every check of the bundle among it."""
    first_chunk_seconds: float
    """The first inference."""
    resident_mb: float | None
    """Memory that it has after that [10^6 bytes]; None where there is no /proc."""
    peak_mb: float | None
    """Most that it had at any time, which is while it loads."""


def footprint(bundle: Path) -> Footprint:
    """Serve one chunk of a bundle in a process of its own.

    Raises:
        ChildProcessError: it failed; the message is its last line.
    """
    command = [sys.executable, "-m", "bridle.deploy.footprint", str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChildProcessError((done.stderr.strip().splitlines() or ["it failed"])[-1])
    return Footprint(**json.loads(done.stdout))


def _serve(folder: str) -> Footprint:
    began = time.perf_counter()
    from bridle.deploy.bundle import load_bundle
    from bridle.deploy.runtime import Runtime

    imported = time.perf_counter()
    runtime = Runtime(load_bundle(folder))
    loaded = time.perf_counter()
    import numpy as np

    manifest = runtime.manifest
    observation = {s.name: np.zeros((1, *s.shape[1:]), s.dtype) for s in manifest.inputs}
    chunk = (1, manifest.horizon, len(manifest.joint_names))
    inference = runtime.infer(observation, np.zeros(chunk, np.float32))
    seconds = imported - began, loaded - imported, inference.timings.total
    return Footprint(*seconds, *_memory())


def _memory() -> tuple[float, float] | tuple[None, None]:
    """Now, and at most."""
    if not STATUS.exists():
        return None, None
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    now, most = (1024e-6 * int(lines[key].removesuffix("kB")) for key in ("VmRSS", "VmHWM"))
    return now, most


if __name__ == "__main__":
    print(json.dumps(asdict(_serve(sys.argv[1]))))
