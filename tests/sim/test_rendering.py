import os
import subprocess
import sys

import numpy as np
import pytest

from bridle import sim

RENDER = """
from bridle import sim
env = sim.make("pick-place")
env.reset(seed=0)
try:
    env.render()
except sim.RenderingError as error:
    print(error)
"""


def run(code, **environment):
    """What a fresh process prints: a process chooses its OpenGL backend once."""
    clean = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def test_importing_and_simulating_load_no_opengl():
    code = """
import sys
from bridle import sim
env = sim.make("pick-place")
env.step(env.reset(seed=0)[0]["joint_position"].repeat(2)[:7])
print("OpenGL" in sys.modules)
"""
    assert run(code).strip() == "False"


def test_without_egl_the_other_backend_gets_its_own_chance():
    # A library that is not there is what a machine without EGL has.
    code = (
        """
import ctypes, ctypes.util
load, find = ctypes.CDLL.__init__, ctypes.util.find_library
def refuse(self, name=None, *args, **kwargs):
    if name and "EGL" in str(name):
        raise OSError(f"{name}: cannot open shared object file")
    load(self, name, *args, **kwargs)
ctypes.CDLL.__init__ = refuse
ctypes.util.find_library = lambda name: None if name == "EGL" else find(name)
"""
        + RENDER
    )
    printed = run(code)
    assert "PYOPENGL_PLATFORM" not in printed
    if printed:  # no OSMesa either: then the person learns what to install
        assert "egl: " in printed
        assert "osmesa: " in printed
        assert "libegl1 libegl-mesa0 libgl1-mesa-dri" in printed
        assert "libosmesa6" in printed
        assert printed.count("\n") == 1


def test_a_window_system_that_is_not_there_is_one_clear_error():
    printed = run(RENDER, MUJOCO_GL="glfw", DISPLAY="", WAYLAND_DISPLAY="")
    assert printed.startswith("no OpenGL backend works (glfw: ")


@pytest.mark.parametrize("size", [(0, 240), (320, -1), (1281, 240), (320, 961)])
def test_sizes_that_do_not_fit_are_refused(size):
    with pytest.raises(sim.SimulationError, match=r"1 to (1280|960)"):
        sim.make("pick-place", render_width=size[0], render_height=size[1])
    env = sim.make("pick-place")
    env.reset(seed=0)
    with pytest.raises(sim.SimulationError, match="at most 1280 x 960"):
        env.render_camera("front", *size)


def test_the_same_state_gives_the_same_picture_and_another_does_not():
    env = sim.make("pick-place")
    try:
        env.reset(seed=0)
        first = env.render()
        np.testing.assert_array_equal(first, env.render())
        env.reset(seed=1)
        assert (first != env.render()).any()
    except sim.RenderingError as error:
        pytest.skip(str(error))
    finally:
        env.close()


@pytest.mark.parametrize("noise", [-0.01, float("nan"), float("inf")])
def test_noise_that_is_no_length_is_refused(noise):
    env = sim.make("pick-place")
    env.reset(seed=0)
    with pytest.raises(sim.SimulationError, match="at least 0 m"):
        sim.Expert(env, noise=noise)
