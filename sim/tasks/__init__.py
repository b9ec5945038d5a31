"""The tasks. Adding one is a file here and a line in `TASKS`."""

from bridle.sim.tabletop import TabletopEnv
from bridle.sim.tasks.drawer import Drawer
from bridle.sim.tasks.insert import Insert
from bridle.sim.tasks.pick_place import PickPlace
from bridle.sim.tasks.pick_place_memory import PickPlaceMemory
from bridle.sim.tasks.pick_place_post import PickPlacePost
from bridle.sim.tasks.push import Push
from bridle.sim.tasks.reach import Reach
from bridle.sim.tasks.sort import Sort
from bridle.sim.tasks.sort_one import SortOne
from bridle.sim.tasks.stack import Stack

TASKS: dict[str, type[TabletopEnv]] = {
    "reach": Reach,
    "push": Push,
    "pick-place": PickPlace,
    "pick-place-post": PickPlacePost,
    "pick-place-memory": PickPlaceMemory,
    "stack": Stack,
    "drawer": Drawer,
    "insert": Insert,
    "sort": Sort,
    "sort-one": SortOne,
}
"""Name -> environment; each is also the Gymnasium id `bridle/<name>-v0`."""
