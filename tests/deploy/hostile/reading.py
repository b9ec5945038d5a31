"""Reads hostile bundles one after the other, with little memory: BUNDLE WORK CASES.

CASES is a list of [number of the attack, seed] as JSON; the honest ones have numbers below 0.
Prints one JSON line per case: what was said, how long it took [s], by how much the most memory it
ever had grew, and the most memory that a confined process had so far [bytes].
"""

import json
import resource
import shutil
import sys
import time
from pathlib import Path

from bridle.deploy.bundle import load_bundle
from bridle.deploy.confinement import DEFAULT, Limits, verify_confined

from . import ATTACKS, HONEST, draft_of

MEMORY = 4 * 2**30
LIMITS = Limits(memory=2**30, seconds=20)


def most_memory() -> int:
    """Of this process so far [bytes]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    bundle, work, cases = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number, seed in cases:
        attack = ATTACKS[number] if number >= 0 else HONEST[number]
        folder = work / f"{attack.__name__}-{seed}"
        draft = draft_of(bundle, seed, work / "outside")
        attack(draft)
        draft.write(folder)
        key = draft.key
        del draft
        before, began = most_memory(), time.perf_counter()
        try:
            loaded = load_bundle(folder, key)
            verify_confined(loaded, LIMITS if number >= 0 else DEFAULT)
            kind, said = "", "accepted"
        except Exception as error:
            kind, said = type(error).__name__, str(error)
        seconds = time.perf_counter() - began
        result = {
            "attack": f"{attack.__module__.rpartition('.')[2]}.{attack.__name__}",
            "seed": seed,
            "error": kind,
            "said": said,
            "seconds": seconds,
            "grown": most_memory() - before,
            "confined": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        }
        print(json.dumps(result), flush=True)
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
