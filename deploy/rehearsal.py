"""A policy as it is deployed, in a simulation whose time is counted and not waited for.

`PolicyServer` and `Guard` are the ones of the robot; topics and clocks are not. What an inference
takes is given in control steps, so that an episode is the same on every machine.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.bundle import Bundle
from bridle.deploy.chunks import ActionChunk, ChunkRefused
from bridle.deploy.execution import ExecutionConfig
from bridle.deploy.familiarity.guardian import Guardian
from bridle.deploy.familiarity.watching import Listener
from bridle.deploy.guard import Guard, GuardState, Mode
from bridle.deploy.robot import RobotDescription, load_robot
from bridle.deploy.runtime import Runtime
from bridle.deploy.senses import Observation
from bridle.deploy.serving import PolicyServer, TimedChunk
from bridle.deploy.steering import SteeringConfig

Array = NDArray[Any]
Vector = NDArray[np.float64]


class SimulatedRobot(Protocol):
    """A robot and its surroundings, moved by joint commands: every task of `bridle.sim` is one."""

    @property
    def physics_dt(self) -> float:
        """Time of a physics step [s]."""
        ...

    def joint_state(self) -> tuple[Vector, Vector]:
        """Measured positions (n,) [rad] and velocities (n,) [rad/s]."""
        ...

    def set_command(self, position: Vector) -> None:
        """Command absolute joint positions (n,) [rad]."""
        ...

    def advance(self, physics_steps: int) -> None:
        """Run the physics under the present command."""
        ...

    def observe(self) -> Mapping[str, Array]:
        """The observation of this instant."""
        ...

    def end_unseen(self) -> tuple[float, bool, bool, Mapping[str, Any]]:
        """End a control step, as a Gymnasium environment does, but for the observation."""
        ...


@dataclass(frozen=True)
class RehearsalConfig:
    """How the policy is deployed."""

    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    """How a chunk follows the one before."""
    delay: int = 0
    """Control steps that an inference takes."""
    every: int | None = None
    """Control steps between observations that are planned from, at least `delay`; None: as the
    server asks for (`PolicyServer.replan_seconds`)."""
    heeded: bool = False
    """Whether the robot goes slower, or is held, where a calibrated bundle calls for it."""
    max_steps: int = 10_000
    """Control steps after which an episode ends in any case."""

    def __post_init__(self) -> None:
        if self.delay < 0 or self.max_steps < 1:
            raise ValueError(
                f"delay must not be negative and max_steps at least 1, got {self.delay}, "
                f"{self.max_steps}"
            )
        if self.every is not None and self.every < max(1, self.delay):
            raise ValueError(
                f"every must be at least 1 and at least the delay {self.delay}, got {self.every}"
            )


@dataclass(frozen=True)
class Episode:
    """What happened."""

    success: bool
    cost: float
    """Control steps at which something was touched that must not be."""
    steps: int
    """Control steps."""
    chunks: tuple[TimedChunk, ...]
    holds: int
    """Times that the guard brought the robot to a stop."""
    refused: int
    """Chunks that it refused."""


class Rehearsal:
    """Runs a bundle as its robot would."""

    def __init__(
        self,
        bundle: Bundle,
        config: RehearsalConfig | None = None,
        *,
        listener: Listener | None = None,
    ) -> None:
        """Load the policy.

        Args:
            bundle: verified.
            config: how it is deployed.
            listener: is told of every chunk that is sampled.

        Raises:
            InferenceError: the policy cannot be executed so.
            BundleError: it is to be heeded, and not calibrated for that.
        """
        self.config = config = RehearsalConfig() if config is None else config
        self.manifest = manifest = bundle.manifest
        self._bundle, self._runtime, self._listener = bundle, Runtime(bundle), listener
        self._guardian: Guardian | None = None
        if config.heeded:
            self._guardian = Guardian(bundle, self._runtime, config.execution)
        longest = config.delay + (config.every or max(config.delay, manifest.n_action_steps))
        self._robot = patient(load_robot(manifest.robot), longest * manifest.dt)
        self.kinematics = self._server(0, lambda: 0.0).kinematics

    def _server(self, seed: int, clock: Callable[[], float]) -> PolicyServer:
        return PolicyServer(
            self._bundle,
            self._runtime,
            seed=seed,
            steering=SteeringConfig(),
            execution=self.config.execution,
            guardian=self._guardian,
            listener=self._listener,
            clock=clock,
        )

    def run(self, env: SimulatedRobot, seed: int, instruction: str | None = None) -> Episode:
        """One episode from where `env` stands.

        Args:
            env: freshly reset.
            seed: of the sampling noise.
            instruction: for a policy that reads one.
        """
        return _Run(self, env, seed, instruction).to_the_end()


def patient(robot: RobotDescription, seconds: float) -> RobotDescription:
    """A robot whose guard waits long enough for chunks that are so old when the next one comes."""
    dogs = robot.watchdogs
    return replace(
        robot,
        watchdogs=replace(
            dogs,
            chunk=max(dogs.chunk, seconds + 0.1),
            chunk_arrival=max(dogs.chunk_arrival, seconds + 0.05),
        ),
    )


class _Run:
    """One episode."""

    def __init__(
        self, rehearsal: Rehearsal, env: SimulatedRobot, seed: int, instruction: str | None
    ) -> None:
        self.config = rehearsal.config
        self.env, self.dt = env, rehearsal.manifest.dt
        self.n_obs_steps = rehearsal.manifest.n_obs_steps
        self.now = 0.0
        self.server = rehearsal._server(seed, lambda: self.now)
        if instruction is not None and rehearsal.manifest.follows_instructions:
            self.server.instruct(instruction)
        self.guard = Guard(rehearsal._robot)
        self.state: GuardState = self.guard.start(env.joint_state()[0].copy(), 0.0)
        self.under_way: deque[tuple[int, TimedChunk, float]] = deque()
        self.chunks: list[TimedChunk] = []
        self.refused = 0
        self.due = 0

    def to_the_end(self) -> Episode:
        success, cost = False, 0.0
        for step in range(self.config.max_steps):
            # What no plan will see is not drawn.
            if step > self.due - self.n_obs_steps:
                self._observe(step)
            if step >= self.due:
                self._plan(step)
            self._deliver(step)
            self._execute(step)
            _, terminated, truncated, info = self.env.end_unseen()
            success, cost = bool(info["success"]), cost + float(info["cost"])
            if terminated or truncated:
                break
        return Episode(success, cost, step + 1, tuple(self.chunks), self.state.holds, self.refused)

    def _observe(self, step: int) -> None:
        position, velocity = (x.copy() for x in self.env.joint_state())
        seen = self.env.observe()
        extra = {key: seen[key] for key in self.server.extra_keys if key in seen}
        now = step * self.dt
        self.server.observe(Observation(round(1e9 * now), now, position, velocity, extra))

    def _plan(self, step: int) -> None:
        self.now = (step + self.config.delay) * self.dt
        chunk = self.server.plan()
        self.chunks.append(chunk)
        self.under_way.append((step + self.config.delay, chunk, step * self.dt))
        every = self.config.every or int(np.ceil(self.server.replan_seconds / self.dt - 1e-6))
        self.due = step + max(1, self.config.delay, every)

    def _deliver(self, step: int) -> None:
        while self.under_way and self.under_way[0][0] == step:
            _, chunk, observed_at = self.under_way.popleft()
            if (said := chunk.assessment) is not None:
                mode, speed = Mode(said.level), said.speed_scale or 1.0
                self.state = self.guard.advise(self.state, mode, said.why, speed)
            try:
                planned = ActionChunk(observed_at, chunk.times, chunk.positions)
                self.state = self.guard.accept(self.state, planned, step * self.dt)
            except ChunkRefused:
                self.refused += 1

    def _execute(self, step: int) -> None:
        """The guard's ticks of one control step."""
        ticks = round(self.dt / self.guard.dt)
        physics_steps = round(self.guard.dt / self.env.physics_dt)
        for tick in range(ticks):
            now = step * self.dt + tick * self.guard.dt
            measured = self.env.joint_state()[0].copy()
            before = self.state.q
            self.state, command = self.guard.tick(self.state, measured, now, now)
            for k in range(1, physics_steps + 1):
                share = k / physics_steps
                self.env.set_command(before + share * (command.position - before))
                self.env.advance(1)
