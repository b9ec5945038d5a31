"""Many table-top environments stepped at once, their physics on several threads."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import concatenate
from numpy.typing import NDArray

from bridle.sim.exceptions import SimulationError
from bridle.sim.stepping import Stepper, cores
from bridle.sim.tabletop import TabletopEnv

Infos = dict[str, Any]

_PLAIN = (bool, int, float, str, np.number)


class TabletopVectorEnv(SyncVectorEnv):
    """`gymnasium.vector.SyncVectorEnv` of table-top environments, bit for bit, but faster.

    Spaces, seeds, autoreset modes and infos are those of SyncVectorEnv; only `step` differs. A step
    sets all commands, runs the physics of the environments on `threads` threads, and then ends the
    steps one after the other, as `Stepper` explains.

    `mujoco.rollout` would run the same physics no faster (it is what `bridle benchmark sim`
    compares with), but works on copies of the states and leaves no contacts behind to look at.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], TabletopEnv]],
        *,
        threads: int | None = None,
        copy: bool = True,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        """Make the environments.

        Args:
            env_fns: makers of bare table-top environments with the same spaces.
            threads: threads that run physics, the caller's among them; None: one per core.
            copy: whether `step` and `reset` return observations of their own. Without, the same
                arrays are filled again and again.
            autoreset_mode: what happens when an episode has ended, as in SyncVectorEnv.

        Raises:
            SimulationError: there is no environment, one is not a bare table-top environment, or
                `threads` is below 1.
        """
        if not env_fns:
            raise SimulationError("a vector of environments needs at least one")
        if threads is not None and threads < 1:
            raise SimulationError(f"threads must be at least 1, got {threads}")
        super().__init__(env_fns, copy=copy, autoreset_mode=autoreset_mode)
        for env in self.envs:
            if not isinstance(env, TabletopEnv):
                raise SimulationError(
                    f"a vector with threads needs table-top environments without wrappers, got "
                    f"{env}; gymnasium.vector.SyncVectorEnv takes any"
                )
        self.tabletops = cast(list[TabletopEnv], self.envs)
        """The environments."""
        self.threads = min(threads or cores(), self.num_envs)
        self._stepper = Stepper(self.threads)

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Hold joint targets (n, 7) [rad] for one control step.

        Raises:
            SimulationError: the actions are not n times seven finite numbers.
        """
        if len(actions) != self.num_envs:
            raise SimulationError(
                f"{self.num_envs} environments need as many actions, got {len(actions)}"
            )
        # As SyncVectorEnv has it: without autoreset the caller resets what has ended.
        over = self._autoreset_envs
        assert self.autoreset_mode != AutoresetMode.DISABLED or not over.any(), over
        resets = over & (self.autoreset_mode == AutoresetMode.NEXT_STEP)
        running = [env for env, reset in zip(self.tabletops, resets, strict=True) if not reset]
        for env, action, reset in zip(self.tabletops, actions, resets, strict=True):
            if not reset:
                env.set_command(action)
        self._stepper.advance(running)
        seen: list[Any] = self._env_obs
        infos: list[Infos] = []
        finals: dict[int, Infos] = {}
        for i, env in enumerate(self.tabletops):
            if resets[i]:
                seen[i], info = env.reset()
                self._rewards[i], self._terminations[i], self._truncations[i] = 0.0, False, False
            else:
                (
                    seen[i],
                    self._rewards[i],
                    self._terminations[i],
                    self._truncations[i],
                    info,
                ) = env.end_step()
                ended = self._terminations[i] or self._truncations[i]
                if ended and self.autoreset_mode == AutoresetMode.SAME_STEP:
                    finals[i] = {"final_obs": seen[i], "final_info": info}
                    seen[i], info = env.reset()
            infos.append(info)
        self._observations = concatenate(self.single_observation_space, seen, self._observations)
        self._autoreset_envs = np.logical_or(self._terminations, self._truncations)
        return (
            deepcopy(self._observations) if self.copy else self._observations,
            self._rewards.copy(),
            self._terminations.copy(),
            self._truncations.copy(),
            self._merge(infos, finals),
        )

    def _merge(self, infos: Sequence[Infos], finals: Mapping[int, Infos]) -> Infos:
        """The infos of all environments as arrays with masks, as `VectorEnv._add_info` builds."""
        merged: Infos = {}
        keys = infos[0].keys()
        plain = all(isinstance(value, _PLAIN) for value in infos[0].values())
        if finals or not plain or any(info.keys() != keys for info in infos):
            for i, info in enumerate(infos):
                merged = self._add_info(merged, finals.get(i, {}), i)
                merged = self._add_info(merged, info, i)
            return merged
        for key, first in infos[0].items():
            kind = object if isinstance(first, str) else type(first)
            array = np.empty(self.num_envs, kind)
            for i, info in enumerate(infos):
                array[i] = info[key]
            merged[key], merged[f"_{key}"] = array, np.ones(self.num_envs, np.bool_)
        return merged

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads and close the environments."""
        stepper = getattr(self, "_stepper", None)
        if stepper is not None:
            stepper.close()
        super().close_extras(**kwargs)


def make_vector(
    task: str, count: int, *, threads: int | None = None, **options: Any
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """`count` environments of a task: a `TabletopVectorEnv`, or for other suites a SyncVectorEnv.

    Raises:
        SimulationError: there is no such task or option, or a number is below 1.
    """
    from bridle.sim import make

    if count < 1:
        raise SimulationError(f"count must be at least 1, got {count}")
    makers = [lambda: make(task, **options) for _ in range(count)]
    if ":" in task:
        return SyncVectorEnv(makers)
    return TabletopVectorEnv(makers, threads=threads)
