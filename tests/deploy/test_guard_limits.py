"""Each limit's inequality against what it stands for: distances, speeds and torques themselves."""

import mujoco
import numpy as np
import pytest

from bridle.deploy.exceptions import KinematicsError
from bridle.deploy.guard.limits import (
    AccelerationLimit,
    CollisionLimit,
    JerkLimit,
    Obstacle,
    PositionLimit,
    SeparationLimit,
    SingularityLimit,
    ToolSpeedLimit,
    TorqueLimit,
    VelocityLimit,
    WorkspaceLimit,
    box,
)
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.guard.pairs import Pairs
from bridle.deploy.guard.program import Constraints, nearest
from bridle.deploy.guard.surfaces import Surfaces
from bridle.deploy.robot import HalfSpace, RobotError, load_robot

from .bodies import HOME, arm, limits, situation


def poses(count, seed=0, spread=1.0):
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield HOME + np.append(random.uniform(-spread, spread, 6), 0.0)


def along(value, q, step=1e-6):
    """Derivative of a function of the model by each joint, by central differences."""
    model, slopes = arm(), []
    for i in range(7):
        ends = []
        for sign in (1, -1):
            moved = q.copy()
            moved[i] += sign * step
            model.place(moved)
            ends.append(value(model))
        slopes.append((ends[0] - ends[1]) / (2 * step))
    model.place(q)
    return np.array(slopes)


# -- the model -------------------------------------------------------------------------------------


def test_the_tools_jacobian_is_the_derivative_of_its_position():
    for q in poses(5):
        arm().place(q)
        jacobian = arm().tool_jacobian()[:3]
        found = np.array([along(lambda m, i=i: m.tool[i], q) for i in range(3)])
        assert np.allclose(jacobian, found, atol=1e-6)


def test_gradients_of_distances_are_their_derivatives():
    model, agree = arm(), {True: [], False: []}
    pairs = model.pairs()
    for q in poses(25, spread=2.0):
        model.place(q)
        found = model.distances(pairs, [2.0] * len(pairs))
        assert found.which == list(range(len(pairs)))
        for (a, b), value, gradient in zip(pairs, found.values, found.gradients, strict=True):
            model.place(q)
            assert value == model.distance(a, b, 2.0)
            slope = along(lambda m, a=a, b=b: m.distance(a, b, 2.0), q, step=1e-5)
            agree[value > 0].append(np.allclose(gradient, slope, atol=2e-3))
    # Where two places are equally near there is a kink, and inside one another the nearest
    # surface jumps.
    assert len(agree[True]) > 400
    assert np.mean(agree[True]) > 0.98
    assert np.mean(agree[False]) > 0.8


def test_only_distances_of_pairs_that_are_near_are_given():
    model = arm()
    pairs = model.pairs()
    model.place(HOME)
    everything = model.distances(pairs, [2.0] * len(pairs))
    middle = float(np.median(everything.values))
    near = model.distances(pairs, [middle] * len(pairs))
    assert near.which == np.flatnonzero(everything.values < middle).tolist()
    np.testing.assert_array_equal(near.values, everything.values[near.which])
    np.testing.assert_array_equal(near.gradients, everything.gradients[near.which])
    nothing = model.distances(pairs, [-1.0] * len(pairs))
    assert nothing.which == []
    assert nothing.gradients.shape == (0, model.n_joints)


@pytest.mark.parametrize(
    "numbers",
    [((0, 0, np.nan), 0.1, 1.0), ((0, 0, 0), -3.0, 1.0), ((0, 0, 0), 0.1, -1.0), ((0, 0), 0.1, 1)],
)
def test_an_obstacle_is_made_of_finite_numbers(numbers):
    with pytest.raises(ValueError, match="no obstacle"):
        Obstacle(*numbers)


def named_pairs(model):
    return {frozenset(map(model.name, pair)) for pair in model.pairs()}


def test_pairs_are_of_bodies_that_are_not_joined_and_of_which_one_moves():
    names = named_pairs(arm())
    assert frozenset(("upper_arm_link", "forearm_link")) not in names
    assert frozenset(("floor", "wall")) not in names
    assert frozenset(("floor", "wrist_3_link")) in names
    assert frozenset(("shoulder_link", "wrist_1_link")) in names


SMALL = """<mujoco><worldbody>
<body name="post"><geom name="post" size="0.1"/></body>
<body><geom name="upper" size="0.1"/><joint/>
  <body><geom name="lower" size="0.1" {lower}/><joint/>
    <body name="tip"><geom name="tip" size="0.1" {tip}/><joint/><site name="tcp"/></body>
  </body>
</body></worldbody><contact>{contact}</contact></mujoco>"""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"post lower", "post tip", "upper tip"}),
        ({"contact": "<exclude body1='tip' body2='post'/>"}, {"post lower", "upper tip"}),
        ({"tip": "contype='0' conaffinity='0'"}, {"post lower"}),
        ({"tip": "contype='2' conaffinity='0'"}, {"post lower"}),
        ({"tip": "contype='2'"}, {"post lower", "post tip", "upper tip"}),
        (
            {"contact": "<pair geom1='tip' geom2='lower'/>", "tip": "contype='0' conaffinity='0'"},
            {"lower tip", "post lower"},
        ),
    ],
)
def test_the_model_says_which_pairs_may_touch(changes, expected):
    text = SMALL.format_map({"lower": "", "tip": "", "contact": ""} | changes)
    model = RobotModel(text, 3)
    # What stands in the world may be in the way of the first link, too.
    always = {frozenset(("post", "upper"))}
    assert named_pairs(model) == {frozenset(pair.split()) for pair in expected} | always


def test_the_mass_matrix_is_mujocos():
    """Forward and inverse dynamics agree: M a + h is the torque that gives a."""
    model = arm()
    random = np.random.default_rng(0)
    for q in poses(3):
        v, acceleration = random.normal(0, 1, (2, 7))
        v[6] = acceleration[6] = 0
        model.place(q)
        mass, bias = model.dynamics(v)
        data = mujoco.MjData(model.model)
        data.qpos[:], data.qvel[:], data.qacc[:] = q[:6], v[:6], acceleration[:6]
        # Gravity is compensated in the simulator's model by a force of its own.
        mujoco.mj_inverse(model.model, data)
        passive = data.qfrc_passive + data.qfrc_constraint
        wanted = data.qfrc_inverse + passive
        assert np.allclose((mass @ acceleration + bias)[:6], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<mujoco", "does not compile|not well-formed|XML"),
        ("<mujoco><worldbody/></mujoco>", "has no site 'tcp'"),
    ],
)
def test_models_that_cannot_be_guarded_are_refused(xml, message):
    with pytest.raises(KinematicsError, match=message):
        RobotModel(xml, 7)


# -- joints ----------------------------------------------------------------------------------------


def test_joint_limits_are_bounds_on_the_next_velocity():
    s = situation(HOME, v=np.full(7, 0.5))
    low, high = VelocityLimit().bounds(s)
    assert np.array_equal(high, s.limits.velocity)
    assert np.array_equal(low, -high)
    assert np.array_equal(AccelerationLimit().acceleration(s), s.limits.acceleration)
    assert np.array_equal(JerkLimit().jerk(s), s.limits.jerk)
    low, high = PositionLimit().bounds(s)
    # The gripper stands at its lower limit.
    assert low[6] == pytest.approx(0.0)
    assert high[6] > 0


# -- the tool --------------------------------------------------------------------------------------


def test_half_spaces_hold_the_tool_in_closed_loop_at_every_rate():
    """Driven straight at a wall from everywhere, it stops before it, and near it."""
    for dt in (0.01, 0.005, 0.002):
        random = np.random.default_rng(0)
        for _ in range(3):
            arm().place(HOME)
            normal = random.normal(size=3)
            normal /= np.linalg.norm(normal)
            wall = HalfSpace("wall", tuple(normal), float(normal @ arm().tool + 0.1))
            limit = WorkspaceLimit([wall])
            nearest_yet, _ = drive([limit], lambda m, n=normal: m.tool_jacobian()[:3].T @ n, dt)
            assert -1e-4 < nearest_yet < 0.02


def drive(own, push, dt, seconds=1.0, start=HOME):
    """Ask for full speed along `push(model)`; the smallest distance by which limits were kept."""
    model, bounds = arm(), limits()
    every = [VelocityLimit(), PositionLimit(), *own]
    q, v = start.copy(), np.zeros(7)
    inside = []
    for _ in range(round(seconds / dt)):
        model.place(q)
        direction = push(model)
        wanted = direction / max(np.abs(direction / bounds.velocity).max(), 1e-9)
        s = situation(q, v=v, wanted=wanted, dt=dt)
        constraints = Constraints.of(every, s)
        found = nearest(wanted, constraints)
        # Towards rest where there is none, which the guard has ready as a stop.
        goal = np.zeros(7) if found is None else found.velocity
        v = v + np.clip(goal - v, -bounds.acceleration * dt, bounds.acceleration * dt)
        q = q + v * dt
        model.place(q)
        inside.append(min(-each.excess(model).by for each in own))
        if len(inside) > 10 and np.abs(v).max() < 1e-4:
            break
    return min(inside), q


def test_a_box_is_six_half_spaces():
    workspace = load_robot("ur5e_2f85").workspace
    limit = WorkspaceLimit(box(workspace))
    arm().place(HOME)
    x, y, z = arm().tool
    outside = limit.excess(arm())
    distances = [
        x - workspace.x[0],
        workspace.x[1] - x,
        y - workspace.y[0],
        workspace.y[1] - y,
        z - workspace.z[0],
        workspace.z[1] - z,
    ]
    assert outside.value == pytest.approx(min(distances))
    assert outside.by == pytest.approx(-min(distances))


def test_the_tool_is_slowed_down_along_its_path():
    random = np.random.default_rng(0)
    limit = ToolSpeedLimit(0.25)
    for q in poses(50):
        wanted = random.normal(0, 1, 7)
        s = situation(q, wanted=wanted)
        slowed = limit.share(s) * wanted
        speed = np.linalg.norm(s.model.tool_jacobian()[:3] @ slowed)
        asked = np.linalg.norm(s.model.tool_jacobian()[:3] @ wanted)
        assert speed == pytest.approx(min(0.25, asked))
        # The planes leave alone what is within the ball.
        again = situation(q, wanted=slowed)
        found = nearest(slowed, Constraints.of([limit], again))
        assert np.allclose(found.velocity, slowed, atol=1e-9)
    assert limit.share(situation(HOME, wanted=np.zeros(7))) == 1.0


# -- surroundings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dt", [0.01, 0.0025])
def test_nothing_comes_nearer_than_the_margin_in_closed_loop(dt):
    model = arm()
    limit = CollisionLimit(Pairs(model, model.pairs()), margin=0.01, horizon=0.3)
    random = np.random.default_rng(1)
    for _ in range(3):
        push = np.append(random.uniform(-1, 1, 6), 0.0)
        nearest_yet, _ = drive([limit], lambda _, p=push: p, dt)
        assert nearest_yet > -2e-3


def test_a_margin_is_a_distance_whatever_the_period():
    """The bound is on a velocity: it does not grow as the period shrinks."""
    bounds = []
    for dt in (0.01, 0.001):
        s = situation(HOME, dt=dt, latency=0.02 - dt, wanted=np.full(7, 2.0))
        bounds.append(CollisionLimit(Pairs(arm(), arm().pairs()), horizon=0.6).rows(s).bound)
    assert np.allclose(*bounds)


def test_before_a_person_the_robot_is_at_rest_when_they_are_there():
    """Played out: the person comes at full speed, the robot is asked to go on."""
    model = arm()
    separation = SeparationLimit(Surfaces(model), uncertainty=0.05)
    random = np.random.default_rng(0)
    bounds, dt = limits(), 0.005
    every = [VelocityLimit(), PositionLimit(), separation]
    for _ in range(6):
        q, v = HOME.copy(), np.zeros(7)
        model.place(q)
        aim = np.append(random.uniform(-1, 1, 6), 0.0)
        place = model.tool + np.array([0.0, 0.0, 0.9])
        for _ in range(300):
            model.place(q)
            nearest_part = model.data.geom_xpos[list(model.moving_geoms)]
            apart = nearest_part - place
            i = int(np.linalg.norm(apart, axis=1).argmin())
            place = place + 1.6 * dt * apart[i] / max(np.linalg.norm(apart[i]), 1e-9)
            person = Obstacle(tuple(place), 0.1, 1.6)
            distance = separation.distances(person).min()
            if distance <= 0.05:
                break
            wanted = aim / np.abs(aim / bounds.velocity).max()
            s = situation(q, v=v, wanted=wanted, obstacles=(person,))
            found = nearest(wanted, Constraints.of(every, s))
            goal = np.zeros(7) if found is None else found.velocity
            v = v + np.clip(goal - v, -bounds.acceleration * dt, bounds.acceleration * dt)
            q = q + v * dt
        model.place(q)
        distances = separation.distances(person)
        model.place(q + 1e-6 * v)
        speeds = (distances - separation.distances(person)) / 1e-6
        # A row knows the way that leads apart now; how it turns, only the judge of the stop does.
        assert speeds[distances < 0.1].max() < 0.1


def test_separation_leaves_the_time_in_which_the_robot_stops():
    """w (T + v/a) + v T + v^2/2a is the distance, without what is uncertain."""
    settling, a, w, delay = 0.2, 4.0, 1.6, 0.05
    separation = SeparationLimit(Surfaces(arm()), uncertainty=0.1, settling=settling)
    for distance in (0.51, 0.7, 1.0, 3.0):
        (v,) = separation.speed(np.array([distance]), w, np.array([a]), delay)
        used = w * (delay + v / a + settling) + v * delay + v * v / (2 * a)
        assert used == pytest.approx(distance - 0.1)
    assert separation.speed(np.array([0.49]), w, np.array([a]), delay) == 0.0


def test_a_robot_without_a_part_that_moves_cannot_be_kept_away():
    bare = """<mujoco><worldbody><geom size=".1"/><body><joint name="a"/>
      <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/><site name="tcp"/>
    </body></worldbody></mujoco>"""
    with pytest.raises(RobotError, match="separation needs a model in which a geom moves"):
        SeparationLimit(Surfaces(RobotModel(bare, 1)))


# -- torque and posture ----------------------------------------------------------------------------


def test_no_torque_is_asked_for_beyond_its_share():
    random = np.random.default_rng(0)
    most = np.append([150.0, 150.0, 150.0, 28.0, 28.0, 28.0], np.inf)
    limit, held = TorqueLimit(most, usable=0.5), 0
    for q in poses(10):
        v = np.append(random.normal(0, 0.5, 6), 0.0)
        s = situation(q, v=v)
        allowed = limit.acceleration(s)
        share = allowed / s.limits.acceleration
        assert np.ptp(share) < 1e-12, "all joints alike"
        mass, bias = s.model.dynamics(v)
        if share[0] <= 0.05:
            continue  # Gravity alone is more.
        held += share[0] < 1
        for signs in np.array(np.meshgrid(*[[-1, 1]] * 6)).T.reshape(-1, 6):
            torque = (mass @ np.append(signs * allowed[:6], 0.0) + bias)[:6]
            assert (np.abs(torque) <= 0.5 * most[:6] * (1 + 1e-9)).all()
    assert held


def test_the_singular_value_is_followed_by_its_gradient():
    limit = SingularityLimit(least=0.001, near=10.0)
    for q in poses(6):
        rows = limit.rows(situation(q))
        slope = along(limit.value, q)
        assert np.allclose(-rows.matrix[0], slope, atol=1e-3)
        # The model is left as it was.
        arm_tool = arm().tool
        arm().place(q)
        assert np.array_equal(arm().tool, arm_tool)


def test_far_from_a_singular_posture_there_is_nothing_to_say():
    assert SingularityLimit(least=1e-4, near=1e-3).rows(situation(HOME)) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: CollisionLimit(Pairs(arm(), []), margin=0.2, horizon=0.1),
            "0 <= margin < horizon",
        ),
        (lambda: ToolSpeedLimit(0.0), "speed must be positive, got 0"),
        (lambda: TorqueLimit(np.array([1.0, -1.0])), "positive torques"),
        (lambda: TorqueLimit(np.ones(2), usable=1.5), "a usable share in"),
        (lambda: SingularityLimit(least=0.1, near=0.05), "0 < least < near"),
        (lambda: HalfSpace("x", (1.0, 1.0, 0.0), 0.0), "a normal of length 1"),
        (lambda: SeparationLimit(Surfaces(arm()), uncertainty=-0.1), "not be negative, got -0.1"),
        (lambda: SeparationLimit(Surfaces(arm()), settling=-1.0), "be negative, got 0.05, -1.0"),
    ],
)
def test_limits_that_make_no_sense_are_refused(make, message):
    with pytest.raises(RobotError, match=message):
        make()
