"""Chunks in time: which action is executed when, while the next chunk is still being computed."""

from bridle.deploy.execution.delay import DelayConfig, DelayEstimate
from bridle.deploy.execution.guidance import (
    Encoded,
    Guided,
    OneStep,
    Previous,
    continued,
    guided_sample,
    misfit,
    prefix_weights,
)
from bridle.deploy.execution.merging import ExecutionConfig, Mask, Plan, Strategy
from bridle.deploy.execution.sampling import ChunkSampler, Sampled, suited
from bridle.deploy.execution.served import ServedPolicy
from bridle.deploy.execution.timeline import Timeline
from bridle.deploy.execution.tracking import Segment

__all__ = [
    "ChunkSampler",
    "DelayConfig",
    "DelayEstimate",
    "Encoded",
    "ExecutionConfig",
    "Guided",
    "Mask",
    "OneStep",
    "Plan",
    "Previous",
    "Sampled",
    "Segment",
    "ServedPolicy",
    "Strategy",
    "Timeline",
    "continued",
    "guided_sample",
    "misfit",
    "prefix_weights",
    "suited",
]
