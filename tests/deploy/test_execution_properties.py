"""Whatever the network does with chunks, and whenever commands are asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.deploy.chunks import ActionChunk, ChunkRefused
from bridle.deploy.execution import ExecutionConfig, Timeline
from bridle.deploy.robot import JointLimits

DT = 0.05
STRATEGIES = ("replace", "blend", "ensemble", "rtc")
LIMITS = JointLimits([-1.0, -2.0], [1.0, 2.0], [2.0, 0.5], [10.0, 4.0], [1e3, 1e3])
BOUNDLESS = JointLimits([-1e6], [1e6], [1e4], [1e8], [1e12])

# An observation is made, and its chunk arrives so much later (dropped: never), so many times.
observations = st.tuples(
    st.floats(0.0, 0.2),  # since the observation before
    st.floats(0.0, 0.6),  # latency
    st.integers(0, 3),  # copies that arrive
    st.sampled_from(["smooth", "step", "noise", "beyond", "short"]),
)
# Commands are asked for at irregular times: late, or twice within a period.
clocks = st.lists(st.floats(0.0, 0.17), min_size=10, max_size=80)


def positions_of(kind, random):
    n = 1 if kind == "short" else 12
    low, high = LIMITS.position_min, LIMITS.position_max
    a, b = random.uniform(low, high, (2, 2))
    if kind == "smooth":
        return a + np.linspace(0, 1, n)[:, None] * (b - a)
    if kind == "beyond":
        return np.repeat(3 * b[None], n, 0)
    return random.uniform(low, high, (n, 2)) if kind == "noise" else np.repeat(b[None], n, 0)


def arrivals(script, random):
    """(arrival, sequence, chunk), in the order in which they arrive."""
    time, found = 0.0, []
    for sequence, (gap, latency, copies, kind) in enumerate(script):
        time += gap
        positions = positions_of(kind, random)
        chunk = ActionChunk(time, DT * np.arange(len(positions)), positions)
        for copy in range(copies):
            found.append((time + latency * (1 + copy), sequence, chunk))
    return sorted(found, key=lambda a: a[0])


def check_within_limits(positions, q, v, limits=LIMITS):
    """From a command q and its velocity v on."""
    velocities = np.diff(positions, axis=0, prepend=q[None]) / DT
    changes = np.diff(velocities, axis=0, prepend=v[None]) / DT
    assert (np.abs(velocities) <= limits.velocity + 1e-9).all()
    assert (np.abs(changes) <= limits.acceleration + 1e-7).all()
    assert (positions >= limits.position_min).all()
    assert (positions <= limits.position_max).all()


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(STRATEGIES),
    st.lists(observations, max_size=12),
    clocks,
    st.lists(st.floats(0.0, 3.0), max_size=2).map(sorted),
    st.integers(0, 2**32 - 1),
)
def test_commands_keep_the_limits_and_nothing_stale_is_executed(
    strategy, script, clock, resets, seed
):
    random = np.random.default_rng(seed)
    start = random.uniform(LIMITS.position_min, LIMITS.position_max)
    timeline = Timeline(LIMITS, DT, start, 0.0, config=ExecutionConfig(strategy))
    epochs = [*resets, np.inf]  # when each epoch ends
    coming, accepted, steps = arrivals(script, random), [], []
    commands, now = [start], 0.0
    for wait in clock:
        now += wait
        while resets and resets[0] <= now:
            timeline.reset(resets.pop(0))
        while coming and coming[0][0] <= now:
            _, sequence, chunk = coming.pop(0)
            epoch = int(np.searchsorted(epochs, chunk.observed_at, "right"))
            try:
                segment = timeline.accept(chunk, epoch=epoch, sequence=sequence, now=now)
            except ChunkRefused as refused:
                assert refused.rule in ("order", "reset", "late")  # noqa: PT017
                continue
            assert epoch == timeline.epoch
            accepted.append((epoch, sequence))
            before = (commands[-2] if len(commands) > 1 else commands[-1], commands[-1])
            check_within_limits(segment.positions, before[1], (before[1] - before[0]) / DT)
            assert (segment.velocities[-1] == 0).all()
            assert np.allclose(segment.positions[-1], segment.positions[-2:].mean(0), atol=1e-9)
        taken = timeline.take(now)
        if taken is not None:
            commands.append(taken)
            steps.append(timeline.step(now))
            assert timeline.time(steps[-1]) <= now + 1e-6 * DT
            assert now < timeline.time(steps[-1] + 1)
    assert len(set(accepted)) == len(accepted)
    assert accepted == sorted(accepted)
    assert steps == sorted(set(steps))
    check_within_limits(np.array(commands), start, np.zeros(2))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(STRATEGIES),
    st.lists(observations, min_size=1, max_size=12),
    st.floats(0.0, 2.0),
    st.integers(0, 2**32 - 1),
)
def test_segments_that_are_executed_elsewhere_join_within_the_limits(strategy, script, reset, seed):
    """Each segment is followed by time until the next one is there, or to its end."""
    random = np.random.default_rng(seed)
    start = random.uniform(LIMITS.position_min, LIMITS.position_max)
    timeline = Timeline(LIMITS, DT, start, 0.0, config=ExecutionConfig(strategy))
    events = [*arrivals(script, random), (reset, None, None)]
    executed = []

    def follow(until):
        while len(executed) <= until:
            executed.append(timeline.segment.at(len(executed))[0])

    for now, sequence, chunk in sorted(events, key=lambda e: e[0]):
        follow(timeline.step(now))
        timeline.elapse(now)
        if chunk is None:
            timeline.reset(now)
            continue
        epoch = int(chunk.observed_at >= reset)
        try:
            timeline.accept(chunk, epoch=epoch, sequence=sequence, now=now)
        except ChunkRefused as refused:
            assert refused.rule in ("order", "reset", "late")  # noqa: PT017
    follow(timeline.segment.end + 3)
    check_within_limits(np.array(executed), start, np.zeros(2))
    assert (executed[-1] == executed[-4]).all()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(STRATEGIES), st.lists(observations, min_size=1, max_size=12), clocks)
def test_an_action_is_executed_at_its_time_or_not_at_all(strategy, script, clock):
    """All chunks say where to be at which time, so that any other time would be seen."""

    def wanted(t):
        return 0.3 * t

    timeline = Timeline(BOUNDLESS, DT, [wanted(-DT)], 0.0, config=ExecutionConfig(strategy))
    coming, time = [], 0.0
    for sequence, (gap, latency, copies, _) in enumerate(script):
        time += gap
        times = DT * np.arange(12)
        chunk = ActionChunk(time, times, wanted(time + times)[:, None])
        coming += [(time + latency, sequence, chunk)] * copies
    coming.sort(key=lambda a: a[0])
    now, covered = 0.0, set()
    for wait in clock:
        now += wait
        while coming and coming[0][0] <= now:
            _, sequence, chunk = coming.pop(0)
            try:
                timeline.accept(chunk, epoch=0, sequence=sequence, now=now)
            except ChunkRefused:
                continue
            start = chunk.observed_at / DT
            covered |= set(range(int(np.ceil(start - 1e-6)), int(start + 11 + 1e-6) + 1))
        step = timeline.step(now)
        taken = timeline.take(now)
        if taken is not None and step in covered:
            assert taken == pytest.approx(wanted(timeline.time(step)), abs=1e-3)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.0, 1.0), st.integers(0, 2**32 - 1))
def test_after_a_reset_the_joints_brake_until_a_chunk_of_the_new_epoch(at, seed):
    random = np.random.default_rng(seed)
    timeline = Timeline(LIMITS, DT, [0.0, 0.0], 0.0)
    chunk = ActionChunk(0.0, DT * np.arange(40), random.uniform(-1, 1, (40, 2)).cumsum(0) * 0.1)
    timeline.accept(chunk, epoch=0, sequence=0, now=0.0)
    for k in range(int(at / DT) + 1):
        timeline.take(timeline.time(k))
    began = timeline.due
    timeline.reset(timeline.time(began))
    speeds = []
    for k in range(began, began + 60):
        late = ActionChunk(timeline.time(k - 1), chunk.times, chunk.positions)
        with pytest.raises(ChunkRefused, match=r"\(reset\)"):
            timeline.accept(late, epoch=0, sequence=k, now=timeline.time(k))
        before = timeline.segment.at(max(k - 1, began))[0]
        taken = timeline.take(timeline.time(k))
        if k > began:
            speeds.append(np.abs(taken - before).max())
    assert (np.diff(speeds) <= 1e-12).all()
    assert speeds[-1] == 0
