import numpy as np
import pytest

from bridle import sim
from bridle.training.evaluation import evaluate, record_video, wilson_interval
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


def test_an_episode_does_not_depend_on_how_many_run():
    class Noisy(StillPolicy):
        def __call__(self, observation, noise):
            return super().__call__(observation, noise) + 0.02 * noise

    few = evaluate(Noisy(), "pick-place", episodes=2)
    many = evaluate(Noisy(), "pick-place", episodes=5)
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


def test_wilson_interval_of_published_values():
    # Newcombe 1998, table I: 81 of 263 is 0.2553 to 0.3662, 0 of 20 is 0 to 0.1611.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_a_policy_that_does_not_fit_the_task_is_refused():
    class Blind(StillPolicy):
        keys = ("camera_front",)

    with pytest.raises(TrainingError, match="observes camera_front"):
        evaluate(Blind(), "pick-place", episodes=1)
    with pytest.raises(TrainingError, match="at least 1"):
        evaluate(StillPolicy(), "pick-place", episodes=0)
