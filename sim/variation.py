"""Episodes that differ in more than their layout: physics, colours, lights, the camera's pose."""

from typing import Literal, get_args

import mujoco
import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

Variation = Literal["physics", "colours", "lights", "cameras"]
VARIATIONS: tuple[Variation, ...] = get_args(Variation)


class Randomiser:
    """Draws an episode's physics and looks, each time from what the model was built with.

    - physics: sliding friction of everything x 0.7 to 1.3, mass and inertia of what lies on the
      table x 0.6 to 1.6, stiffness of each joint's servo x 0.9 to 1.1 (its damping with it);
    - colours: of table, floor, robot and things, each channel +-0.12;
    - lights: direction +-0.3 per axis, brightness x 0.6 to 1.4;
    - cameras: position +-3 cm (`wrist` 3 mm), turned by up to 3 degrees, field of view +-2 degrees.

    Domain randomisation as in Tobin et al. 2017 (arXiv 1703.06907) and Peng et al. 2018 (arXiv
    1710.06537).
    """

    def __init__(self, model: mujoco.MjModel, kinds: tuple[Variation, ...]) -> None:
        """Vary `kinds` of a model, which must be the caller's own."""
        self._model, self._kinds = model, kinds
        self._movable = np.array(
            [model.body(i).name for i in range(model.nbody) if model.body_dofnum[i] == 6], object
        )
        names = (
            "geom_friction", "body_mass", "body_inertia", "actuator_gainprm", "actuator_biasprm",
            "geom_rgba", "light_dir", "light_diffuse", "cam_pos", "cam_quat", "cam_fovy",
        )  # fmt: skip
        self._built = {name: getattr(model, name).copy() for name in names}

    def apply(self, random: np.random.Generator) -> None:
        """Draw an episode."""
        for name, built in self._built.items():
            getattr(self._model, name)[:] = built
        for kind in self._kinds:
            getattr(self, f"_{kind}")(random)

    def _physics(self, random: np.random.Generator) -> None:
        model = self._model
        model.geom_friction[:, 0] *= random.uniform(0.7, 1.3)
        for name in self._movable:
            share = random.uniform(0.6, 1.6)
            body = model.body(name)
            body.mass *= share
            body.inertia *= share
        stiffness = random.uniform(0.9, 1.1, (model.nu, 1))
        model.actuator_gainprm *= stiffness
        model.actuator_biasprm *= stiffness
        # What follows from masses is computed once, at compilation.
        mujoco.mj_setConst(model, mujoco.MjData(model))

    def _colours(self, random: np.random.Generator) -> None:
        rgb = self._model.geom_rgba[:, :3]
        rgb += random.uniform(-0.12, 0.12, rgb.shape)
        np.clip(rgb, 0.0, 1.0, out=rgb)

    def _lights(self, random: np.random.Generator) -> None:
        direction = self._model.light_dir
        direction += random.uniform(-0.3, 0.3, direction.shape)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        self._model.light_diffuse *= random.uniform(0.6, 1.4)

    def _cameras(self, random: np.random.Generator) -> None:
        model = self._model
        for i in range(model.ncam):
            reach = 0.003 if model.cam(i).name == "wrist" else 0.03
            model.cam_pos[i] += random.uniform(-reach, reach, 3)
            turn, turned = np.empty(4), np.empty(4)
            axis = random.standard_normal(3)
            mujoco.mju_axisAngle2Quat(
                turn, axis / np.linalg.norm(axis), np.deg2rad(random.uniform(0, 3))
            )
            mujoco.mju_mulQuat(turned, model.cam_quat[i], turn)
            model.cam_quat[i] = turned
            model.cam_fovy[i] += random.uniform(-2, 2)
