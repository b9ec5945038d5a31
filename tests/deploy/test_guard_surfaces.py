"""Distances from the robot's surface to a point, against MuJoCo's own and their differences."""

import mujoco
import numpy as np
import pytest

from bridle.deploy.guard.model import RobotModel
from bridle.deploy.guard.surfaces import Surfaces

from .bodies import HOME, arm

KINDS = {
    "sphere": 'type="sphere" size="0.05"',
    "capsule": 'type="capsule" size="0.04 0.12"',
    "cylinder": 'type="cylinder" size="0.05 0.1"',
    "box": 'type="box" size="0.05 0.08 0.03"',
}
ONE = """<mujoco><worldbody>
<geom name="ball" type="sphere" size="0.001" pos="1 1 1"/>
<body><joint axis="0.3 0.5 0.8"/><geom name="part" {} pos="0.2 0.1 0" euler="20 50 10"/>
  <site name="tcp"/></body></worldbody></mujoco>"""


def points(count, near, spread):
    random = np.random.default_rng(0)
    return near + random.normal(0, spread, (count, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_outside_a_geom_the_distance_is_that_of_mujoco(kind):
    model = RobotModel(ONE.format(KINDS[kind]), 1)
    surfaces = Surfaces(model)
    model.place(np.array([0.7]))
    ball, part = (model.model.geom(name).id for name in ("ball", "part"))
    outside = 0
    for point in points(200, model.data.geom_xpos[part], 0.12):
        model.model.geom_pos[ball] = point
        model.place(np.array([0.7]))
        (found,) = surfaces.distances(point)
        exact = mujoco.mj_geomDistance(model.model, model.data, ball, part, 1.0, None) + 0.001
        # Inside, MuJoCo's is the way out of the ball that is pushed out.
        if found > 0.001:
            outside += 1
            assert found == pytest.approx(exact, abs=1e-6)
        else:
            assert exact < 0.003
    assert outside > 50


def test_an_ellipsoid_is_the_ball_that_holds_it():
    model = RobotModel(ONE.format('type="ellipsoid" size="0.02 0.05 0.03"'), 1)
    centre = model.data.geom_xpos[model.model.geom("part").id]
    (found,) = Surfaces(model).distances(centre + np.array([0.0, 0.0, 0.2]))
    assert found == pytest.approx(0.15)


def test_gradients_are_the_derivatives_inside_and_outside():
    model = arm()
    surfaces = Surfaces(model)
    random = np.random.default_rng(1)
    inside = 0
    for _ in range(40):
        q = HOME + np.append(random.uniform(-1, 1, 6), 0.0)
        model.place(q)
        part = model.data.geom_xpos[random.choice(model.moving_geoms)]
        point = part + random.normal(0, 0.06, 3)
        distances, gradients = surfaces.nearest(point)
        assert distances == pytest.approx(surfaces.distances(point), abs=0)
        inside += int((distances < 0).any())
        for i in range(7):
            ends = []
            for sign in (-1, 1):
                moved = q.copy()
                moved[i] += sign * 1e-6
                model.place(moved)
                ends.append(surfaces.distances(point))
            slope = (ends[1] - ends[0]) / 2e-6
            # Where two faces are as near, there is none: at most one part in a posture.
            off = np.abs(slope - gradients[:, i]) > 1e-5
            assert off.sum() <= 1
    assert inside > 5


def test_in_the_middle_of_a_geom_there_is_a_way_out_too():
    for kind, depth in (("sphere", 0.05), ("capsule", 0.04), ("cylinder", 0.05), ("box", 0.03)):
        model = RobotModel(ONE.format(KINDS[kind]), 1)
        centre = model.data.geom_xpos[model.model.geom("part").id].copy()
        distances, gradients = Surfaces(model).nearest(centre)
        assert distances == pytest.approx([-depth])
        assert np.isfinite(gradients).all()
