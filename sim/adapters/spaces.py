"""Spaces of Gymnasium environments as named keys and as one box of actions."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from bridle.sim.exceptions import SimulationError

Vector = NDArray[np.float64]
Path = tuple[Any, ...]


class NamedKeys:
    """An observation of any Gymnasium space as flat vectors with names.

    A Box is flattened, a Discrete or MultiDiscrete is one-hot, a Dict gives a key for each of its
    own, those of a Dict inside joined with `_`. What has no name, or is called `observation`, is
    `state`.
    """

    def __init__(self, name: str, space: spaces.Space[Any]) -> None:
        """Take a space apart.

        Raises:
            SimulationError: a part of it is not of these kinds, with `name` and what it is.
        """
        self._parts = {_key(path): (path, part) for path, part in _parts(name, space, ())}
        self.sizes = {key: spaces.flatdim(part) for key, (_, part) in self._parts.items()}
        """Key -> how many numbers it has."""

    def __call__(self, observation: Any) -> dict[str, Vector]:
        """Named vectors of an observation."""
        named = {}
        for key, (path, part) in self._parts.items():
            value = observation
            for step in path:
                value = value[step]
            named[key] = np.asarray(spaces.flatten(part, value), np.float64)
        return named


def _parts(
    name: str, space: spaces.Space[Any], path: Path
) -> Iterator[tuple[Path, spaces.Space[Any]]]:
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from _parts(name, inner, (*path, key))
    elif isinstance(
        space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    ):
        yield path, space
    else:
        raise SimulationError(f"{name}: observations of {type(space).__name__} are not supported")


def _key(path: Path) -> str:
    words = "_".join(re.sub(r"\W+", "_", str(step)) for step in path)
    return "state" if words in ("", "observation") else words


class Actions:
    """A box of float32 (n,) in place of a suite's action space.

    A Box is flattened. Of a Discrete every choice gets a weight in 0..1, and the heaviest is taken,
    the first of equals: a policy that regresses one-hot actions can be used as it is.
    """

    def __init__(self, name: str, space: spaces.Space[Any]) -> None:
        """Take a space.

        Raises:
            SimulationError: it is neither Box nor Discrete.
        """
        self._suite = space
        if isinstance(space, spaces.Discrete):
            self.space = spaces.Box(0.0, 1.0, (int(space.n),), np.float32)
            self.text = "weight of each choice; the heaviest is taken"
        elif isinstance(space, spaces.Box):
            low, high = (np.ravel(x).astype(np.float32) for x in (space.low, space.high))
            self.space = spaces.Box(low, high, dtype=np.float32)
            self.text = "the suite's own"
        else:
            raise SimulationError(
                f"{name}: actions of {type(space).__name__} are not supported, only Box and "
                "Discrete"
            )

    def __call__(self, action: NDArray[np.float32]) -> Any:
        """What the suite is given for one of our actions."""
        if isinstance(self._suite, spaces.Discrete):
            return int(self._suite.start + np.argmax(action))
        return action.reshape(self._suite.shape).astype(self._suite.dtype)


def flag(info: Mapping[str, Any], *names: str) -> bool | None:
    """The first of `names` that is in a suite's info, or None."""
    return next((bool(info[name]) for name in names if name in info), None)
