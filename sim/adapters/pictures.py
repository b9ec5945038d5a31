"""Pictures of other suites' MuJoCo scenes, by the same means as our own.

The suites' own renderers are not used: without a screen they end the process.
"""

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from bridle.sim.exceptions import SimulationError
from bridle.sim.rendering import Renderer

MAX_WIDTH, MAX_HEIGHT = 1280, 960


@dataclass(frozen=True)
class View:
    """What to see of a suite's scene.

    Raises:
        SimulationError: a size is not allowed.
    """

    cameras: tuple[str, ...] = ()
    """Cameras of the scene to observe; each gives `camera_<name>`."""
    image_width: int = 96
    """Pixels of an observed picture."""
    image_height: int = 96
    """Pixels of an observed picture."""
    render_width: int = 320
    """Pixels of `render()`."""
    render_height: int = 240
    """Pixels of `render()`."""
    camera: str = ""
    """Camera of `render()`; the suite's usual view by default."""

    def __post_init__(self) -> None:
        given: Any = self.cameras
        names = (given,) if isinstance(given, str) else tuple(given)
        object.__setattr__(self, "cameras", names)
        for name, most in (
            ("image_width", MAX_WIDTH),
            ("image_height", MAX_HEIGHT),
            ("render_width", MAX_WIDTH),
            ("render_height", MAX_HEIGHT),
        ):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise SimulationError(f"{name} must lie in 1 to {most}, got {value!r}")

    @classmethod
    def take(cls, options: dict[str, Any], **defaults: Any) -> "View":
        """The view that options ask for; they are taken out of `options`."""
        given = {key: options.pop(key) for key in cls.__dataclass_fields__ if key in options}
        return cls(**(defaults | given))


class _SuiteRenderer(Renderer):
    """Draws from a named camera, or with "" from a free one."""

    def __init__(
        self, model: mujoco.MjModel, width: int, height: int, usual: dict[str, Any]
    ) -> None:
        super().__init__(model, width, height, lowpoly=False)
        self._free = mujoco.MjvCamera()
        mujoco.mjv_defaultFreeCamera(model, self._free)
        for key, value in usual.items():
            if isinstance(value, np.ndarray):
                getattr(self._free, key)[:] = value
            else:
                setattr(self._free, key, value)
        if "trackbodyid" in usual:
            self._free.type = mujoco.mjtCamera.mjCAMERA_TRACKING

    def _draw(self, data: mujoco.MjData, camera: str) -> None:
        if camera:
            super()._draw(data, camera)
            return
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._options,
            None,
            self._free,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mujoco.mjr_render(self._rect, self._scene, self._context)


class SuitePictures:
    """Draws one environment of a suite. Contexts are made when they are first needed."""

    def __init__(self, name: str, view: View, usual: dict[str, Any] | None = None) -> None:
        """Draw a scene.

        Args:
            name: of the environment, for errors.
            view: what to see.
            usual: how the suite places its free camera: `lookat`, `distance`, ...
        """
        self.view, self.usual = view, usual or {}
        self.standard = view.camera
        """Camera of `render`; "" for the suite's free one."""
        self._name = name
        self._renderers: dict[tuple[int, int], _SuiteRenderer] = {}

    def observe(self, scene: tuple[Any, Any] | None) -> dict[str, NDArray[np.uint8]]:
        """`camera_<name>` (H, W, 3) of every camera to observe."""
        if scene is None:
            raise SimulationError(f"{self._name} has no cameras: it is no MuJoCo scene")
        model, data = scene
        renderer = self._renderer(model, self.view.image_width, self.view.image_height)
        for camera in self.view.cameras:
            self._check(model, camera)
        return {f"camera_{name}": renderer.render(data, name) for name in self.view.cameras}

    def render(self, model: Any, data: Any) -> NDArray[np.uint8]:
        """A picture (height, width, 3) for a person."""
        if self.standard:
            self._check(model, self.standard)
        renderer = self._renderer(model, self.view.render_width, self.view.render_height)
        return renderer.render(data, self.standard)

    def _check(self, model: Any, camera: str) -> None:
        known = [model.cam(i).name for i in range(model.ncam)]
        if camera not in known:
            raise SimulationError(
                f"{self._name} has no camera {camera!r}; cameras: {', '.join(known) or 'none'}"
            )

    def _renderer(self, model: Any, width: int, height: int) -> _SuiteRenderer:
        if (width, height) not in self._renderers:
            # Shadows of meshes cost more than all the rest; the buffer is the suite's, and small.
            model.vis.quality.shadowsize = 0
            model.vis.quality.offsamples = 0
            buffer = model.vis.global_
            buffer.offwidth = max(buffer.offwidth, width)
            buffer.offheight = max(buffer.offheight, height)
            self._renderers[width, height] = _SuiteRenderer(model, width, height, self.usual)
        return self._renderers[width, height]

    def close(self) -> None:
        """Free the contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
