import numpy as np
import pytest

from bridle import sim
from bridle.sim.tasks.pick_place_memory import PERIOD, SHOWN, UNSEEN


def watched(env, seed, steps):
    """What is observed of the goal in an episode in which the arm stays."""
    observation, _ = env.reset(seed=seed)
    stay, seen = env.joint_state()[0].astype(np.float32), [observation["object_state"]]
    for _ in range(steps):
        observation, *_ = env.step(stay)
        seen.append(observation["object_state"])
    return np.array(seen)


def test_most_observations_say_nothing_about_the_goal():
    env = sim.make("pick-place-memory")
    states = watched(env, 0, 10 * PERIOD - 1)
    shown = states[:, 8] == 1
    assert shown.sum() == 10 * SHOWN
    assert shown.mean() < 0.15
    np.testing.assert_allclose(states[shown, 5:8], env.goal[None].repeat(10 * SHOWN, 0), atol=1e-6)
    np.testing.assert_array_equal(states[~shown, 5:8], np.float32(UNSEEN)[None].repeat(120, 0))


def test_sixteen_observations_in_a_row_always_show_the_goal():
    env = sim.make("pick-place-memory")
    for seed in range(10):
        shown = watched(env, seed, 60)[:, 8]
        assert min(shown[i : i + 16].sum() for i in range(len(shown) - 15)) >= SHOWN


def test_the_first_flash_comes_at_any_step_of_a_period():
    env = sim.make("pick-place-memory")
    first = {int(watched(env, seed, PERIOD)[:, 8].argmax()) for seed in range(160)}
    assert first == set(range(PERIOD - SHOWN + 1))


def test_the_goal_is_seen_before_the_expert_needs_it():
    env = sim.make("pick-place-memory")
    for seed in range(5):
        env.reset(seed=seed)
        expert = sim.Expert(env, rng=np.random.default_rng(seed))
        steps = 0
        while expert.act().phase != "move to the goal":
            steps += 1
        assert steps > 2 * PERIOD


def test_layouts_and_demonstrations_are_those_of_pick_place():
    def labels(task):
        env = sim.make(task)
        env.reset(seed=5)
        expert = sim.Expert(env, noise=0.01, rng=np.random.default_rng(5))
        acts = []
        for _ in range(160):
            acts.append(expert.act())
            env.step(acts[-1].executed)
        return np.array([act.label for act in acts])

    np.testing.assert_array_equal(labels("pick-place-memory"), labels("pick-place"))


def test_the_mark_is_gone_from_pictures_too():
    env = sim.make("pick-place-memory", render_width=160, render_height=120)
    shown = watched(env, 4, 0)[0, 8]
    try:
        env.render()
    except sim.RenderingError as error:
        pytest.skip(str(error))
    stay, seen = env.joint_state()[0].astype(np.float32), {}
    for _ in range(PERIOD):
        r, g, b = env.render().astype(int).transpose(2, 0, 1)
        seen[bool(shown)] = int(((g > 100) & (r < g) & (b < g)).sum())
        shown = env.step(stay)[0]["object_state"][8]
    assert seen[True] > 10
    assert seen[False] == 0
    env.close()
