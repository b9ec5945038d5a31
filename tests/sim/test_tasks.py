"""What holds for every task of the suite."""

from itertools import pairwise

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from bridle import sim
from bridle.sim.kinematics import InverseKinematics
from bridle.sim.script import CORRECTIONS, OPEN_THE_GRIPPER

TASKS = sorted(sim.TASKS)
CHANCE = {"push", "pick-place-post"}


def play(task, seed, noise=0.01, recovery=0.15, **options):
    """An expert's episode: its actions, what was observed, its costs and how it ended."""
    env = sim.make(task, **options)
    observation, _ = env.reset(seed=seed)
    expert = sim.make_expert(env, noise=noise, recovery=recovery, rng=np.random.default_rng(seed))
    acts, observations, costs, truncated, info = [], [], 0.0, False, {}
    while not (truncated or expert.done):
        acts.append(expert.act())
        observations.append(observation)
        observation, _, _, truncated, info = env.step(acts[-1].executed)
        costs += info["cost"]
    return env, acts, observations, costs, info


@pytest.mark.parametrize("task", TASKS)
def test_it_is_a_gymnasium_environment(task):
    check_env(gymnasium.make(f"bridle/{task}-v0").unwrapped, skip_render_check=True)


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_bytes(task):
    def trace():
        _, acts, observations, *_ = play(task, 7)
        rows = [np.concatenate([*observation.values()]) for observation in observations]
        return np.array(rows).tobytes() + np.array([act.label for act in acts]).tobytes()

    assert trace() == trace()


@pytest.mark.parametrize("task", TASKS)
def test_experts_succeed_although_they_are_disturbed_and_err(task):
    played = [play(task, seed) for seed in range(5)]
    assert sum(info["success"] for *_, info in played) >= 4
    assert sum(costs > 0 for *_, costs, _ in played) <= 1


@pytest.mark.parametrize("task", TASKS)
def test_all_that_is_said_is_among_the_sentences_of_the_task(task):
    env, acts, *_, info = play(task, 1, recovery=0.5)
    said = {act.phase for act in acts} | {info["instruction"]}
    assert said <= set(env.sentences())
    assert len(set(env.sentences())) == len(env.sentences())
    # Without mistakes the phases of the task are all that is said.
    _, acts, *_ = play(task, 1, noise=0.0, recovery=0.0)
    assert {act.phase for act in acts} <= set(env.phases)
    assert not any(act.intervention for act in acts)


@pytest.mark.parametrize("task", TASKS)
def test_other_seeds_give_other_layouts(task):
    env = sim.make(task)
    layouts = {env.reset(seed=seed)[0]["object_state"].tobytes() for seed in range(20)}
    assert len(layouts) == 20


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_done_when_an_episode_begins(task):
    env = sim.make(task)
    for seed in range(10):
        _, info = env.reset(seed=seed)
        assert not info["success"]
        assert info["cost"] == 0
        assert 0 <= env.progress() < 0.9


@pytest.mark.parametrize("task", TASKS)
def test_an_expert_passes_every_milestone_in_order(task):
    env = sim.make(task)
    env.reset(seed=3)
    assert not any(env.milestones().values())
    expert = sim.make_expert(env, rng=np.random.default_rng(3))
    passed = {}
    for step in range(env.max_steps):
        *_, info = env.step(expert.act().executed)
        for name, holds in env.milestones().items():
            if holds:
                passed.setdefault(name, step)
        if info["success"]:
            break
    assert info["success"]
    steps = [passed[name] for name in env.milestones()]
    assert steps
    assert steps == sorted(steps)


@pytest.mark.parametrize("task", TASKS)
def test_distractors_and_randomisation_leave_the_layout_alone(task):
    plain, _ = sim.make(task).reset(seed=11)
    varied = sim.make(task, distractors=4, randomise=("physics", "colours", "lights", "cameras"))
    observation, info = varied.reset(seed=11)
    np.testing.assert_array_equal(plain["object_state"], observation["object_state"])
    assert not info["success"]
    assert info["cost"] == 0


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("push", {"distractors": 4}),
        ("stack", {"distractors": 4, "randomise": ("physics",)}),
        ("drawer", {"distractors": 4, "randomise": ("physics",)}),
        ("insert", {"randomise": ("physics",)}),
    ],
)
def test_experts_cope_with_distractors_and_other_physics(task, options):
    played = [play(task, seed, **options) for seed in range(4)]
    assert sum(info["success"] for *_, info in played) >= 3


@pytest.mark.parametrize("task", sorted(CHANCE))
def test_both_ways_are_taken_equally_often(task):
    env = sim.make(task)
    assert env.modes == ("left", "right")
    left = 0
    for seed in range(300):
        env.reset(seed=seed)
        phases = env.script(np.random.default_rng(seed))
        words = next(phase.words for phase in phases if "past" in phase.words)
        left += "left" in words
    assert 0.40 < left / 300 < 0.60


@pytest.mark.parametrize("task", sorted(CHANCE))
def test_the_mode_is_the_way_that_was_taken(task):
    ways = set()
    for seed in range(6):
        _, acts, *_, info = play(task, seed)
        said = next(act.phase for act in acts if "past" in act.phase)
        assert said.endswith(info["mode"])
        ways.add(info["mode"])
    assert ways == {"left", "right"}


def test_straight_on_runs_into_the_post():
    """The mean of left and right is no way at all: that is what two modes are for."""
    env = sim.make("pick-place-post")
    env.reset(seed=0)
    expert = sim.Expert(env, rng=np.random.default_rng(0))
    while "past" not in (act := expert.act()).phase:
        env.step(act.executed)
    start, action = env.tool_position().copy(), act.label.copy()
    ik, costs = InverseKinematics(action[:6].astype(float)), 0.0
    for k in range(24):
        ahead = start + np.array([0.012 * k, 0, 0])
        *_, info = env.step(np.append(ik.solve(ahead, 0.0), action[6]).astype(np.float32))
        costs += info["cost"]
    assert costs > 8  # longer than the actions of one chunk


def test_a_correction_brings_the_tool_where_its_words_say():
    arm = mujoco.MjModel.from_xml_string(sim.kinematics_xml())
    data = mujoco.MjData(arm)

    def tool(joints):
        data.qpos[:] = joints[:6]
        mujoco.mj_kinematics(arm, data)
        return data.site("tcp").xpos.copy()

    seen = set()
    for seed in range(14):
        _, acts, *_ = play("pick-place", seed, noise=0.0, recovery=1.0)
        for before, act in pairwise(acts):
            if before.intervention or not act.intervention:
                continue
            # The last step of the mistake: what is executed leads away, the label leads back.
            seen.add(act.phase)
            if act.phase == OPEN_THE_GRIPPER:
                assert before.executed[6] > before.label[6] + 0.1
                continue
            back = tool(before.label) - tool(before.executed)
            assert back @ CORRECTIONS[act.phase] > 0.005
            assert back @ CORRECTIONS[act.phase] > 0.9 * np.linalg.norm(back)
    assert len(seen) >= 6


def test_shaped_rewards_add_up_to_the_progress_made():
    env = sim.make("pick-place", reward="shaped")
    env.reset(seed=2)
    before, total = env.progress(), 0.0
    expert = sim.Expert(env, rng=np.random.default_rng(2))
    for _ in range(60):
        _, reward, *_ = env.step(expert.act().executed)
        total += reward
    assert total == pytest.approx(env.progress() - before)
    assert total > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": ("back",)}, "cameras must be of front, wrist"),
        ({"cameras": ("front", "front")}, "cameras must be of"),
        ({"randomise": ("gravity",)}, "randomise must be of physics"),
        ({"visuals": "pretty"}, "visuals must be one of lowpoly, full"),
        ({"reward": "dense"}, "reward must be one of sparse, shaped"),
        ({"distractors": 99}, "distractors must lie in 0 to"),
        ({"distractors": 1.5}, "distractors must lie in 0 to"),
        ({"points": 10}, "need cameras"),
        ({"image_width": 0, "cameras": ("front",)}, "image_width must lie in 1 to 1280"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(sim.SimulationError, match=message):
        sim.make("stack", **options)


@pytest.mark.parametrize("recovery", [-0.1, 1.1, float("nan")])
def test_a_recovery_that_is_no_probability_is_refused(recovery):
    env = sim.make("reach")
    env.reset(seed=0)
    with pytest.raises(sim.SimulationError, match=r"recovery must lie in 0\.\.1"):
        sim.Expert(env, recovery=recovery)


def test_what_the_gripper_holds_does_not_creep():
    env = sim.make("pick-place")
    for seed in range(10000, 10006):
        env.reset(seed=seed)
        expert = sim.Expert(env, rng=np.random.default_rng(seed))
        held = {}
        while not expert.done:
            act = expert.act()
            env.step(act.executed)
            rotation = env.data.site("tcp").xmat.reshape(3, 3)
            offset = rotation.T @ (env.body("cube").position - env.tool_position())
            held[act.phase] = offset
        moved = held["lower to the goal"] - held["close the gripper"]
        assert np.abs(moved).max() < 0.0015
