"""Offline fine-tuning from beginning to end: a run and a set in, a better run out."""

from dataclasses import dataclass

from bridle.training import runs
from bridle.training.config import TrainConfig
from bridle.training.exceptions import TrainingError
from bridle.training.offline.config import IQLConfig, Offline, OfflineTrainConfig
from bridle.training.offline.learner import Judgement, OfflineLearner
from bridle.training.structure import to_plain
from bridle.training.trainer import TrainResult, train


@dataclass(frozen=True)
class Finetuned:
    """What offline fine-tuning gave."""

    training: TrainResult
    """Of the policy."""
    judgement: Judgement
    """Of the critics on the set."""


def finetune(config: IQLConfig) -> Finetuned:
    """Train critics on a set and the policy by what they say, or continue what was cut off.

    Raises:
        TrainingError: the settings, the run, the folder or the data do not allow it.
        DemonstrationError: the data cannot be read.
        PolicyError: the set is not what the policy observes.
    """
    settings = train_config(config)
    robot = config.run / runs.ROBOT
    made: list[OfflineLearner] = []

    def learner(settings: OfflineTrainConfig) -> OfflineLearner:
        made.append(OfflineLearner(settings))
        return made[0]

    result = train(settings, robot.read_text() if robot.is_file() else None, learner)
    judgement = made[0].judgement
    assert judgement is not None
    return Finetuned(result, judgement)


def train_config(config: IQLConfig) -> OfflineTrainConfig:
    """The settings of the weighted imitation: what the run has, and what is asked for.

    Raises:
        TrainingError: the run is none, or a setting is out of range.
    """
    if config.out.resolve() == config.run.resolve():
        raise TrainingError(f"out must be another folder than the run it begins with: {config.out}")
    found = runs.read_config(config.run)
    policy = found.policy
    return OfflineTrainConfig(
        data=config.data,
        out=config.out,
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
        checkpoint_seconds=config.checkpoint_seconds,
        horizon=policy.horizon,
        n_action_steps=policy.n_action_steps,
        n_obs_steps=policy.encoder.n_obs_steps,
        past=policy.past,
        committed=policy.committed,
        observe=found.train.get("observe", TrainConfig.observe),
        generator=to_plain("generator", policy.generator)["kind"],
        network=to_plain("network", policy.network)["kind"],
        set=tuple(found.train.get("set", ())),
        offline=Offline(
            run=config.run,
            critic=config.critic,
            weights=config.weights,
            steps=config.critic_steps,
            batch_size=config.critic_batch_size,
            learning_rate=config.critic_learning_rate,
        ),
    )
