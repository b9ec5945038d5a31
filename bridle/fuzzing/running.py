"""One case: the guard in closed loop with the simulated robot."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.chunks import ActionChunk, ChunkRefused, StampClock, parse_chunk
from bridle.deploy.guard import Command, Guard, GuardError, GuardState, Mode
from bridle.deploy.robot import RobotDescription, RobotError
from bridle.fuzzing import clean
from bridle.fuzzing.clean import CleanWay
from bridle.fuzzing.connection import Connection
from bridle.fuzzing.geometry import Geometry
from bridle.fuzzing.people import USUAL, People
from bridle.fuzzing.places import Places
from bridle.fuzzing.rig import Rig
from bridle.fuzzing.setting import Scenario, Setting, among_people, draw, standing_still
from bridle.fuzzing.sources import Plan, Source, Sources

Vector = NDArray[np.float64]

AFTER = 0.5
"""Time that a robot has beyond the way of a policy that is well [s]."""
SETTLE = 0.35
"""In which the simulated robot, which follows with a lag of 50 ms, comes to rest after its command
[s]."""

_STARTS = 300


class World:
    """What all cases of one robot share."""

    def __init__(
        self,
        robot: RobotDescription,
        guard: Callable[[RobotDescription], Guard] = Guard,
        *,
        scenario: Scenario = "limits",
    ) -> None:
        """Take a robot with a model, what makes its guard, and what cases are about.

        Raises:
            RobotError: the robot has no model, or is none that can be simulated.
        """
        if scenario == "people" and robot.separation is None:
            robot = replace(robot, separation=USUAL)
        self.robot, self.guard, self.scenario = robot, guard(robot), scenario
        self.geometry, self.rig = Geometry(robot), Rig(robot)
        self.places = Places(self.geometry)


@dataclass(eq=False)
class Trace:
    """What happened in a case."""

    setting: Setting
    way: CleanWay | None
    begin: float
    """When the clean way begins [s]."""
    start: Vector
    commands: list[Vector] = field(default_factory=list)
    """(n,) [rad], one a tick."""
    times: list[float] = field(default_factory=list)
    """Of the ticks [s]."""
    at_rest: list[bool] = field(default_factory=list)
    modes: list[Mode] = field(default_factory=list)
    restarts: list[int] = field(default_factory=list)
    """Ticks before which the command was put where the robot is: by a reset, or because the robot
    stands and does not follow."""
    places: list[Vector] = field(default_factory=list)
    """Where the robot was seen then (n,) [rad]; the gripper, which may hold something, where it was
    commanded to."""
    seen: list[Vector] = field(default_factory=list)
    """Where the guard saw the robot in each tick (n,) [rad]."""
    people: list[Vector] = field(default_factory=list)
    """Where somebody was before and after each tick (2, people, 3) [m]."""
    radii: Vector = field(default_factory=lambda: np.zeros(0))
    """Of these (people,) [m]."""
    last_state: float = 0.0
    """When the last joint state arrived [s]."""
    last_observed: float = 0.0
    """Observation of the newest chunk accepted [s]."""
    chunks: list[ActionChunk] = field(default_factory=list)
    """Those accepted."""
    interventions: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    """Exceptions that nobody expects, and interventions `failure` and `check`."""


def run(world: World, seed: int, case: int, say: Callable[[str], None] | None = None) -> Trace:
    """Run a case; the simulated robot's own record is in `world.rig` until the next one.

    Args:
        world: robot, guard and simulator.
        seed: of the campaign.
        case: its number.
        say: is told what happens, for people.
    """
    return _Run(world, seed, case, say).to_the_end()


class _Run:
    """The state of a case."""

    def __init__(
        self, world: World, seed: int, case: int, say: Callable[[str], None] | None
    ) -> None:
        self.random = random = np.random.default_rng((seed, case))
        # What only some scenarios have leaves everything else as it is.
        own = np.random.default_rng((seed, case, 1))
        self.world, self.say = world, say
        self.guard, self.rig = world.guard, world.rig
        self.dt = self.guard.dt
        setting = draw(random)
        if world.scenario == "standstill":
            setting = standing_still(setting, own)
        if world.scenario == "people":
            setting = among_people(setting, own)
        start = self.rig.put(world.places.draw(random, setting.place), setting.grip)
        way = clean.find(world.geometry, start, random) if setting.clean else None
        for _ in range(_STARTS):
            if way is not None or not setting.clean:
                break
            start = self.rig.put(world.places.draw(random, setting.place), setting.grip)
            way = clean.find(world.geometry, start, random)
        if setting.clean and way is None:
            raise RobotError("hardly a motion of the robot is well inside all of its limits")
        # The policy sets off once its first chunk must have come.
        begin = 2 * setting.latency + 0.05
        self.end = setting.seconds
        if way is not None:
            self.end = begin + way.seconds + AFTER
        self.setting, self.trace = setting, Trace(setting, way, begin, start)
        sources = Sources(world.geometry, start, random)
        self.source: Source = sources.of(setting.kind) if way is None else sources.clean(way, begin)
        self.connection, self.stamps = Connection(setting, random), StampClock()
        self.t = 0.0
        self.seen = start
        self.seen_at = 0.0
        self.stamps.record(self.connection.stamp(0.0), 0.0)
        self.state: GuardState = self.guard.start(start, 0.0)
        self.people: People | None = None
        if world.scenario == "people":
            separation = world.robot.separation
            assert separation is not None
            anybody = not setting.clean
            self.people = People(world.geometry, separation, start, own, anybody=anybody)
            self.trace.radii = np.array([person.radius for person in self.people.everyone])
        self.next_plan = 0.0
        if say is not None:
            say(str(setting))
            say(f"start {np.round(start, 3).tolist()}")

    def _long_enough(self) -> bool:
        """Whether a robot that has to stop has had the time to."""
        if self.setting.cause is None:
            return True
        _, settled = due(self.world.robot, self.trace)
        return settled < len(self.trace.commands)

    def to_the_end(self) -> Trace:
        tick, setting = 0, self.setting
        while self.t < self.end or not self._long_enough():
            self._receive(tick)
            self._interfere()
            before, joined = self.state.q, self.state.joined
            self.state, command = self.guard.tick(self.state, self.seen, self.seen_at, self.t)
            now = self.state.joined
            if setting.stands_at is not None and now is not None and now is not joined:
                self._restart(before)
                self._tell("the command goes to the robot")
            self._note(tick, command)
            if self.people is not None and self.people.everyone:
                self.trace.people.append(self.people.move(self.rig.position, self.dt))
            self.rig.stands = setting.stands_at is not None and self.t >= setting.stands_at
            self.rig.execute(before, command.position)
            tick += 1
            self.t += self.dt * (1 + self._lateness())
        return self.trace

    def _lateness(self) -> float:
        setting, random = self.setting, self.random
        late = setting.jitter / self.dt * random.random() if setting.jitter else 0.0
        if setting.late and random.random() < setting.late:
            # The driver has commands in hand: the motion goes on as if nothing had happened, but
            # every clock has moved.
            late += float(random.integers(1, 5))
        return late

    def _lost(self, cause: str) -> bool:
        return self.setting.cause == cause and self.t >= self.setting.cause_at

    def _receive(self, tick: int) -> None:
        """Joint states, and chunks planned from them."""
        setting, connection = self.setting, self.connection
        if tick % setting.states_every == 0 and not self._lost("joint states"):
            self.seen, self.seen_at = self.rig.position, self.t
            self.stamps.record(connection.stamp(self.t), self.t)
            self.trace.last_state = self.t
        reported = None if self.people is None else self.people.report(self.t)
        if reported is not None:
            self.state = self.guard.see(self.state, reported, self.t)
        if self.t >= self.next_plan and not self._lost("silence"):
            connection.send(self.source(self.seen_at, self.seen), self.seen_at)
            self.next_plan = self.t + setting.every
        for message in connection.arrived(self.t):
            self._accept(message.stamp_ns, message.plan)

    def _accept(self, stamp: int, plan: Plan) -> None:
        try:
            chunk = parse_chunk(
                plan.names,
                plan.times,
                plan.positions,
                joint_names=self.world.robot.joint_names,
                observed_at=self.stamps.to_monotonic(stamp),
            )
            self.state = self.guard.accept(self.state, chunk, self.t)
        except ChunkRefused as error:
            self.trace.refusals[error.rule] += 1
            self._tell(str(error))
            return
        except Exception as error:
            self.trace.errors.append(f"chunk: {type(error).__name__}: {error}")
            return
        self.trace.chunks.append(chunk)
        self.trace.last_observed = chunk.observed_at
        self._tell(f"chunk of {chunk.observed_at:.3f} s accepted")

    def _interfere(self) -> None:
        """Persons, and the guardian of the policy."""
        setting, random = self.setting, self.random
        if self._lost("stop"):
            self.state = self.guard.stop(self.state, "a person", self.t)
        if self._lost("familiarity"):
            self.state = self.guard.advise(self.state, Mode.HOLD, "unfamiliar")
        if setting.flips and random.random() < 0.05:
            mode = (Mode.NOMINAL, Mode.CAUTION, Mode.HOLD)[random.integers(3)]
            speed = random.uniform(0.05, 1.0) if mode is Mode.CAUTION else 1.0
            self.state = self.guard.advise(self.state, mode, "it flips", speed)
            self._tell(f"advice {mode} {speed:.2f}")
        if setting.resets and random.random() < 0.02:
            self.state = self.guard.stop(self.state, "a person", self.t)
            self._tell("stop")
        if setting.resets and random.random() < 0.05:
            commanded = self.state.q
            try:
                self.state = self.guard.reset(self.state, self.seen, self.t)
            except GuardError:
                return
            self._restart(commanded)
            self._tell("reset")

    def _restart(self, commanded: Vector) -> None:
        """The command is now where the robot is seen, and where it was for the gripper."""
        n = self.world.geometry.n_arm
        self.trace.restarts.append(len(self.trace.commands))
        self.trace.places.append(np.append(self.seen[:n], commanded[n:]))

    def _note(self, tick: int, command: Command) -> None:
        trace = self.trace
        trace.commands.append(command.position)
        trace.seen.append(self.seen)
        trace.times.append(self.t)
        trace.at_rest.append(self.state.at_rest)
        if trace.modes and trace.modes[-1] is not command.mode:
            self._tell(f"{command.mode} {self.state.why}")
        trace.modes.append(command.mode)
        said = command.intervention
        if said is None:
            return
        trace.interventions[said.rule] += 1
        if said.rule in ("failure", "check"):
            trace.errors.append(f"tick {tick}: {said}")
        self._tell(str(said))

    def _tell(self, what: str) -> None:
        if self.say is not None:
            self.say(f"{self.t:7.3f} s  {what}")


def due(robot: RobotDescription, trace: Trace) -> tuple[int, int]:
    """From which tick on the commands, and the simulated robot, have to be at rest.

    Once the cause is known: after a watchdog, where nothing else tells of it. From full speed and
    full acceleration a stop takes v/a + 2a/j, and a period passes before it begins.
    """
    setting, watchdogs, limits = trace.setting, robot.watchdogs, robot.limits
    known = {
        "stop": setting.cause_at,
        "familiarity": setting.cause_at,
        "joint states": trace.last_state + watchdogs.joint_states,
        "silence": max(trace.last_observed + watchdogs.chunk, setting.cause_at),
    }[str(setting.cause)]
    seconds = limits.velocity / limits.acceleration + 2 * limits.acceleration / limits.jerk
    noticed = int(np.searchsorted(np.array(trace.times), known + 1e-9))
    rest = noticed + 1 + math.ceil(float(seconds.max()) * robot.rates.command)
    return rest, rest + math.ceil(SETTLE * robot.rates.command)
