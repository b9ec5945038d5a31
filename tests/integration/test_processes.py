import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def start(bundle, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "bridle", "up", "--bundle", str(bundle), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"ROS_DOMAIN_ID": "77", "PYTHONUNBUFFERED": "1"},
    )


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def children(parent: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True
    ).stdout
    return [int(pid) for pid in listed.split()]


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ending_the_watcher_ends_every_node(bundle, how):
    watcher = start(bundle)
    assert wait_until(lambda: len(children(watcher.pid)) == 4, 30)
    pids = children(watcher.pid)
    time.sleep(4)
    watcher.send_signal(how)
    code = watcher.wait(timeout=20)
    if how is not signal.SIGKILL:
        assert code == 0, watcher.stdout.read()
    assert wait_until(lambda: not any(running(pid) for pid in pids), 15)


def test_a_damaged_bundle_starts_nothing(bundle, tmp_path):
    damaged = shutil.copytree(bundle, tmp_path / "damaged")
    with (damaged / "policy.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\x00\x01\x02")
    watcher = start(damaged)
    output, _ = watcher.communicate(timeout=30)
    assert watcher.returncode == 2
    assert output.count("\n") == 1
    assert "policy.onnx was altered" in output


def test_the_death_of_the_guard_ends_the_graph(bundle):
    watcher = start(bundle)
    assert wait_until(lambda: len(children(watcher.pid)) == 4, 30)
    time.sleep(4)
    pids = children(watcher.pid)
    guard = next(pid for pid in pids if "guard_node" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(guard, signal.SIGKILL)
    assert watcher.wait(timeout=20) == 1
    assert "guard_node ended" in watcher.stdout.read()
    assert wait_until(lambda: not any(running(pid) for pid in pids), 15)
