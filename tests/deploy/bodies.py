"""The arm of the simulator as a guard may see it, over a floor and beside a wall."""

from functools import cache

import numpy as np

from bridle.deploy.guard.limits import Situation
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.robot import JointLimits, load_robot
from bridle.sim.robots.ur5e import kinematics_xml

HOME = np.array([-np.pi / 2, -np.pi / 2, np.pi / 2, -np.pi / 2, -np.pi / 2, 0.0, 0.0])
SCENE = (
    '<worldbody><geom name="floor" type="plane" size="3 3 .1" pos="0 0 -0.05"/>'
    '<geom name="wall" type="box" size=".02 1 1" pos="-0.5 0 0.5"/>'
)


@cache
def arm() -> RobotModel:
    """One for all tests: each places it."""
    return RobotModel(kinematics_xml().replace("<worldbody>", SCENE, 1), 7)


def limits() -> JointLimits:
    return load_robot("ur5e_2f85").limits


def situation(q, v=None, wanted=None, **changes) -> Situation:
    model = arm()
    model.place(q)
    v = np.zeros(7) if v is None else v
    values = {
        "q": q,
        "v": v,
        "a": np.zeros(7),
        "wanted": v if wanted is None else wanted,
        "dt": 0.005,
        "latency": 0.01,
        "limits": limits(),
        "model": model,
    }
    return Situation(**values | changes)
