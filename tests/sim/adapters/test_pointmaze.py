# ruff: noqa: NPY002  (numpy's global generator is what this is about)
import numpy as np
import pytest

from bridle import sim
from bridle.sim.adapters.pointmaze import ACROSS, AROUND, HAZARDS
from tests.sim.adapters.traces import play, trace

MAZES = tuple(HAZARDS)


def walked(env, seed):
    """Steps, cost and success of the expert in an episode."""
    _, info = env.reset(seed=seed)
    expert = env.expert(rng=np.random.default_rng(seed))
    steps, cost, truncated = 0, 0.0, False
    while not (expert.done or truncated):
        _, _, _, truncated, info = env.step(expert.act().executed)
        steps, cost = steps + 1, cost + info["cost"]
    return steps, cost, info["success"]


@pytest.mark.parametrize("maze", MAZES)
def test_every_task_can_be_done_without_a_cost_and_some_are_shorter_with_one(maze):
    careful, careless = (sim.make(f"pointmaze:{maze}", careless=p) for p in (0, 1))
    around = [walked(careful, seed) for seed in range(12)]
    across = [walked(careless, seed) for seed in range(12)]
    assert all(success for _, _, success in around + across)
    assert all(cost == 0 for _, cost, _ in around)
    costly = [a[0] - b[0] for a, b in zip(around, across, strict=True) if b[1] > 0]
    assert len(costly) >= 3
    # Where the shortest way costs, another is at most as short, but for the wandering.
    assert np.mean(costly) > -10


def test_in_the_medium_maze_what_is_safe_takes_longer():
    steps = {
        p: np.mean([walked(sim.make("pointmaze:medium", careless=p), s)[0] for s in range(12)])
        for p in (0, 1)
    }
    assert steps[0] > 1.2 * steps[1]


def test_it_costs_to_be_in_a_hazard_and_only_there():
    env = sim.make("pointmaze:medium", hazards=((1, 1),))
    env.reset(seed=0, options={"task_id": 1})
    place = env.place
    assert np.abs(place).max() <= 1  # the first task begins in the cell (1, 1), around 0
    costs = {tuple(np.round(env.place)): env.step(np.zeros(2, np.float32))[4]["cost"]}
    assert set(costs.values()) == {1.0}
    # Two metres from its middle the cell ends.
    for _ in range(30):
        _, _, _, _, info = env.step(np.array([1, 0], np.float32))
        assert info["cost"] == float(env.place[0] < 2)
    assert env.place[0] > 3


def test_tasks_of_navigation_begin_and_end_anywhere_but_where_it_costs():
    env = sim.make("pointmaze:medium-navigate")
    ends = set()
    for seed in range(300):
        env.reset(seed=seed)
        start, goal = (tuple(np.round(x[::-1] / 4 + 1).astype(int)) for x in (env.place, env.goal))
        assert start != goal
        ends |= {start, goal}
    # Of the 26 free cells one costs.
    assert len(ends) == 25
    assert (3, 3) not in ends


def test_an_action_moves_the_point_and_is_seen():
    env = sim.make("pointmaze:medium")
    before = env.reset(seed=1)[0]["object_state"]
    after = env.step(np.array([0.5, -0.5], np.float32))[0]["object_state"]
    assert np.allclose(after[:2] - before[:2], [0.1, -0.1], atol=1e-3)
    assert np.array_equal(after[2:], before[2:])
    assert np.allclose(after, [*env.place, *env.goal], atol=1e-6)


def test_the_expert_says_which_way_it_takes_and_as_often_as_asked():
    env = sim.make("pointmaze:medium", careless=0.7)
    said = []
    for seed in range(200):
        env.reset(seed=seed)
        said.append(env.expert(rng=np.random.default_rng(seed)).act().phase)
    assert set(said) == {AROUND, ACROSS} == set(env.phases)
    assert 0.6 < np.mean([phase == ACROSS for phase in said]) < 0.8


def test_noise_is_executed_and_not_in_the_label():
    acts, info = play(sim.make("pointmaze:medium"), 3, noise=0.05)
    assert info["success"]
    offsets = np.array([act.executed - act.label for act in acts])
    # 0.05 m is a quarter of an action; clipping makes it less.
    assert 0.1 < offsets.std() < 0.3
    clean, _ = play(sim.make("pointmaze:medium"), 3)
    assert all(np.array_equal(act.label, act.executed) for act in clean)


def test_the_same_seed_gives_the_same_bytes_whatever_was_before():
    env = sim.make("pointmaze:medium")
    first = trace(env, 5)
    assert trace(env, 6) != first
    assert trace(env, 5) == first
    np.random.seed(0)
    assert trace(sim.make("pointmaze:medium"), 5) == first


def test_mazes_of_one_process_do_not_disturb_each_other():
    one, two = (sim.make("pointmaze:medium") for _ in range(2))
    one.reset(seed=0)
    place = one.place
    two.reset(seed=1)
    two.step(np.ones(2, np.float32))
    assert np.array_equal(one.place, place)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pointmaze:mediun", {}, "did you mean medium"),
        ("pointmaze:medium", {"hazards": ((0, 0),)}, r"\(0, 0\) is no free cell"),
        ("pointmaze:medium", {"careless": 1.5}, r"careless must lie in 0\.\.1"),
    ],
)
def test_what_there_is_not_is_refused(name, options, message):
    with pytest.raises(sim.SimulationError, match=message):
        sim.make(name, **options)
