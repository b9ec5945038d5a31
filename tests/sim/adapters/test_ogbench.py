# ruff: noqa: NPY002  (numpy's global generator is what this is about)
import numpy as np
import pytest

from bridle import sim
from bridle.sim.adapters.ogbench import OGBenchEnv
from tests.sim.adapters.traces import play, trace


@pytest.mark.parametrize("oracle", ["plan", "markov"])
def test_experts_succeed_and_say_what_they_do(oracle):
    env = sim.make("ogbench:cube-single-v0", oracle=oracle)
    played = [play(env, seed) for seed in range(5)]
    assert sum(info["success"] for _, info in played) == 5
    for acts, _ in played:
        said = list(dict.fromkeys(act.phase for act in acts))
        assert set(said) <= set(env.phases)
        assert said[:3] == ["move above the red cube", "lower to the red cube", "close the gripper"]
        assert said.index("lift the red cube") < said.index("open the gripper")


@pytest.mark.parametrize("oracle", ["plan", "markov"])
def test_words_fit_what_the_gripper_does(oracle):
    env = sim.make("ogbench:cube-single-v0", oracle=oracle)
    acts, _ = play(env, 1)
    closing = [act.label[4] for act in acts if act.phase == "close the gripper"]
    opening = [act.label[4] for act in acts if act.phase == "open the gripper"]
    assert max(closing) > 0.2
    assert min(opening) < -0.1


@pytest.mark.parametrize("name", ["scene-v0", "puzzle-3x3-v0", "cube-double-v0"])
def test_experts_of_every_kind_of_thing(name):
    env = sim.make(f"ogbench:{name}", oracle="markov")
    played = [play(env, seed) for seed in range(10)]
    assert sum(info["success"] for _, info in played) >= 8
    for acts, info in played:
        assert {act.phase for act in acts} <= set(env.phases)
        assert info["instruction"] in env.goals
    assert len({info["instruction"] for _, info in played}) > 1


def test_noise_is_executed_and_not_in_the_label():
    env = sim.make("ogbench:cube-single-v0")
    clean, _ = play(env, 3)
    noisy, _ = play(env, 3, noise=0.01)
    assert all(np.array_equal(act.label, act.executed) for act in clean)
    first = noisy[0]
    np.testing.assert_array_equal(first.label, clean[0].label)
    offsets = np.array([act.executed - act.label for act in noisy])
    assert (offsets[:, 3:] == 0).all()
    # 0.01 m is 0.2 of an action; clipping makes it less.
    assert 0.08 < offsets[:, :3].std() < 0.3
    with pytest.raises(sim.SimulationError, match="noise must be at least 0 m"):
        env.expert(noise=-1)


@pytest.mark.parametrize("name", ["cube-double-v0", "scene-v0", "puzzle-3x3-v0"])
@pytest.mark.parametrize("mode", ["data_collection", "task"])
def test_the_same_seed_gives_the_same_bytes_whatever_was_before(name, mode):
    env = sim.make(f"ogbench:{name}", mode=mode)
    first = trace(env, 5)
    for other in (6, 7):
        assert trace(env, other) != first
    assert trace(env, 5) == first
    np.random.seed(0)
    assert trace(sim.make(f"ogbench:{name}", mode=mode), 5) == first


def test_the_same_seed_gives_the_same_demonstration():
    def labels(env):
        acts, _ = play(env, 4, noise=0.01)
        return np.array([act.executed for act in acts]).tobytes()

    env = sim.make("ogbench:cube-single-v0")
    first = labels(env)
    np.random.seed(3)
    assert labels(sim.make("ogbench:cube-single-v0")) == first


def test_nothing_global_is_disturbed():
    np.random.seed(1)
    expected = np.random.uniform()
    np.random.seed(1)
    env = sim.make("ogbench:scene-v0", mode="task")
    env.reset()
    env.step(np.zeros(5, np.float32))
    assert np.random.uniform() == expected


def test_observations_are_in_metres_and_radians():
    env = sim.make("ogbench:cube-single-v0")
    observation, _ = env.reset(seed=2)
    data, model = env.suite.data, env.suite.model
    np.testing.assert_allclose(
        observation["tcp_pose"][:3], data.site("ur5e/robotiq/pinch").xpos, atol=1e-6
    )
    columns = data.site("ur5e/robotiq/pinch").xmat.reshape(3, 3)[:, :2].T.ravel()
    np.testing.assert_allclose(observation["tcp_pose"][3:], columns, atol=1e-6)
    names = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
    joints = [data.joint(f"ur5e/{name}_joint").qpos[0] for name in names]
    np.testing.assert_allclose(observation["joint_position"], joints, atol=1e-6)
    knuckle = data.joint("ur5e/robotiq/right_driver_joint").qpos
    np.testing.assert_allclose(observation["gripper"], knuckle, atol=1e-6)
    cube = data.body("object_0").xpos
    target = data.mocap_pos[model.body("object_target_0").mocapid[0]]
    state = observation["object_state"]
    np.testing.assert_allclose(state[1:4], cube, atol=1e-6)
    # touch 1, cube 9, which is meant 1, where 3, heading 2, value 1
    np.testing.assert_allclose(state[10], 1.0)
    np.testing.assert_allclose(state[11:14], target, atol=1e-6)
    assert state.shape == (17,)


def test_the_goal_says_what_is_meant():
    env = sim.make("ogbench:scene-v0")
    for seed in range(8):
        observation, info = env.reset(seed=seed)
        goal = observation["object_state"][-11:]
        thing = env.things[int(goal[:5].argmax())]
        assert goal[:5].sum() == 1
        assert info["instruction"] in thing.goals


def test_success_ends_an_episode_and_steps_are_limited():
    env = sim.make("ogbench:cube-single-v0", max_steps=3)
    env.reset(seed=0)
    ends = [env.step(np.zeros(5, np.float32))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    env = sim.make("ogbench:cube-single-v0")
    assert env.max_steps == 200
    env.reset(seed=0)
    expert = env.expert()
    ended = False
    while not ended:
        _, reward, ended, _, info = env.step(expert.act().executed)
    assert info["success"]
    assert reward == 1.0


def test_single_tasks_have_their_goal_and_no_expert():
    env = sim.make("ogbench:cube-single-singletask-task2-v0")
    _, info = env.reset(seed=0)
    assert info["instruction"] == "task2 vertical1"
    assert env.phases == ()
    with pytest.raises(sim.SimulationError, match="an expert in the mode data_collection only"):
        env.expert()
    with pytest.raises(sim.SimulationError, match="its mode is task"):
        sim.make("ogbench:cube-single-singletask-v0", mode="data_collection")


def test_wrong_settings_are_refused():
    with pytest.raises(sim.SimulationError, match="oracle must be one of plan, markov, got 'best'"):
        sim.make("ogbench:cube-single-v0", oracle="best")
    with pytest.raises(sim.SimulationError, match="mode must be data_collection or task"):
        sim.make("ogbench:cube-single-v0", mode="demo")


def test_its_cameras_can_be_observed_and_it_is_drawn():
    env = sim.make("ogbench:cube-single-v0", cameras="front", image_width=48, image_height=32)
    assert isinstance(env, OGBenchEnv)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation["camera_front"].std() > 5
    assert env.render().shape == (240, 320, 3)
    env.close()
