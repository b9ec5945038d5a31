"""Pictures and depth, fast: no shadows, no reflections, no anti-aliasing, collision shapes only.

With these a scene renders at hundreds of frames a second on one CPU core, instead of five. What a
person looks at may have meshes and shadows: `lowpoly=False`.
"""

import importlib
import os
import sys
from contextlib import suppress
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from bridle.sim.exceptions import RenderingError, SimulationError

BACKENDS = ("egl", "osmesa")


def _contexts(model: mujoco.MjModel, width: int, height: int) -> tuple[Any, mujoco.MjrContext]:
    """What to draw with: by the backend MUJOCO_GL asks for, or the first one that works.

    Returns:
        The off-screen OpenGL context, current, and MuJoCo's resources in it.

    Raises:
        RenderingError: no backend works.
    """
    asked = os.environ.get("MUJOCO_GL", "").lower().strip()
    platform = os.environ.get("PYOPENGL_PLATFORM")
    problems = []
    for backend in (asked,) if asked else BACKENDS:
        try:
            gl = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
            gl.make_current()
            return gl, mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as error:  # each backend has exceptions of its own
            problems.append(f"{backend}: {str(error).splitlines()[0] if str(error) else error!r}")
            _forget_opengl(platform)
    raise RenderingError(
        f"no OpenGL backend works ({'; '.join(problems)}); on Debian: "
        "apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri, or libosmesa6 and MUJOCO_GL=osmesa"
    )


def _forget_opengl(platform: str | None) -> None:
    # The first backend that is tried binds PyOpenGL to itself, and the next would be refused.
    os.environ.pop("PYOPENGL_PLATFORM", None)
    if platform is not None:
        os.environ["PYOPENGL_PLATFORM"] = platform
    for name in list(sys.modules):
        if name.startswith(("OpenGL", *(f"mujoco.{backend}" for backend in BACKENDS))):
            del sys.modules[name]


class Renderer:
    """Draws a scene from one of its cameras."""

    def __init__(
        self, model: mujoco.MjModel, width: int, height: int, *, lowpoly: bool = True
    ) -> None:
        """Make a context for pictures of `width` x `height` pixels.

        Raises:
            SimulationError: a picture of that size does not fit the model's off-screen buffer.
            RenderingError: nothing on this machine can draw.
        """
        buffer = model.vis.global_
        if not (0 < width <= buffer.offwidth and 0 < height <= buffer.offheight):
            raise SimulationError(
                f"a picture must be at most {buffer.offwidth} x {buffer.offheight} pixels and not "
                f"empty, got {width} x {height}"
            )
        self._model = model
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._gl: Any = None
        self._gl, self._context = _contexts(model, width, height)
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._options = mujoco.MjvOption()
        # Group 2 is what the robot looks like, group 3 the primitives it collides with.
        self._options.geomgroup[2], self._options.geomgroup[3] = (1, 1) if lowpoly else (1, 0)
        self._options.sitegroup[:] = 0
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        if lowpoly:
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                self._scene.flags[flag] = 0
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED

    def render(self, data: mujoco.MjData, camera: str) -> NDArray[np.uint8]:
        """A picture (height, width, 3) from a named camera."""
        self._draw(data, camera)
        picture = np.empty((self._rect.height, self._rect.width, 3), np.uint8)
        mujoco.mjr_readPixels(picture, None, self._rect, self._context)
        return picture[::-1]

    def render_depth(
        self, data: mujoco.MjData, camera: str
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """A picture, and the distance of its pixels along the viewing axis (height, width) [m]."""
        self._draw(data, camera)
        size = (self._rect.height, self._rect.width)
        picture, buffer = np.empty((*size, 3), np.uint8), np.empty(size, np.float32)
        mujoco.mjr_readPixels(picture, buffer, self._rect, self._context)
        # The buffer is 0 at the far plane and 1 at the near one (reversed z): the inverse of the
        # projection, in double precision because the far half has few bits left.
        extent, planes = self._model.stat.extent, self._model.vis.map
        near, far = planes.znear * extent, planes.zfar * extent
        depth = near * far / (near + buffer.astype(np.float64) * (far - near))
        return picture[::-1], depth[::-1].astype(np.float32)

    def _draw(self, data: mujoco.MjData, camera: str) -> None:
        self._camera.fixedcamid = self._model.camera(camera).id
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._options,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mujoco.mjr_render(self._rect, self._scene, self._context)

    def close(self) -> None:
        """Free the context. Nothing can be drawn afterwards."""
        gl, self._gl = self._gl, None
        if gl is not None:
            # What is freed belongs to the context that is current.
            gl.make_current()
            self._context.free()
            gl.free()

    def __del__(self) -> None:
        """Free the context of one that was never closed."""
        # At the end of the interpreter OpenGL may be gone already.
        with suppress(Exception):
            self.close()
