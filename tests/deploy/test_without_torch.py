"""The robot side on a machine that has no PyTorch: every import of it fails."""

import subprocess
import sys

import pytest

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {blocked!r}:
            raise ModuleNotFoundError(f'{{name}} is blocked', name=name)
sys.meta_path.insert(0, Block())
"""
TRAINING = {"torch", "diffusers", "accelerate", "onnx", "onnxscript", "zarr", "safetensors"}


def run(code: str, blocked: set[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK.format(blocked=blocked) + code, *arguments],
        capture_output=True,
        text=True,
    )


def test_a_bundle_is_loaded_and_infers(exported):
    code = """
import numpy as np
from bridle.deploy.bundle import load_bundle
from bridle.deploy.runtime import Runtime
bundle = load_bundle(sys.argv[1])
runtime = Runtime(bundle)
m = bundle.manifest
observation = {s.name: np.zeros((1, *s.shape[1:]), np.float32) for s in m.inputs}
noise = np.zeros((1, m.horizon, len(m.joint_names)), np.float32)
print(runtime.infer(observation, noise).chunk.shape)
"""
    result = run(code, TRAINING | {"rclpy", "gymnasium", "ogbench"}, str(exported))
    assert result.stdout.strip() == "(1, 16, 7)", result.stderr


@pytest.mark.parametrize("node", ["policy", "guard", "correction", "sim_robot"])
def test_every_node_imports(node):
    pytest.importorskip("rclpy")
    result = run(f"import bridle.ros_nodes.{node}_node; print('imported')", TRAINING)
    assert result.stdout.strip() == "imported", result.stderr


def test_the_language_needs_nothing_but_python():
    heavy = TRAINING | {"numpy", "mujoco", "rclpy", "onnxruntime"}
    result = run("from bridle.deploy.language import parse; print(parse('2 cm up'))", heavy)
    assert "Nudge" in result.stdout, result.stderr
