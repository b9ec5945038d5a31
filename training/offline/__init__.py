"""Offline reinforcement learning: a better and safer policy out of the demonstrations there are.

A run's policy goes on learning from a set by weighted imitation; critics of the set's rewards and
costs give the weights. docs/offline.md explains it.
"""

from bridle.training.offline.config import FISORConfig, IQLConfig
from bridle.training.offline.finetuning import Finetuned, finetune
from bridle.training.offline.judging import JudgedPolicy, critics_for, load_critics

__all__ = [
    "FISORConfig",
    "Finetuned",
    "IQLConfig",
    "JudgedPolicy",
    "critics_for",
    "finetune",
    "load_critics",
]
