"""Which MuJoCo a suite runs on."""

import re

import mujoco

from bridle.sim.exceptions import SimulationError


def installed() -> tuple[int, ...]:
    """Version of the installed MuJoCo, (major, minor)."""
    return tuple(int(part) for part in re.findall(r"\d+", mujoco.__version__)[:2])


def require_mujoco_below(version: tuple[int, int], name: str, what_to_do: str) -> None:
    """Refuse an environment that does not run on the installed MuJoCo.

    Raises:
        SimulationError: the installed one is `version` or newer.
    """
    if installed() >= version:
        wanted = ".".join(map(str, version))
        raise SimulationError(
            f"{name} needs a MuJoCo below {wanted}, and {mujoco.__version__} is installed: "
            f"{what_to_do}"
        )
