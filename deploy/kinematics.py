"""Forward and inverse kinematics of the arm on the robot side, from the bundle's MJCF."""

from pathlib import Path

import mink
import mujoco
import numpy as np
from numpy.typing import NDArray

from bridle.deploy.exceptions import KinematicsError
from bridle.deploy.inspection import inspect_kinematic_model

Vector = NDArray[np.float64]

TCP_SITE = "tcp"
POSITION_TOLERANCE = 1e-4
"""A shifted pose counts as reached within this distance [m]."""


class Kinematics:
    """The arm's chain of hinge joints from the base to the tool centre point (site `tcp`)."""

    def __init__(self, mjcf: str | bytes | Path) -> None:
        """Compile a kinematic model.

        Args:
            mjcf: XML text, or the path of a file that holds it.

        Raises:
            KinematicsError: the model does not compile, has a joint that is no hinge, or no `tcp`.
        """
        text = mjcf.read_text() if isinstance(mjcf, Path) else mjcf
        try:
            xml = text.decode() if isinstance(text, bytes) else text
            inspect_kinematic_model(xml)
            self.model = mujoco.MjModel.from_xml_string(xml)
        except KinematicsError:
            raise
        except (ValueError, mujoco.FatalError) as error:
            why = " ".join(str(error).split())
            raise KinematicsError(f"the kinematic model does not compile: {why}") from error
        if (self.model.jnt_type != mujoco.mjtJoint.mjJNT_HINGE).any():
            raise KinematicsError("the kinematic model may have hinge joints only")
        if mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_SITE, TCP_SITE) < 0:
            raise KinematicsError(f"the kinematic model has no site '{TCP_SITE}'")
        self.joint_names = tuple(self.model.joint(i).name for i in range(self.model.njnt))
        self._configuration = mink.Configuration(self.model)
        self._task = mink.FrameTask(TCP_SITE, "site", position_cost=1.0, orientation_cost=0.3)
        self._limits = [mink.ConfigurationLimit(self.model)]

    @property
    def n_joints(self) -> int:
        """Joints of the arm; more columns of a chunk (a gripper) are left alone."""
        return int(self.model.njnt)

    def tool_position(self, q: Vector) -> Vector:
        """Position of the tool centre point in the base frame, (3,) [m], for joints (>= n,)."""
        self._configuration.update(np.asarray(q, np.float64)[: self.n_joints])
        position: Vector = self._configuration.data.site(TCP_SITE).xpos.copy()
        return position

    def tool_pose(self, q: Vector) -> Vector:
        """Position [m] and the first two columns of the rotation matrix, (9,)."""
        position = self.tool_position(q)
        rotation = self._configuration.data.site(TCP_SITE).xmat.reshape(3, 3)
        return np.concatenate([position, rotation[:, 0], rotation[:, 1]])

    def shift(self, path: Vector, offsets: Vector) -> Vector:
        """Move the tool along a joint path by offsets, keeping its orientation.

        Args:
            path: (H, >= n) joint positions [rad].
            offsets: (3,) for the whole path or (H, 3), in the base frame [m].

        Returns:
            (H, >= n) joint positions [rad]; further columns are copied.

        Raises:
            KinematicsError: a shifted pose is out of reach.
        """
        shifted = np.array(path, np.float64)
        correction = np.zeros(self.n_joints)
        each = np.broadcast_to(offsets, (len(shifted), 3))
        for i, (q, offset) in enumerate(zip(shifted[:, : self.n_joints].copy(), each, strict=True)):
            self._configuration.update(q)
            target = self._configuration.get_transform_frame_to_world(TCP_SITE, "site")
            self._task.set_target(
                mink.SE3.from_rotation_and_translation(
                    target.rotation(), target.translation() + offset
                )
            )
            # The correction hardly changes along the path: start from the last one.
            shifted[i, : self.n_joints] = self._solve(q + correction, offset)
            correction = shifted[i, : self.n_joints] - q
        return shifted

    def _solve(self, start: Vector, offset: Vector) -> Vector:
        self._configuration.update(start)
        for _ in range(20):
            error = self._task.compute_error(self._configuration)
            if np.linalg.norm(error[:3]) < POSITION_TOLERANCE:
                solution: Vector = self._configuration.q.copy()
                return solution
            try:
                velocity = mink.solve_ik(
                    self._configuration, [self._task], 1.0, "daqp", 1e-6, limits=self._limits
                )
            except mink.MinkError as problem:
                raise KinematicsError(f"no joint motion shifts the tool: {problem}") from problem
            self._configuration.integrate_inplace(velocity, 1.0)
        direction = ", ".join(f"{x * 100:.1f}" for x in offset)
        raise KinematicsError(f"a tool shifted by ({direction}) cm is out of reach")
