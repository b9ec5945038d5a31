"""What may be asked of a table-top environment beside its task."""

from dataclasses import dataclass
from typing import Literal, get_args

from bridle.sim.exceptions import SimulationError
from bridle.sim.scene import CAMERAS, MAX_DISTRACTORS
from bridle.sim.variation import VARIATIONS, Variation

Visuals = Literal["lowpoly", "full"]
Reward = Literal["sparse", "shaped"]
MAX_WIDTH, MAX_HEIGHT = 1280, 960


@dataclass(frozen=True)
class TabletopOptions:
    """Options of a table-top environment.

    Raises:
        SimulationError: a value is not one of those allowed.
    """

    cameras: tuple[str, ...] = ()
    """Cameras to observe: `front`, `wrist`; each gives `camera_<name>`."""
    depth: bool = False
    """Whether to observe `depth_<name>` of these cameras, too."""
    points: int = 0
    """Points of `point_cloud`, lifted from the depth of these cameras; 0 for none."""
    image_width: int = 96
    """Pixels of an observed picture."""
    image_height: int = 96
    """Pixels of an observed picture."""
    visuals: Visuals = "lowpoly"
    """`lowpoly` shows collision shapes without shadows, fast; `full` meshes with shadows."""
    randomise: tuple[Variation, ...] = ()
    """What differs from episode to episode beside the layout: physics, colours, lights, cameras."""
    distractors: int = 0
    """Things on the table that are not meant."""
    reward: Reward = "sparse"
    """`sparse`: 1 on success. `shaped`: the progress made in the step on top of it."""
    render_width: int = 320
    """Pixels of `render()`."""
    render_height: int = 240
    """Pixels of `render()`."""

    def __post_init__(self) -> None:
        for name, allowed in (("cameras", CAMERAS), ("randomise", VARIATIONS)):
            given = getattr(self, name)
            given = (given,) if isinstance(given, str) else tuple(given)
            object.__setattr__(self, name, given)
            unknown = [value for value in given if value not in allowed]
            if unknown or len(set(given)) != len(given):
                raise SimulationError(f"{name} must be of {', '.join(allowed)}, got {given}")
        for name, kinds in (("visuals", get_args(Visuals)), ("reward", get_args(Reward))):
            if getattr(self, name) not in kinds:
                raise SimulationError(
                    f"{name} must be one of {', '.join(kinds)}, got {getattr(self, name)!r}"
                )
        for name, least, most in (
            ("points", 0, 100_000),
            ("distractors", 0, MAX_DISTRACTORS),
            ("image_width", 1, MAX_WIDTH),
            ("image_height", 1, MAX_HEIGHT),
            ("render_width", 1, MAX_WIDTH),
            ("render_height", 1, MAX_HEIGHT),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise SimulationError(f"{name} must lie in {least} to {most}, got {value!r}")
        if (self.depth or self.points) and not self.cameras:
            raise SimulationError("depth and points need cameras, e.g. cameras=('front',)")

    @property
    def lowpoly(self) -> bool:
        """Whether collision shapes are what is seen."""
        return self.visuals == "lowpoly"
