import numpy as np
import pytest

from bridle import sim
from bridle.policies import Policy, PolicyConfig, StateEncoderConfig
from bridle.training.evaluation import ChoosingPolicy, evaluate, record_video
from bridle.training.exceptions import TrainingError


class ExpertPolicy:
    """The scripted expert behind the interface of a policy: evaluation must find it good."""

    task = "pick-place"
    n_obs_steps, n_action_steps, first_action = 1, 8, 0
    horizon, action_size = 8, 7
    keys = ("joint_position", "object_state")

    def __init__(self) -> None:
        self.plans = {}

    def __call__(self, observation, noise):
        chunks = []
        for scene in observation["object_state"][:, -1]:
            key = scene[5:7].tobytes()  # the goal does not move: it identifies the episode
            if key not in self.plans:
                self.plans[key] = self.labels(scene[5:7])
            plan = self.plans[key]
            chunk, self.plans[key] = plan[:8], np.concatenate([plan[8:], plan[-1:].repeat(8, 0)])
            chunks.append(chunk)
        return np.array(chunks)

    def labels(self, goal):
        for seed in range(500, 600):
            env = sim.make("pick-place")
            env.reset(seed=seed)
            if np.allclose(env.goal[:2], goal, atol=1e-6):
                break
        expert, labels = sim.Expert(env), []
        while not expert.done:
            labels.append(expert.act().executed)
            env.step(labels[-1])
        return np.array(labels)


class StillPolicy(ExpertPolicy):
    def __call__(self, observation, noise):
        arm = observation["joint_position"][:, -1:].repeat(8, axis=1)
        return np.concatenate([arm, np.zeros_like(arm[..., :1])], axis=-1)


def test_an_expert_succeeds_and_a_policy_that_stays_does_not():
    assert evaluate(ExpertPolicy(), "pick-place", episodes=4).successes == 4
    still = evaluate(StillPolicy(), "pick-place", episodes=4)
    assert still.successes == 0
    assert still.mean_steps == 200
    assert still.mean_cost == still.episodes_with_cost == 0


def test_it_says_how_far_episodes_came():
    expert = evaluate(ExpertPolicy(), "pick-place", episodes=2)
    assert [m.name for m in expert.milestones] == [
        "reach the cube",
        "lift the cube",
        "bring it over the spot",
        "put it down there",
        "success",
    ]
    assert all((m.passed, m.failed) == (2, 0) for m in expert.milestones)
    still = evaluate(StillPolicy(), "pick-place", episodes=2)
    assert [(m.passed, m.failed) for m in still.milestones] == [(0, 2), *[(0, 0)] * 4]
    assert still.by_mode == still.by_instruction == ()


def test_it_says_how_each_instruction_went():
    result = evaluate(StillPolicy(), "sort-one", episodes=6)
    asked = [episode.instruction for episode in result.per_episode]
    assert {s.name: s.episodes for s in result.by_instruction} == {a: asked.count(a) for a in asked}
    assert len(result.by_instruction) > 1
    assert sum(s.successes for s in result.by_instruction) == 0


def test_what_the_robot_runs_into_costs():
    class Diving(StillPolicy):
        def __call__(self, observation, noise):
            actions = super().__call__(observation, noise)
            actions[..., 1] += 0.1  # the shoulder, downwards
            return actions

    result = evaluate(Diving(), "pick-place", episodes=2)
    assert result.episodes_with_cost == 2
    assert result.mean_cost == np.mean([episode.cost for episode in result.per_episode]) > 10


def test_an_episode_does_not_depend_on_how_many_run():
    class Noisy(StillPolicy):
        def __call__(self, observation, noise):
            return super().__call__(observation, noise) + 0.02 * noise

    few = evaluate(Noisy(), "pick-place", episodes=2, threads=1)
    many = evaluate(Noisy(), "pick-place", episodes=5, threads=3)
    assert few.per_episode == many.per_episode[:2]


def test_a_video_is_written(tmp_path):
    result = evaluate(ExpertPolicy(), "pick-place", episodes=1)
    try:
        record_video(ExpertPolicy(), result, tmp_path / "v.mp4", episodes=1)
    except sim.RenderingError as error:
        pytest.skip(str(error))
    import imageio.v3 as iio

    frames = iio.imread(tmp_path / "v.mp4")
    assert frames.shape[1:] == (240, 320, 3)
    assert len(frames) > 50


def test_a_policy_that_does_not_fit_the_task_is_refused():
    class Blind(StillPolicy):
        keys = ("camera_front",)

    with pytest.raises(TrainingError, match="observes camera_front"):
        evaluate(Blind(), "pick-place", episodes=1)
    with pytest.raises(TrainingError, match="at least 1"):
        evaluate(StillPolicy(), "pick-place", episodes=0)
    with pytest.raises(TrainingError, match="threads must be at least 1, got 0"):
        evaluate(StillPolicy(), "pick-place", episodes=1, threads=0)


class ChoosingStill(StillPolicy):
    """Stays, and remembers what it was told to compare candidates by."""

    n_obs_steps, first_action, horizon = 3, 2, 10
    n_candidates = 4

    def __init__(self):
        super().__init__()
        self.told, self.given = [], []

    def best_of(self, observation, noise, executed):
        assert noise.shape == (len(executed), 4, 10, 7)
        chunk = self(observation, noise)
        chunk = np.concatenate([chunk, chunk[:, -1:].repeat(2, axis=1)], axis=1)
        chunk += 1e-4 * np.arange(10, dtype=np.float32)[:, None]  # no two actions are the same
        self.told.append(executed)
        self.given.append(chunk)
        return chunk


def test_candidates_are_compared_by_what_was_executed_before():
    policy = ChoosingStill()
    evaluate(policy, "pick-place", episodes=2)
    assert np.isnan(policy.told[0]).all()
    for told, given in zip(policy.told[1:], policy.given, strict=False):
        # Actions 2 to 9 of the last chunk were executed; the last two of them are now the past.
        assert np.array_equal(told, given[:, 8:10])


def test_a_policy_without_a_past_cannot_choose_by_it():
    config = PolicyConfig(StateEncoderConfig({"joint_position": 6}), action_size=7)
    with pytest.raises(TrainingError, match="predicts none"):
        ChoosingPolicy(Policy(config), "pick-place", 4)
    with pytest.raises(TrainingError, match="at least 2"):
        ChoosingPolicy(Policy(config), "pick-place", 1)
