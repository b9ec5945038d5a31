"""Walks the one-step graph along a table, in host memory or without leaving a GPU."""

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.backends import KEPT, Graph, OnnxRuntime, Resident

Floats = NDArray[np.float32]


class Walk(Protocol):
    """One walk after the other along tables."""

    def begin(self, x: Floats, table: Floats, cond: Floats) -> None:
        """Start from x (B, state, A), along a table (K, columns), under a condition (B, C)."""
        ...

    def step(self, k: int) -> None:
        """Take step k; all those before it have been taken."""
        ...

    def state(self, k: int) -> Floats:
        """The state before step k."""
        ...

    def scores(self, n: int) -> Floats:
        """(n, B) the scores of the first n steps."""
        ...


class HostWalk:
    """Every step takes arrays and gives arrays."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def begin(self, x: Floats, table: Floats, cond: Floats) -> None:
        """See `Walk.begin`."""
        self._states, self._scores = [x], list[Floats]()
        self._table, self._cond = table, cond

    def step(self, k: int) -> None:
        """See `Walk.step`."""
        feed = {"x": self._states[k], "row": self._table[k], "cond": self._cond}
        following, score = self._graph(feed)
        self._states.append(following)
        self._scores.append(score)

    def state(self, k: int) -> Floats:
        """See `Walk.state`."""
        return self._states[k]

    def scores(self, n: int) -> Floats:
        """See `Walk.scores`."""
        return np.stack(self._scores[:n])


class ResidentWalk:
    """States, rows and scores of a walk stay on the device: nothing is copied between its steps.

    Every step has its own places for what it takes and gives, so its CUDA graph, which is recorded
    at these addresses, is replayed as it is. The table is copied there once.
    """

    def __init__(self, graph: OnnxRuntime) -> None:
        self._graph = graph
        self._kept: dict[tuple[Any, ...], _Places] = {}

    def begin(self, x: Floats, table: Floats, cond: Floats) -> None:
        """See `Walk.begin`."""
        key = (x.shape, cond.shape, table.shape, table.tobytes())
        places = self._kept.get(key)
        if places is None:
            # What is recorded is never given back, so not every batch and table can be.
            keep = len(self._kept) < KEPT
            places = _Places(self._graph, x, table, cond, record=keep)
            if keep:
                self._kept[key] = places
        places.states[0].update_inplace(x)
        places.cond.update_inplace(cond)
        self._places = places

    def step(self, k: int) -> None:
        """See `Walk.step`."""
        self._places.steps[k].run()

    def state(self, k: int) -> Floats:
        """See `Walk.state`."""
        copied: Floats = self._places.states[k].numpy()
        return copied

    def scores(self, n: int) -> Floats:
        """See `Walk.scores`."""
        return np.stack([score.numpy() for score in self._places.scores[:n]])


class _Places:
    """Where a walk happens, and its steps bound to that."""

    def __init__(
        self, graph: OnnxRuntime, x: Floats, table: Floats, cond: Floats, *, record: bool
    ) -> None:
        def resident(values: Iterable[Floats]) -> list[Any]:
            return [graph.resident(value) for value in values]

        self.states = resident([x] * (len(table) + 1))
        self.scores = resident([np.zeros(len(x), np.float32)] * len(table))
        self.cond = graph.resident(cond)
        self.steps: list[Resident] = []
        for k, row in enumerate(resident(table)):
            given = {"x": self.states[k], "row": row, "cond": self.cond}
            wanted = {"next": self.states[k + 1], "score": self.scores[k]}
            self.steps.append(graph.bind_resident(given, wanted, record=record))


def open_walk(graph: Graph) -> Walk:
    """The walk that suits what runs the graph."""
    if isinstance(graph, OnnxRuntime) and graph.device != "cpu":
        return ResidentWalk(graph)
    return HostWalk(graph)
