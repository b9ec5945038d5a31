"""Two hundred damaged sets: a clear error or a valid result, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.training.demonstrations.sets import record

SEEDS, BATCH = 200, 50


@pytest.fixture
def folder(tmp_path):
    """In memory where the machine has such a place: thousands of files come and go."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as path:
        yield Path(path)


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_damaged_sets_end_in_one_clear_line(folder, first):
    record(folder / "template", episode_keys={"seed": "int64"})
    worker = Path(__file__).with_name("hostile.py")
    result = subprocess.run(
        [sys.executable, str(worker), str(folder), str(first), str(first + BATCH)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("0 failed")
