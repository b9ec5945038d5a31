"""Whatever a policy, a network and a clock do, the commands obey the limits."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.deploy.chunks import ActionChunk, ChunkRefused
from bridle.deploy.guard import Guard, GuardError, Mode
from tests.deploy.guarding import Loop, make_robot

KINDS = ("smooth", "step", "teleport", "noise", "nan", "backwards", "short")


@st.composite
def robots(draw):
    n = draw(st.integers(1, 3))

    def each(strategy):
        return tuple(draw(strategy) for _ in range(n))

    width = st.floats(0.05, 3.0)
    return make_robot(
        tuple((-low, high) for low, high in zip(each(width), each(width), strict=True)),
        each(st.floats(0.05, 5.0)),
        each(st.floats(0.2, 200.0)),
        each(st.sampled_from([0.35, None])),
        draw(st.sampled_from([100.0, 200.0, 500.0])),
        draw(st.floats(0.0, 0.05)),
    )


events = st.lists(
    st.tuples(
        st.sampled_from((*KINDS, "none", "stale", "blind", "stop", "reset")),
        st.floats(0.0, 0.4),
        st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=12,
)


def make_chunk(kind, observed_at, q, limits, random):
    """What a policy, a wrong one too, may send."""
    h = 1 if kind == "short" else 8
    times = np.arange(h) * random.choice([0.0, 0.01, 0.05])
    low, high = limits.position_min, limits.position_max
    reach = high - low
    points = np.repeat(q[None], h, 0)
    if kind == "smooth":
        points = q + np.linspace(0, 1, h)[:, None] * (random.uniform(low, high) - q)
    elif kind in ("step", "short"):
        points = np.repeat(random.uniform(low, high)[None], h, 0)
    elif kind == "teleport":
        points = random.uniform(low - reach, high + reach, (h, len(q)))
    elif kind == "noise":
        points = points + random.normal(0, 0.1, points.shape)
    elif kind == "nan":
        points[random.integers(h), random.integers(len(q))] = random.choice([np.nan, np.inf])
    elif kind == "backwards":
        times = times[::-1]
    return ActionChunk(observed_at, times, points)


def play(robot, script, seed):
    """A run of the closed loop: an event, then some ticks at irregular times."""
    random = np.random.default_rng(seed)
    guard = Guard(robot)
    limits = guard.limits
    loop = Loop(guard, random.uniform(limits.position_min, limits.position_max))
    states = []
    for kind, latency, event_seed in script:
        chance = np.random.default_rng(event_seed)
        fault = {}
        if kind in KINDS:
            try:
                observed = loop.now - latency
                loop.accept(make_chunk(kind, observed, loop.measured, limits, chance))
            except ChunkRefused:
                pass
        elif kind == "stop":
            loop.state = guard.stop(loop.state, "stop", loop.now)
        elif kind == "reset":
            try:
                loop.reset()
            except GuardError as refused:
                waits = "robot moves" in str(refused)
                assert waits or loop.state.mode is Mode.NOMINAL or not loop.state.at_rest
        elif kind == "stale":
            fault = {"age": 0.1}
        elif kind == "blind":
            fault = {"measured": np.full(len(robot.joints), np.nan)}
        for _ in range(int(chance.integers(1, 60))):
            loop.tick(elapsed=guard.dt * chance.choice([1.0, chance.uniform(0.2, 3.0)]), **fault)
            states.append(loop.state)
    return loop, states


@settings(max_examples=150, deadline=None)
@given(robots(), events, st.integers(0, 2**32 - 1))
def test_position_velocity_and_acceleration_of_the_command_stay_within_the_limits(
    robot, script, seed
):
    loop, _ = play(robot, script, seed)
    loop.obeys()


@settings(max_examples=60, deadline=None)
@given(robots(), events, st.integers(0, 2**32 - 1), st.data())
def test_a_stop_from_any_state_ends_at_rest_within_the_limits(robot, script, seed, data):
    loop, states = play(robot, script, seed)
    loop.state = data.draw(st.sampled_from(states))
    moving = loop.state
    loop.state = loop.guard.stop(loop.state, "stop", loop.now)
    limits, dt = loop.guard.limits, loop.guard.dt
    # Exact: the history continues the motion that led here.
    loop.history = [[moving.q]]
    path = [moving.q - moving.v * dt, moving.q]
    longest = (limits.velocity / limits.acceleration).max() + (
        (limits.position_max - limits.position_min) / limits.velocity
    ).max()
    for _ in range(int(longest / dt) + 3):
        path.append(loop.tick(age=1.0).position)
        if loop.state.at_rest:
            break
    assert loop.state.at_rest
    path = np.array(path)
    assert (path[1:] >= limits.position_min - 1e-12).all()
    assert (path[1:] <= limits.position_max + 1e-12).all()
    bends = np.abs(np.diff(path, 2, axis=0)) / dt**2
    assert (bends <= limits.acceleration * (1 + 1e-6) + 4e-15 / dt**2).all()


@settings(max_examples=25, deadline=None)
@given(robots(), events, st.integers(0, 2**32 - 1))
def test_the_same_inputs_give_bit_equal_commands(robot, script, seed):
    first, _ = play(robot, script, seed)
    second, _ = play(robot, script, seed)
    for a, b in zip(first.commands, second.commands, strict=True):
        assert a.position.tobytes() == b.position.tobytes()
        assert a.velocity.tobytes() == b.velocity.tobytes()
        assert (a.mode, str(a.intervention)) == (b.mode, str(b.intervention))


@settings(max_examples=40, deadline=None)
@given(robots(), st.integers(0, 2**32 - 1))
def test_after_any_chaos_a_reachable_target_is_reached(robot, seed):
    random = np.random.default_rng(seed)
    kinds = ("teleport", "stale", "noise", "blind", "none", "step")
    script = [(kind, random.uniform(0, 0.3), int(random.integers(2**32))) for kind in kinds]
    loop, _ = play(robot, script, seed)
    loop.rest()
    loop.measured = loop.state.q
    limits = loop.guard.limits
    target = random.uniform(limits.position_min, limits.position_max)
    # Bang-bang time of the slowest joint, threefold for the approach and the scaling.
    distance = np.abs(target - loop.state.q)
    seconds = (distance / limits.velocity + 2 * np.sqrt(distance / limits.acceleration)).max()
    loop.follow(target, 3 * seconds + 1.0)
    np.testing.assert_allclose(loop.state.q, target, atol=2e-3)
    loop.obeys()
