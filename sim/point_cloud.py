"""Points from a depth picture: the pinhole camera, backwards."""

import mujoco
import numpy as np
from numpy.typing import NDArray

CELL = 0.01
"""Edge of the cubes of space of which one point each is kept [m]."""
SHADES = 8
"""Levels of red, green and blue that are told apart where points are thinned out."""


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


def crop_and_thin(
    points: NDArray[np.float32],
    box: NDArray[np.float64],
    count: int,
    random: np.random.Generator,
) -> NDArray[np.float32]:
    """`count` points that show every thing in a box, however few pixels it has.

    Pixels are many where a camera is near, and most are of the table. So of the points of each cube
    of space one is kept, and of those the ones of a rare colour are drawn more often: a mark on the
    table, which has no height, is seen as well as what stands on it.

    Args:
        points: position [m] and colour in 0..1 of each (N, 6).
        box: lower and upper corner (2, 3) [m]; points outside are left out.
        count: points to return. Too few are repeated; zeros when there are none.
        random: decides which.

    Returns:
        (count, 6), in no order.
    """
    inside = ((points[:, :3] >= box[0]) & (points[:, :3] <= box[1])).all(axis=1)
    points = random.permutation(points[inside])
    if not len(points):
        return np.zeros((count, 6), np.float32)
    cells = ((points[:, :3] - box[0]) / CELL).astype(np.int64)
    points = points[_first_of_each(cells)]
    if len(points) > count:
        shades = _numbered(np.minimum((points[:, 3:] * SHADES).astype(np.int64), SHADES - 1))
        rarity = 1 / np.sqrt(np.bincount(shades)[shades])
        # The first `count` of a race in which the rare are fast: a weighted draw without
        # repetition (Efraimidis and Spirakis 2006).
        arrival = random.exponential(size=len(points)) / rarity
        return points[np.argpartition(arrival, count)[:count]]
    again = random.integers(len(points), size=count - len(points))
    return np.concatenate([points, points[again]])


def _numbered(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for each triple (N, 3) of numbers from 0 on."""
    sizes = cells.max(axis=0) + 1
    numbers: NDArray[np.int64] = np.ravel_multi_index(tuple(cells.T), tuple(sizes))
    return numbers


def _first_of_each(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each triple (N, 3) occurs first."""
    first: NDArray[np.int64] = np.unique(_numbered(cells), return_index=True)[1]
    return first
