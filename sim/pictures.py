"""What cameras add to an observation: pictures, depth, points."""

from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from bridle.sim.options import TabletopOptions
from bridle.sim.point_cloud import crop_and_thin, intrinsics, lift
from bridle.sim.rendering import Renderer

POINT_BOX = np.array([[0.15, -0.50, -0.01], [0.85, 0.50, 0.50]])
"""Points outside are left out: lower and upper corner of what is on the table, and its top [m]."""


class Pictures:
    """Draws one environment. Contexts are made when they are first needed."""

    def __init__(
        self, model: mujoco.MjModel, data: mujoco.MjData, options: TabletopOptions
    ) -> None:
        """Draw a model in its present state."""
        self._model, self._data, self._options = model, data, options
        self._renderers: dict[tuple[int, int], Renderer] = {}

    def _renderer(self, width: int, height: int) -> Renderer:
        if (width, height) not in self._renderers:
            self._renderers[width, height] = Renderer(
                self._model, width, height, lowpoly=self._options.lowpoly
            )
        return self._renderers[width, height]

    def spaces(self) -> dict[str, spaces.Space[Any]]:
        """The keys that `observe` gives."""
        options = self._options
        size = (options.image_height, options.image_width)
        given: dict[str, spaces.Space[Any]] = {
            f"camera_{c}": spaces.Box(0, 255, (*size, 3), np.uint8) for c in options.cameras
        }
        if options.depth:
            given |= {
                f"depth_{c}": spaces.Box(0, np.inf, size, np.float32) for c in options.cameras
            }
        if options.points:
            given["point_cloud"] = spaces.Box(-np.inf, np.inf, (options.points, 6), np.float32)
        return given

    def observe(self, random: np.random.Generator) -> dict[str, NDArray[Any]]:
        """`camera_<name>` (H, W, 3), `depth_<name>` (H, W) [m], `point_cloud` (points, 6): x, y, z
        [m] in the base frame and red, green, blue in 0..1.
        """
        options = self._options
        seen: dict[str, NDArray[Any]] = {}
        clouds = []
        for name in options.cameras:
            renderer = self._renderer(options.image_width, options.image_height)
            if not (options.depth or options.points):
                seen[f"camera_{name}"] = renderer.render(self._data, name)
                continue
            picture, depth = renderer.render_depth(self._data, name)
            seen[f"camera_{name}"] = picture
            if options.depth:
                seen[f"depth_{name}"] = depth
            if options.points:
                camera = self._data.cam(name)
                points = lift(
                    depth,
                    intrinsics(self._model, name, options.image_width, options.image_height),
                    camera.xpos,
                    camera.xmat.reshape(3, 3),
                )
                colours = picture.reshape(-1, 3).astype(np.float32) / 255
                clouds.append(np.concatenate([points, colours], axis=1))
        if clouds:
            seen["point_cloud"] = crop_and_thin(
                np.concatenate(clouds), POINT_BOX, options.points, random
            )
        return seen

    def render(
        self, camera: str, width: int | None = None, height: int | None = None
    ) -> NDArray[np.uint8]:
        """A picture (height, width, 3) for a person."""
        size = (
            self._options.render_width if width is None else width,
            self._options.render_height if height is None else height,
        )
        return self._renderer(*size).render(self._data, camera)

    def close(self) -> None:
        """Free the contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
