import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from bridle import sim


def play(seed: int, noise: float = 0.0):
    """Labels, phases and the end of an expert's episode."""
    env = sim.make("pick-place")
    env.reset(seed=seed)
    expert = sim.Expert(env, noise=noise, rng=np.random.default_rng(seed))
    labels, phases, costs, success = [], [], 0.0, False
    while not expert.done and len(labels) < env.max_steps:
        act = expert.act()
        _, _, _, _, info = env.step(act.executed)
        labels.append(act.label)
        phases.append(act.phase)
        costs += info["cost"]
        success = info["success"]
    return np.array(labels), phases, costs, success


def test_it_is_a_gymnasium_environment():
    check_env(gymnasium.make("bridle/pick-place-v0").unwrapped, skip_render_check=True)


def test_the_same_seed_gives_the_same_bytes():
    def trace():
        env = sim.make("pick-place")
        observation, _ = env.reset(seed=7)
        rows = [np.concatenate(list(observation.values()))]
        target = env.joint_state()[0].copy()
        for k in range(40):
            observation, *_ = env.step((target + 0.01 * k).astype(np.float32))
            rows.append(np.concatenate(list(observation.values())))
        return np.array(rows).tobytes()

    assert trace() == trace()


def test_other_seeds_give_other_layouts_inside_the_area():
    env = sim.make("pick-place")
    states = np.array([env.reset(seed=s)[0]["object_state"] for s in range(200)])
    cube, goal = states[:, :2], states[:, 5:7]
    for place in (cube, goal):
        assert (place >= [0.30, -0.15]).all()
        assert (place <= [0.60, 0.15]).all()
        assert np.ptp(place, axis=0).min() > 0.25
    assert np.linalg.norm(cube - goal, axis=1).min() >= 0.12 - 1e-6


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_the_expert_succeeds_without_touching_the_table(noise):
    played = [play(seed, noise) for seed in range(20)]
    assert sum(success for *_, success in played) >= 19
    if noise == 0:
        assert sum(costs for _, _, costs, _ in played) == 0


def test_the_expert_names_its_phases_in_order():
    _, phases, *_ = play(0)
    assert list(dict.fromkeys(phases)) == list(sim.make("pick-place").phases)


def test_the_experts_commands_are_smooth():
    for seed in range(5):
        labels, *_ = play(seed)
        velocity = np.diff(labels, axis=0) / 0.05
        acceleration = np.diff(velocity, axis=0) / 0.05
        assert np.abs(velocity[:, :6]).max() < 1.8
        assert np.abs(acceleration[:, :6]).max() < 12
        assert np.abs(velocity[:, 6]).max() < 3.5


def test_success_needs_the_cube_on_the_spot_and_let_go():
    env = sim.make("pick-place")
    env.reset(seed=0)
    assert not env.is_success()
    address = int(env.model.joint("cube").qposadr[0])
    env.data.qpos[address : address + 2] = env.goal[:2]
    env.observe()
    assert env.is_success()
    env.data.qpos[address] += 0.03
    env.observe()
    assert not env.is_success()


def test_the_cube_is_at_rest_where_it_is_put():
    env = sim.make("pick-place")
    before, _ = env.reset(seed=3)
    target = env.joint_state()[0].astype(np.float32)
    for _ in range(20):
        after, *_ = env.step(target)
    assert np.abs(after["object_state"] - before["object_state"]).max() < 1e-3


@pytest.mark.parametrize(
    "action", [np.full(7, np.nan), np.zeros(6), np.zeros((1, 7)), np.full(7, np.inf)]
)
def test_bad_actions_are_refused(action):
    env = sim.make("pick-place")
    env.reset(seed=0)
    with pytest.raises(sim.SimulationError, match="7 finite joint positions"):
        env.step(action)


def test_unknown_tasks_and_options_are_refused_with_what_exists():
    with pytest.raises(sim.SimulationError, match=r"did you mean pick-place\?"):
        sim.make("pick-plase")
    with pytest.raises(sim.SimulationError, match="colour"):
        sim.make("pick-place", colour="red")


def test_pictures_show_the_cube():
    env = sim.make("pick-place", render_width=160, render_height=120)
    env.reset(seed=0)
    try:
        picture = env.render()
    except sim.RenderingError as error:
        pytest.skip(str(error))
    assert picture.shape == (120, 160, 3)
    r, g, b = picture.astype(int).transpose(2, 0, 1)
    assert ((r > 100) & (g < r // 2) & (b < r // 2)).sum() > 10  # the red cube
    assert ((g > 100) & (r < g) & (b < g)).sum() > 10  # the green spot
    env.close()


def test_it_is_known_what_the_robot_touches():
    env = sim.make("pick-place")
    env.reset(seed=0)
    assert env.touched() == ()
    expert = sim.Expert(env, noise=0.0, rng=np.random.default_rng(0))
    touched = []
    while not expert.done:
        env.step(expert.act().executed)
        touched.append(env.touched())
    # The gripper's own parts touch each other when it closes.
    assert {*touched} == {(), ("cube",)}
    assert touched[-1] == ()
