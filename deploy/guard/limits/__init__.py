"""Hard limits, one class per file. Adding one is a file here and a line in the list of a guard."""

from bridle.deploy.guard.limits.acceleration import AccelerationLimit
from bridle.deploy.guard.limits.base import Excess, Limit, Obstacle, Rows, Situation
from bridle.deploy.guard.limits.collision import CollisionLimit
from bridle.deploy.guard.limits.jerk import JerkLimit
from bridle.deploy.guard.limits.position import PositionLimit
from bridle.deploy.guard.limits.separation import SeparationLimit
from bridle.deploy.guard.limits.singularity import SingularityLimit
from bridle.deploy.guard.limits.tool_speed import ToolSpeedLimit
from bridle.deploy.guard.limits.torque import TorqueLimit
from bridle.deploy.guard.limits.velocity import VelocityLimit
from bridle.deploy.guard.limits.workspace import WorkspaceLimit, box

__all__ = [
    "AccelerationLimit",
    "CollisionLimit",
    "Excess",
    "JerkLimit",
    "Limit",
    "Obstacle",
    "PositionLimit",
    "Rows",
    "SeparationLimit",
    "SingularityLimit",
    "Situation",
    "ToolSpeedLimit",
    "TorqueLimit",
    "VelocityLimit",
    "WorkspaceLimit",
    "box",
]
