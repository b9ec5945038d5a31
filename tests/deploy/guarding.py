"""A small robot behind a guard: builders, a closed loop, and the invariants of its commands."""

import numpy as np

from bridle.deploy.chunks import ActionChunk
from bridle.deploy.guard import Guard
from bridle.deploy.robot import Joint, Rates, RobotDescription, Watchdogs

WATCHDOGS = Watchdogs(joint_states=0.05, chunk=0.5, chunk_arrival=0.3)


def make_robot(
    position=((-1.0, 1.0), (-2.0, 2.0)),
    velocity=(2.0, 3.0),
    acceleration=(10.0, 20.0),
    tolerance=(0.35, None),
    rate=200.0,
    latency=0.01,
    workspace=None,
    jerk=None,
    **further,
):
    """With a jerk that reaches the acceleration in 10 ms, and any optional key of the robot."""
    if jerk is None:
        jerk = tuple(100.0 * a for a in acceleration)
    joints = tuple(
        Joint(f"joint_{i}", *row)
        for i, row in enumerate(zip(position, velocity, acceleration, jerk, tolerance, strict=True))
    )
    return RobotDescription(
        "small", joints, Rates(rate, 20.0), latency, WATCHDOGS, workspace, **further
    )


def constant(q, now, horizon=1.0):
    """A chunk that asks for `q` from now on."""
    return ActionChunk(now, np.array([0.0, horizon]), np.array([q, q], float))


class Loop:
    """A guard in closed loop with joints that follow their commands with a first-order lag."""

    def __init__(self, guard: Guard, q, lag=0.03):
        self.guard, self.lag = guard, lag
        self.now = 100.0
        self.measured = np.array(q, float)
        self.state = guard.start(self.measured, self.now)
        self.commands = []
        self.history = [[self.state.q]]

    def tick(self, elapsed=None, measured=None, age=0.0):
        """One control period; `elapsed` is the real time that passed [s]."""
        elapsed = self.guard.dt if elapsed is None else elapsed
        self.now += elapsed
        seen = self.measured if measured is None else measured
        self.state, command = self.guard.tick(self.state, seen, self.now - age, self.now)
        lag = max(self.lag, 1e-9)
        self.measured = self.measured + (command.position - self.measured) * -np.expm1(
            -elapsed / lag
        )
        self.commands.append(command)
        self.history[-1].append(command.position)
        return command

    def accept(self, chunk):
        self.state = self.guard.accept(self.state, chunk, self.now)

    def ask(self, q, latency=0.0):
        """Accept a chunk that asks for `q`, observed `latency` ago."""
        self.accept(constant(q, self.now - latency))

    def follow(self, q, seconds, every=0.1):
        """Ask for `q` anew every so often."""
        period = max(1, round(every / self.guard.dt))
        for k in range(round(seconds / self.guard.dt)):
            if k % period == 0:
                self.now += 1e-9
                self.ask(q)
            self.tick()

    def reset(self):
        self.state = self.guard.reset(self.state, self.measured, self.now)
        self.history.append([self.state.q])

    def rest(self, limit=2000):
        """Tick without anything new until the command is at rest; the number of ticks."""
        for k in range(limit):
            self.tick(age=1.0)
            if self.state.at_rest:
                return k + 1
        raise AssertionError("never at rest")

    def obeys(self):
        """Assert the limits of the command as a robot sees it at the nominal rate."""
        limits, dt = self.guard.limits, self.guard.dt
        for history in self.history:
            # At rest before the first command.
            q = np.array([history[0], *history])
            low = np.minimum(limits.position_min, q[0])
            high = np.maximum(limits.position_max, q[0])
            assert np.isfinite(q).all()
            assert (q >= low - 1e-12).all()
            assert (q <= high + 1e-12).all()
            v = np.diff(q, axis=0) / dt
            assert (np.abs(v) <= limits.velocity * (1 + 1e-6)).all()
            a = np.diff(v, axis=0) / dt
            # Rounding of positions near 1 rad, divided twice by dt.
            assert (np.abs(a) <= limits.acceleration * (1 + 1e-6) + 4e-15 / dt**2).all()
            j = np.diff(a, axis=0) / dt
            assert (np.abs(j) <= limits.jerk * (1 + 1e-6) + 8e-15 / dt**3).all()
