"""Verifies a bundle in a process of its own, with little memory, little time and no way to write.

What a graph needs is known for certain only once it has run: sizes multiply along it. Shapes follow
from the shapes of the inputs alone (`inspection.graph`), so a graph that ran here within the limits
needs no more for any other observation.
"""

import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bridle.deploy.bundle import Bundle, load_bundle
from bridle.deploy.exceptions import BundleError

_REFUSED = 2
_LONGEST_ANSWER = 500


@dataclass(frozen=True)
class Limits:
    """What a bundle may take to be verified."""

    memory: int = 2**31
    """Beyond six times the size of its files, for the libraries and all their tensors [bytes]."""
    seconds: float = 120.0
    """From start to end; as much processor time, on all cores together."""

    def __post_init__(self) -> None:
        if self.memory <= 0 or self.seconds <= 0:
            raise ValueError(f"limits must be positive, got {self.memory} and {self.seconds}")


DEFAULT = Limits()


def verify_confined(bundle: Bundle, limits: Limits = DEFAULT) -> float:
    """What `verification.verify` does, where it cannot do harm.

    Args:
        bundle: as `load_bundle` gave it; its folder is read again, and must be the same still.
        limits: what it may take.

    Returns:
        The largest difference between the two samplers [rad].

    Raises:
        BundleError: it is refused, or it took more than the limits.
    """
    memory = limits.memory + 6 * sum(map(len, bundle.contents.values()))
    command = [sys.executable, "-P", "-m", __name__, str(bundle.path.resolve()), bundle.digest]
    with tempfile.TemporaryDirectory() as scratch:
        try:
            ended = subprocess.run(
                [*command, str(memory), str(int(limits.seconds) + 1)],
                cwd=scratch,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                timeout=limits.seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise BundleError(
                f"{bundle.path}: it was not verified within {limits.seconds:g} s"
            ) from error
    if ended.returncode == 0:
        return float(ended.stdout.split()[-1])
    if ended.returncode == _REFUSED:
        raise BundleError(f"{bundle.path}: {ended.stderr.strip().splitlines()[-1]}")
    raise BundleError(
        f"{bundle.path}: running it ended with status {ended.returncode}: it needs more than "
        f"{memory / 2**30:.1f} GiB or {limits.seconds:g} s, or breaks a library"
    )


def _confine(memory: int, seconds: int) -> None:
    """No more memory than now and `memory`, no more time, no file with anything in it, no dump."""
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    statm = Path("/proc/self/statm")
    if statm.exists():
        now = int(statm.read_text().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = now + memory
    for limit, value in limits.items():
        _, highest = resource.getrlimit(limit)
        value = value if highest == resource.RLIM_INFINITY else min(value, highest)
        resource.setrlimit(limit, (value, value))


def main() -> int:
    """The process: folder, digest of the manifest, bytes, seconds -> the difference on stdout."""
    folder, digest, memory, seconds = sys.argv[1:]
    try:
        from bridle.deploy.verification import verify

        _confine(int(memory), int(seconds))
        bundle = load_bundle(folder)
        if bundle.digest != digest:
            raise BundleError("it was changed while it was verified")
        print(verify(bundle))
    except MemoryError:
        print("it needs more memory than it may have", file=sys.stderr)
        return _REFUSED
    except ValueError as error:
        said = " ".join(str(error).split()).removeprefix(f"{folder}: ")
        print(said[:_LONGEST_ANSWER], file=sys.stderr)
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
