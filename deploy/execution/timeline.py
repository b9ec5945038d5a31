"""The timeline: chunks go in by the time of their observation, each action comes out once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridle.deploy.chunks import FUTURE, ActionChunk, ChunkRefused
from bridle.deploy.execution.delay import DelayConfig, DelayEstimate
from bridle.deploy.execution.guidance import Previous
from bridle.deploy.execution.merging import ExecutionConfig, Plan, merge, on_grid
from bridle.deploy.execution.shaping import Shaper
from bridle.deploy.execution.tracking import Segment, track
from bridle.deploy.robot import JointLimits, frozen

Vector = NDArray[np.float64]


class Timeline:
    """Executes chunks on a grid of control steps.

    Step k is the interval [origin + k dt, origin + (k + 1) dt). A chunk's action belongs to the
    step of its time, whenever the chunk arrives: what is past by then is left out. What is to come
    is kept as one segment within the limits that ends in a braking tail, so that a chunk that is
    late, lost or refused leads to a stop and never to a jump.

    Two ways to use it. A loop that sends one command a period calls `take`. A process that sends
    the segment to be executed elsewhere (`accept` returns it) calls `elapse` before it accepts.
    Calls from several threads need a lock of the caller's.
    """

    def __init__(
        self,
        limits: JointLimits,
        dt: float,
        position: ArrayLike,
        now: float,
        *,
        config: ExecutionConfig | None = None,
        delay: DelayConfig | None = None,
        latency: float = 0.0,
    ) -> None:
        """At rest at `position`, in epoch 0.

        Args:
            limits: per joint; a position outside may stay where it is.
            dt: control period [s].
            position: where the joints are (n,) [rad].
            now: monotonic time [s]; step 0 begins here.
            config: how chunks follow each other.
            delay: how delays are summed up.
            latency: time from a command to the motion it causes [s].

        Raises:
            ValueError: dt is not positive, or the position is not n finite numbers.
        """
        if not dt > 0:
            raise ValueError(f"dt must be positive, got {dt}")
        self.config = ExecutionConfig() if config is None else config
        self.delay = DelayEstimate(delay)
        self.dt, self.origin, self.epoch = dt, now, 0
        self._limits, self._latency = limits, latency
        self._due = 0
        self._q: Vector
        """The last command (n,) [rad]."""
        self._v: Vector
        """Its velocity (n,) [rad/s]."""
        self._sequence: int | None = None
        self._unused: int | None = None
        """First step of the newest chunk, until an action of it was executed."""
        self._chunks: list[Plan] = []
        self._observed_at, self._reset_at = -np.inf, now
        self._rest_at(position)

    # -- time --------------------------------------------------------------------------------------

    def step(self, time: float) -> int:
        """The step that `time` (monotonic [s]) lies in."""
        return int(np.floor((time - self.origin) / self.dt + 1e-6))

    def time(self, step: int) -> float:
        """When a step begins, monotonic [s]."""
        return self.origin + step * self.dt

    @property
    def due(self) -> int:
        """The next step; all before it are executed or missed."""
        return self._due

    # -- chunks ------------------------------------------------------------------------------------

    def accept(self, chunk: ActionChunk, *, epoch: int, sequence: int, now: float) -> Segment:
        """Take over a new chunk.

        Args:
            chunk: absolute joint positions.
            epoch: `epoch` of this timeline when its observation was made.
            sequence: rises with every chunk that is computed.
            now: monotonic time [s].

        Returns:
            The segment from the first step that is not executed yet to rest.

        Raises:
            ChunkRefused: rule `joints`, `reset` (of an earlier epoch, or observed before the last
                reset), `order` (not newer than the last one accepted), `future` or `late` (all its
                steps are past).
        """
        n = self._q.size
        if chunk.positions.shape[1] != n:
            raise ChunkRefused("joints", f"{chunk.positions.shape[1]} joints, the robot has {n}")
        if epoch != self.epoch:
            raise ChunkRefused("reset", f"it is of epoch {epoch}, now is epoch {self.epoch}")
        if chunk.observed_at < self._reset_at:
            before = self._reset_at - chunk.observed_at
            raise ChunkRefused("reset", f"observed {before:.3f} s before the last reset")
        if self._sequence is not None and sequence <= self._sequence:
            raise ChunkRefused("order", f"it is number {sequence}, after number {self._sequence}")
        if chunk.observed_at <= self._observed_at:
            before = self._observed_at - chunk.observed_at
            raise ChunkRefused("order", f"observed {before:.3f} s before the last chunk accepted")
        if chunk.observed_at > now + FUTURE:
            raise ChunkRefused("future", f"observed {chunk.observed_at - now:.3f} s from now")
        plan = on_grid(chunk, self.origin, self.dt)
        seam = max(self._due, self.step(now))
        if plan.end <= seam:
            late = now - chunk.observed_at - chunk.times[-1]
            raise ChunkRefused("late", f"its last action was due {late:.3f} s ago")
        # After a reset nothing was executed while the first chunk was computed.
        self._unused = plan.start if self._sequence is not None else None
        self._sequence, self._observed_at = sequence, chunk.observed_at
        self._chunks = [c for c in self._chunks if c.end > seam] + [plan]
        self.plan = merge(self.config, self._remaining(seam), self._q, self._chunks, seam)
        self._retrack(seam)
        return self.segment

    @property
    def idle(self) -> bool:
        """Whether nothing is planned any more; the joints rest or brake."""
        return self.plan.end <= self._due

    @property
    def path(self) -> tuple[Vector, Vector]:
        """What is commanded, from the last command on: times (M,) [s], positions (M, n) [rad]."""
        steps = np.arange(self.segment.start - 1, self.segment.end, dtype=np.float64)
        times: Vector = self.origin + self.dt * steps
        return times, np.concatenate([self._before[None], self.segment.positions])

    def position(self, time: float) -> Vector:
        """Where the joints are sent (n,) [rad] at a time since the last command [s]."""
        times, positions = self.path
        return np.array([np.interp(time, times, column) for column in positions.T])

    def previous(
        self, observed_at: float, rows: int, spacing: float | None = None
    ) -> Previous | None:
        """What a chunk that is observed now has to continue; None where nothing is running.

        Args:
            observed_at: time of the observation, monotonic [s].
            rows: as many as the new chunk has from the observation on.
            spacing: time between rows [s]; None: one control period.
        """
        spacing = self.dt if spacing is None else spacing
        times = observed_at + spacing * np.arange(rows)
        last = self.time(self.plan.end - 1)
        n_planned = int((times <= last + 1e-6 * self.dt).sum()) if self._chunks else 0
        if not n_planned:
            return None
        known, positions = self.path
        columns = [np.interp(times, known, column) for column in positions.T]
        delay = min(int(np.ceil(self.delay.steps * self.dt / spacing - 1e-6)), rows)
        return Previous(np.stack(columns, axis=1), delay, max(delay, n_planned))

    def reset(self, now: float, position: ArrayLike | None = None) -> int:
        """Begin a new epoch: brake, and refuse every chunk that was observed before.

        Args:
            now: monotonic time [s].
            position: where the joints are (n,) [rad], if they were moved in the meantime.

        Returns:
            The new epoch.
        """
        self.epoch += 1
        self._due = max(self._due, self.step(now))
        if position is None:
            self._want_nothing()
        else:
            self._rest_at(position)
        self._chunks, self._sequence, self._unused = [], None, None
        self._observed_at, self._reset_at = -np.inf, now
        return self.epoch

    # -- actions -----------------------------------------------------------------------------------

    def take(self, now: float) -> Vector | None:
        """The command of the present step, once; None if it was given before.

        A command follows the last one given within the limits of one period. Where steps were
        missed this moves the robot slower, never faster; actions of missed steps are not made up.

        Args:
            now: monotonic time [s].
        """
        step = self.step(now)
        if step < self._due:
            return None
        if step > self._due:
            self.plan = self._remaining(step)
            self._retrack(step)
        self._execute(step, first=step)
        return self._q

    def elapse(self, now: float) -> None:
        """The segment was executed elsewhere, up to and including the present step."""
        step = self.step(now)
        if step >= self._due:
            self._execute(step, first=self._due)

    # -- inside ------------------------------------------------------------------------------------

    def _execute(self, step: int, *, first: int) -> None:
        self._q, self._v = self.segment.at(step)
        self._due = step + 1
        if self._unused is not None:
            self.delay.record(max(0, first - self._unused))
            self._unused = None

    def _remaining(self, step: int) -> Plan:
        first = max(step, self.plan.start)
        return Plan(first, self.plan.since(first))

    def _retrack(self, step: int) -> None:
        self._due, self._before = step, self._q
        self.segment: Segment = track(self._shaper, step, self._q, self._v, self.plan.since(step))

    def _rest_at(self, position: ArrayLike) -> None:
        q = frozen(position)
        limits = self._limits
        if q.shape != limits.velocity.shape or not np.isfinite(q).all():
            n = limits.velocity.size
            raise ValueError(f"the position must be {n} finite numbers, got {q.tolist()}")
        limits = JointLimits(
            np.minimum(limits.position_min, q),
            np.maximum(limits.position_max, q),
            limits.velocity,
            limits.acceleration,
            limits.jerk,
        )
        self._shaper = Shaper(limits, self.dt, self._latency)
        self._q, self._v = q, np.zeros_like(q)
        self._want_nothing()

    def _want_nothing(self) -> None:
        self.plan = Plan(self._due, np.zeros((0, self._q.size)))
        self._retrack(self._due)
