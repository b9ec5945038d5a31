"""The tasks. Adding one is a file here and a line in `TASKS`."""

from bridle.sim.tabletop import TabletopEnv
from bridle.sim.tasks.pick_place import PickPlace

TASKS: dict[str, type[TabletopEnv]] = {"pick-place": PickPlace}
"""Name -> environment; each is also the Gymnasium id `bridle/<name>-v0`."""
