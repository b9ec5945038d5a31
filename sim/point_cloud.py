"""Points from a depth picture: the pinhole camera, backwards."""

import mujoco
import numpy as np
from numpy.typing import NDArray


def intrinsics(model: mujoco.MjModel, camera: str, width: int, height: int) -> NDArray[np.float64]:
    """Camera matrix K (3, 3) of a named camera [px]; the centre of pixel (0, 0) is (0.5, 0.5)."""
    focal = 0.5 * height / np.tan(0.5 * np.deg2rad(model.cam(camera).fovy[0]))
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def lift(
    depth: NDArray[np.float32],
    camera_matrix: NDArray[np.float64],
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Points of a depth picture in the base frame.

    Args:
        depth: distance along the viewing axis (H, W) [m].
        camera_matrix: K (3, 3) [px].
        position: of the camera (3,) [m].
        rotation: of the camera (3, 3), in MuJoCo's convention: it looks along its -z, y is up.

    Returns:
        (H * W, 3) [m], in the order of the pixels.
    """
    height, width = depth.shape
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack(
        [
            (u - camera_matrix[0, 2]) / camera_matrix[0, 0],
            -(v - camera_matrix[1, 2]) / camera_matrix[1, 1],
            -np.ones_like(u),
        ],
        axis=-1,
    )
    points = (rays * depth[..., None]).reshape(-1, 3) @ rotation.T + position
    return points.astype(np.float32)


def crop_and_sample(
    points: NDArray[np.float32],
    box: NDArray[np.float64],
    count: int,
    random: np.random.Generator,
) -> NDArray[np.float32]:
    """`count` of the points (N, 3 + c) whose position lies in `box` (2, 3) [m].

    Drawn without repetition while there are enough, with it when there are fewer; zeros when there
    are none.
    """
    inside = ((points[:, :3] >= box[0]) & (points[:, :3] <= box[1])).all(axis=1)
    points = points[inside]
    if not len(points):
        return np.zeros((count, points.shape[1]), np.float32)
    chosen = random.choice(len(points), count, replace=len(points) < count)
    return points[chosen]
