import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COLCON = Path(sys.executable).with_name("colcon")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COLCON.exists(), reason="colcon is not installed"),
]


def test_colcon_build_puts_the_nodes_in_the_ament_index(tmp_path):
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, tracked):
        target = tmp_path / "src" / "bridle" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    path = f"{COLCON.parent}{os.pathsep}{os.environ['PATH']}"
    built = subprocess.run(
        [str(COLCON), "build"],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    install = tmp_path / "install" / "bridle"
    assert (install / "share/ament_index/resource_index/packages/bridle").is_file()
    assert (install / "share/bridle/package.xml").is_file()
    assert (install / "share/bridle/launch/bridle.launch.py").is_file()
    for node in ("policy_node", "guard_node", "correction_node", "sim_robot_node"):
        assert os.access(install / "lib/bridle" / node, os.X_OK)
        assert (install / "share/bridle/config" / f"{node}.yaml").is_file()
    robots = list(install.glob("lib/python*/site-packages/bridle/deploy/robots/ur5e_2f85.yaml"))
    assert len(robots) == 1
