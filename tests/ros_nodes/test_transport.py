import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")

# Which of its threads and sockets belong to the middleware: Fast DDS names its threads dds.*, and
# a socket's address stands in /proc/net/udp as little-endian hexadecimal.
JOIN = """
import json, os
from pathlib import Path
before = dict(os.environ)
import rclpy
from rclpy.node import Node
from bridle.ros_nodes.transport import without_shared_memory
with without_shared_memory():
    rclpy.init()
    node = Node("joined")
threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
links = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
rows = [line.split() for line in Path("/proc/self/net/udp").read_text().splitlines()[1:]]
hosts = [bytes.fromhex(row[1][:8])[::-1] for row in rows if f"socket:[{row[9]}]" in links]
print(json.dumps({
    "threads": [name for name in threads if name.startswith("dds")],
    "hosts": sorted({".".join(map(str, host)) for host in hosts}),
    "environment kept": before == dict(os.environ),
}))
"""


def join(**environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROS_")}
    result = subprocess.run(
        [sys.executable, "-c", JOIN],
        env=kept | {"ROS_DOMAIN_ID": "88"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "WARN" not in result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("reach", ["LOCALHOST", "SUBNET"])
def test_a_node_joins_without_shared_memory(reach):
    joined = join(ROS_AUTOMATIC_DISCOVERY_RANGE=reach)
    assert any(name.startswith("dds.udp") for name in joined["threads"])
    assert not any(name.startswith("dds.shm") for name in joined["threads"])
    assert joined["environment kept"]


def test_a_local_node_cannot_be_reached_from_another_machine():
    assert join(ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")["hosts"] == ["127.0.0.1"]


def test_transports_that_were_chosen_stay_so():
    joined = join(ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET", FASTDDS_BUILTIN_TRANSPORTS="SHM")
    assert any(name.startswith("dds.shm") for name in joined["threads"])
