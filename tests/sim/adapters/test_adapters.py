# ruff: noqa: NPY002  (numpy's global generator is what this is about)
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from bridle import sim
from bridle.sim.adapters import Environment
from bridle.sim.adapters.randomness import OwnRandomness

NAMES = ("gym:CartPole-v1", "gym:Hopper-v5", "ogbench:cube-single-v0", "pointmaze:medium")


@pytest.mark.parametrize("name", ["reach", *NAMES])
def test_ours_and_theirs_are_the_same_kind_of_thing(name):
    env = sim.make(name)
    assert isinstance(env, Environment)
    assert env.control_dt > 0
    assert env.max_steps > 0
    observation, info = env.reset(seed=0)
    assert set(observation) == set(env.observation_space.spaces)
    assert info["instruction"] in env.sentences()
    assert {key: type(info[key]) for key in ("success", "cost", "instruction", "mode")} == {
        "success": bool, "cost": float, "instruction": str, "mode": str,
    }  # fmt: skip
    assert env.action_space.dtype == np.float32
    assert all(value.dtype == np.float32 for value in observation.values())
    env.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:.*WARN.*:UserWarning")
def test_they_are_gymnasium_environments(name):
    check_env(sim.make(name), skip_render_check=True)


@pytest.mark.parametrize("name", NAMES)
def test_every_key_and_the_action_have_a_unit_and_a_meaning(name):
    env = sim.make(name)
    assert set(env.meanings) == {*env.observation_space.spaces, "action"}
    assert all(meaning.text for meaning in env.meanings.values())


@pytest.mark.parametrize("name", NAMES)
def test_an_action_must_fit(name):
    env = sim.make(name)
    env.reset(seed=0)
    n = env.action_space.shape[0]
    for wrong in (np.zeros(n + 1), np.full(n, np.nan)):
        with pytest.raises(sim.SimulationError, match=f"an action must be {n} finite numbers"):
            env.step(wrong.astype(np.float32))


def test_actions_beyond_their_bounds_are_clipped():
    def after(action):
        env = sim.make("gym:Hopper-v5")
        env.reset(seed=0)
        return env.step(np.full(3, action, np.float32))[0]["state"].tobytes()

    assert after(5.0) == after(1.0) != after(0.5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gmy:Hopper-v5", "no suite 'gmy' .did you mean gym"),
        ("atari:Pong", "suites: gym, ogbench, pointmaze, metaworld, robotics"),
        ("gym:", "give gym:TASK"),
        ("gym:Hoper-v5", "Did you mean: `Hopper`"),
        ("gym:Blackjack-v1", "observations of Tuple are not supported"),
        ("ogbench:cube-singel-v0", "did you mean cube-single-v0"),
        ("ogbench:visual-cube-single-v0", "did you mean cube-single-v0"),
    ],
)
def test_what_there_is_not_is_refused_in_one_line(name, message):
    with pytest.raises(sim.SimulationError, match=message) as error:
        sim.make(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_options_are_refused(name):
    with pytest.raises(sim.SimulationError, match="unexpected keyword argument 'colour'"):
        sim.make(name, colour="red")
    with pytest.raises(sim.SimulationError, match="image_width must lie in 1 to"):
        sim.make(name, image_width=0)
    with pytest.raises(sim.SimulationError, match="max_steps must be at least 1"):
        sim.make(name, max_steps=0)


def test_what_a_suite_draws_globally_is_its_own():
    def draws(own):
        with own:
            return np.random.uniform(size=3).tolist()

    np.random.seed(1)
    outside = np.random.uniform(size=4).tolist()
    np.random.seed(1)
    first = np.random.uniform()
    own, other = OwnRandomness(7), OwnRandomness(7)
    drawn = draws(own)
    assert draws(other) == drawn
    assert draws(own) != drawn
    own.seed(7)
    assert draws(own) == drawn
    with own:
        np.random.seed(3)
    assert [first, *np.random.uniform(size=3)] == outside


def test_it_is_restored_after_an_error():
    np.random.seed(2)
    expected = np.random.uniform()
    np.random.seed(2)
    with pytest.raises(ZeroDivisionError), OwnRandomness(0):
        raise ZeroDivisionError
    assert np.random.uniform() == expected
