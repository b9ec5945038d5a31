"""Separate environments stepped side by side, the physics of table-top ones on several threads."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.sim.adapters.interface import Environment, StepResult
from bridle.sim.exceptions import SimulationError
from bridle.sim.tabletop import PHYSICS_STEPS, TabletopEnv


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Stepper:
    """Steps environments that may begin and end when they like; what happens in each is the same.

    MuJoCo releases the interpreter's lock while physics runs. Observations and rewards are Python,
    which runs on one thread anyway, and so do OpenGL contexts: they are made one after the other on
    the thread of the caller. Whichever thread is free takes the next environment, so that one with
    many contacts keeps nobody waiting.
    """

    def __init__(self, threads: int | None = None) -> None:
        """Start the threads.

        Args:
            threads: threads that run physics, the caller's among them; None: one per core.

        Raises:
            SimulationError: `threads` is below 1.
        """
        if threads is not None and threads < 1:
            raise SimulationError(f"threads must be at least 1, got {threads}")
        self.threads = threads or cores()
        self._pool: ThreadPoolExecutor | None = None
        if self.threads > 1:
            self._pool = ThreadPoolExecutor(self.threads - 1, "physics")

    def advance(self, envs: Sequence[TabletopEnv]) -> None:
        """Run the physics of one control step in each."""
        # A list's iterator gives every element once, whichever thread asks.
        todo = iter(envs)
        helpers = []
        if self._pool is not None:
            wanted = min(self.threads, len(envs)) - 1
            helpers = [self._pool.submit(_advance_each, todo) for _ in range(wanted)]
        _advance_each(todo)
        for helper in helpers:
            helper.result()

    def step(
        self, envs: Sequence[Environment], actions: Sequence[NDArray[Any]] | NDArray[np.float32]
    ) -> list[StepResult]:
        """Hold an action for one control step in each: what `step` of each returns.

        Raises:
            SimulationError: an action does not fit its environment.
        """
        tabletops = []
        for env, action in zip(envs, actions, strict=True):
            if isinstance(env, TabletopEnv):
                env.set_command(action)
                tabletops.append(env)
        self.advance(tabletops)
        return [
            env.end_step() if isinstance(env, TabletopEnv) else env.step(action)
            for env, action in zip(envs, actions, strict=True)
        ]

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def _advance_each(todo: Iterator[TabletopEnv]) -> None:
    for env in todo:
        env.advance(PHYSICS_STEPS)
