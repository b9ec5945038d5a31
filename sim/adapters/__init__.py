"""Environments of other suites in our terms: `gym:Hopper-v5`, `ogbench:cube-single-v0`, ...

One file a suite; docs/adapters.md says what each gives.
"""

from difflib import get_close_matches
from importlib import import_module
from typing import Any

from bridle.sim.adapters.base import AdaptedEnv
from bridle.sim.adapters.interface import Demonstrator, Environment
from bridle.sim.exceptions import SimulationError

__all__ = ["SUITES", "AdaptedEnv", "Demonstrator", "Environment", "make"]

SUITES = {
    "gym": "any environment that Gymnasium knows",
    "ogbench": "OGBench's manipulation tasks on a UR5e, with experts",
    "pointmaze": "OGBench's point mazes with places that it costs to enter, with experts",
    "metaworld": "Meta-World's fifty tasks on a Sawyer, with experts",
    "robotics": "Gymnasium-Robotics: Fetch, Shadow and Adroit hands, Franka kitchen, mazes",
}
"""Prefix -> what it has; each lives in `bridle.sim.adapters.<prefix>` and has a `make(task)`."""


def make(name: str, **options: Any) -> AdaptedEnv:
    """An environment of another suite.

    Args:
        name: `<suite>:<task>`, with a suite of `SUITES`.
        options: `View`, what the suite's `make` takes, and what its environments take.

    Raises:
        SimulationError: there is no such suite, task or option, or the suite is not installed or
            does not fit the installed MuJoCo.
    """
    suite, _, task = name.partition(":")
    if suite not in SUITES:
        near = get_close_matches(suite, SUITES, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise SimulationError(f"there is no suite {suite!r}{hint}; suites: {', '.join(SUITES)}")
    if not task:
        raise SimulationError(f"{name!r} names no task; give {suite}:TASK")
    adapter = import_module(f"bridle.sim.adapters.{suite}")
    try:
        env: AdaptedEnv = adapter.make(task, **options)
    except TypeError as error:
        raise SimulationError(f"{name}: {' '.join(str(error).split())}") from error
    return env
