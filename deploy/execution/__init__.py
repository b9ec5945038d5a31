"""Chunks in time: which action is executed when, while the next chunk is still being computed."""

from bridle.deploy.execution.delay import DelayConfig, DelayEstimate
from bridle.deploy.execution.guidance import (
    Encoded,
    Guided,
    OneStep,
    Previous,
    guided_sample,
    prefix_weights,
    prefixed_sample,
)
from bridle.deploy.execution.merging import ExecutionConfig, Plan, Strategy
from bridle.deploy.execution.served import ServedPolicy
from bridle.deploy.execution.timeline import Timeline
from bridle.deploy.execution.tracking import Segment

__all__ = [
    "DelayConfig",
    "DelayEstimate",
    "Encoded",
    "ExecutionConfig",
    "Guided",
    "OneStep",
    "Plan",
    "Previous",
    "Segment",
    "ServedPolicy",
    "Strategy",
    "Timeline",
    "guided_sample",
    "prefix_weights",
    "prefixed_sample",
]
