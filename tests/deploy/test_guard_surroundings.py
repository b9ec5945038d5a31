"""The second opinion on the body: against distances measured as densely as one likes."""

from dataclasses import replace

import numpy as np
import pytest

from bridle.deploy.chunks import ActionChunk
from bridle.deploy.guard import Guard, GuardError, Mode
from bridle.deploy.guard.limits import Obstacle, SeparationLimit
from bridle.deploy.guard.model import RobotModel
from bridle.deploy.guard.motion import Motions, Posture
from bridle.deploy.guard.pairs import Pairs, tool_levers
from bridle.deploy.guard.surfaces import Surfaces
from bridle.deploy.guard.surroundings import SPACING, Body, Surroundings
from bridle.deploy.robot import HalfSpace, JointLimits, Separation, Workspace, load_robot
from bridle.deploy.tightening import Tightening, tighten

from .bodies import HOME, arm, limits
from .guarding import Loop

DT = 0.005


def postures(count, seed=0, speed=1.0):
    random = np.random.default_rng(seed)
    for _ in range(count):
        q = HOME + np.append(random.uniform(-1.2, 1.2, 6), 0.0)
        v = np.append(random.uniform(-speed, speed, 6), 0.0)
        yield Posture(q, v, np.zeros(7))


def test_no_distance_changes_faster_than_its_levers_say():
    model = arm()
    pairs = Pairs(model, model.pairs())
    random = np.random.default_rng(0)
    for posture in postures(30):
        other = posture.q + np.append(random.normal(0, 0.05, 6), 0.0)
        moves = np.abs(other - posture.q)
        model.place(posture.q)
        before = np.array([pairs.distance(i, 5.0) for i in range(len(pairs))])
        tool, lower = model.tool, pairs.lower()
        assert (lower <= before + 1e-9).all(), "a lower bound"
        model.place(other)
        after = np.array([pairs.distance(i, 5.0) for i in range(len(pairs))])
        assert (np.abs(after - before) <= pairs.levers @ moves + 1e-6).all()
        assert np.linalg.norm(model.tool - tool) <= tool_levers(model) @ moves + 1e-9


APART = """<mujoco><worldbody>
<geom name="post" size="0.004" pos="{x} {y} 0"/>
<body><geom size="0.01"/><joint axis="0 0 1"/>
  <body><geom name="ball" size="0.004"/><joint axis="0 0 1" pos="0.8 0 0"/><site name="tcp"/></body>
</body></worldbody></mujoco>"""
"""The second hinge is 0.8 m from the origin of its body, as where a drawing has one frame."""


def test_a_hinge_beside_the_origin_of_its_body_moves_that_too():
    q = np.array([0.0, np.pi])  # the ball is 1.6 m from the first hinge
    motions = Motions(limits()[:2])
    stop = motions.stop(Posture(q, np.array([2.0, 0.0]), np.zeros(2)))
    angle = stop.position(stop.duration / 3)[0]
    model = RobotModel(APART.format(x=1.6 * np.cos(angle), y=1.6 * np.sin(angle)), 2)
    pairs = Pairs(model, model.pairs())
    i = next(i for i in range(len(pairs)) if pairs.name(i) == "post and ball")
    assert pairs.levers[i] == pytest.approx([1.604, 0.804], abs=1e-3)
    assert tool_levers(model) == pytest.approx([1.6, 0.8])
    judge = Surroundings(Body(model, pairs=pairs, margin=0.01), DT, 0.01)
    assert judge.violation(q, q - np.array([0.01, 0]), q, stop).rule == "collision"


ONE = """<mujoco><worldbody><body><geom size="0.01" pos="1 0 0"/><joint axis="0 0 1"/>
<site name="tcp" pos="1 0 0"/></body></worldbody></mujoco>"""


@pytest.mark.parametrize(("acceleration", "jerk"), [(25.0, 1000.0), (25.0, 250.0), (5.0, 25.0)])
def test_a_joint_that_turns_round_in_a_stop_is_not_lost_sight_of(acceleration, jerk):
    model, one = RobotModel(ONE, 1), np.ones(1)
    motions = Motions(JointLimits(-3 * one, 3 * one, 2.5 * one, acceleration * one, jerk * one))
    seen = []
    for speed in np.linspace(0.05, 1, 20) * acceleration**2 / jerk / 2:
        stop = motions.stop(Posture(0 * one, speed * one, -acceleration * one))
        ways = np.array([stop.position(t) for t in np.linspace(0, stop.duration, 200)])
        furthest = np.sin(ways.max())
        for offset in np.linspace(0, 0.02, 21):
            judge = Surroundings(Body(model, (HalfSpace("w", (0.0, 1.0, 0.0), offset),)), DT, 0.01)
            found = judge.violation(-0.01 * one, -0.005 * one, 0 * one, stop)
            if furthest > offset + SPACING / 2:
                assert found is not None
            if furthest < offset:
                assert found is None
            seen.append(found is None)
    assert any(seen)


def test_what_is_said_of_a_stop_is_what_dense_samples_show():
    model, motions = arm(), Motions(limits())
    pairs = Pairs(model, model.pairs())
    margin, wall = 0.02, HalfSpace("wall", (0.0, 0.0, -1.0), -0.1)
    judge = Surroundings(Body(model, (wall,), pairs=pairs, margin=margin), DT, 0.01)
    verdicts = []
    for posture in postures(250, speed=2.5):
        model.place(posture.q)
        if model.tool[2] < 0.1 or min(pairs.distance(i, 1.0) for i in range(len(pairs))) < margin:
            continue
        stop = motions.stop(posture)
        found = judge.violation(posture.q, posture.q, posture.q, stop)
        least, height = [], []
        for t in np.linspace(0, stop.duration, 60):
            model.place(stop.position(t))
            least.append(min(pairs.distance(i, 1.0) for i in pairs.near(0.2)))
            height.append(model.tool[2])
        broken = min(least) < margin - 2e-4 or min(height) < 0.1 - 2e-4
        clear = min(least) > margin + 1e-9 and min(height) > 0.1 + 1e-9
        if broken:
            assert found is not None, (min(least), min(height))
        if clear:
            assert found is None, found
        verdicts.append(found is not None)
    assert 5 < sum(verdicts) < len(verdicts) - 5
    assert SPACING <= 0.005


def test_who_is_too_near_may_go_away_and_come_no_nearer():
    model, motions = arm(), Motions(limits())
    model.place(HOME)
    height = float(model.tool[2])
    wall = HalfSpace("wall", (0.0, 0.0, -1.0), -height - 0.05)  # the tool is 5 cm behind it
    judge = Surroundings(Body(model, (wall,)), DT, 0.01)
    up = np.zeros(7)
    jacobian = model.tool_jacobian()[2]
    up[:] = 0.2 * jacobian / np.abs(jacobian).max()
    for sign in (1, -1):
        after = Posture(HOME + sign * DT * up, sign * up, np.zeros(7))
        found = judge.violation(HOME, HOME, after.q, motions.stop(after))
        assert (found is None) == (sign > 0)


def test_the_tools_speed_is_that_of_its_positions():
    model, motions = arm(), Motions(limits())
    model.place(HOME)
    spin = np.array([1.0, 0, 0, 0, 0, 0, 0])
    radius = float(np.hypot(*model.tool[:2]))
    for share in (0.9, 1.1):
        judge = Surroundings(Body(model, tool_speed=radius / share), DT, 0.01)
        after = Posture(HOME + DT * spin, spin, np.zeros(7))
        found = judge.violation(HOME, HOME, after.q, motions.stop(after))
        assert (found is None) == (share < 1)
        # Slowing down from more than is allowed is allowed.
        faster = HOME - 1.2 * DT * spin
        assert judge.violation(faster, HOME, after.q, motions.stop(after)) is None


def test_from_what_comes_the_robot_stops_in_time_or_goes_away():
    model, motions = arm(), Motions(limits())
    model.place(HOME)
    separation = SeparationLimit(Surfaces(model), uncertainty=0.05)
    judge = Surroundings(Body(model, separation=separation), DT, 0.01)
    spin = np.array([1.0, 0, 0, 0, 0, 0, 0])
    after = Posture(HOME + DT * spin, spin, np.zeros(7))
    way = np.cross([0, 0, 1.0], model.tool)
    way /= np.linalg.norm(way)
    stop = motions.stop(after)

    def found(distance, sign):
        there = model_tool + sign * distance * way
        obstacle = Obstacle(tuple(there.tolist()), 0.05, 1.6)
        return judge.violation(HOME, HOME, after.q, stop, [obstacle])

    model_tool = model.tool
    assert found(3.0, 1) is None
    assert found(0.2, 1).rule == "separation"
    judge.body.model.place(HOME)


# -- the guard as a whole --------------------------------------------------------------------------


def target(loop, change):
    return np.array(loop.state.q) + np.append(change, 0.0)


def start(**changes):
    robot = replace(load_robot("ur5e_2f85"), **changes)
    return Loop(Guard(robot), np.append(HOME[:6], 0.4), lag=0.01)


def distances(loop):
    model, body = loop.guard._follower.model, loop.guard._follower._body
    model.place(loop.state.q)
    return min(body.pairs.distance(i, 1.0) for i in range(len(body.pairs))), model.tool


def distance_to(loop, obstacle):
    follower = loop.guard._follower
    follower.model.place(loop.state.q)
    return follower._body.separation.distances(obstacle).min()


def test_driven_into_the_table_the_arm_stays_above_it_and_goes_on_along_it():
    loop = start()
    down = np.array([0.0, 0.9, 0.0, 0.0, 0.0, 0.0])
    goal = target(loop, down)
    least = 1.0
    for _ in range(10):
        loop.follow(goal, 0.2)
        least = min(least, distances(loop)[0])
        assert distances(loop)[1][2] >= 0.01
    assert least >= 0.01
    rules = {c.intervention.rule for c in loop.commands if c.intervention}
    assert rules & {"workspace", "collision"}
    loop.obeys()
    # Not stuck: away from it it goes as it is asked to.
    goal = np.append(HOME[:6], 0.4)
    loop.follow(goal, 2.0)
    assert loop.state.q == pytest.approx(goal, abs=2e-3)


@pytest.mark.parametrize("speed", [0.1, 0.25])
def test_the_tool_is_never_faster_than_allowed_however_the_joints_move(speed):
    """Also where braking joints that moved against each other make it faster."""
    robot = tighten(load_robot("ur5e_2f85"), Tightening(tool_speed=speed))
    loop = Loop(Guard(robot), HOME, lag=0.01)
    random = np.random.default_rng(0)
    times = np.linspace(0, 0.6, 13)
    size = np.array([0.3, 0.3, 0.3, 1, 1, 1, 0])
    model, tools = arm(), []
    for k in range(1500):
        if k % 20 == 0:
            turns, most = random.uniform(2, 10, 7), random.uniform(-0.8, 0.8, 7) * size
            way = loop.state.q + np.sin(np.outer(times, turns)) * most
            loop.accept(ActionChunk(loop.now, times, way))
        loop.tick()
        model.place(loop.state.q)
        tools.append(model.tool)
    speeds = np.linalg.norm(np.diff(tools, axis=0), axis=1) / loop.guard.dt
    assert speeds.max() <= speed
    assert speeds.max() > 0.7 * speed, "it moves"


def test_a_robot_that_sinks_is_followed_once_and_no_further():
    loop = start()
    sag = np.append([0.0, 0.05, 0, 0, 0, 0], 0.0)
    height = distances(loop)[1][2]
    for _ in range(400):
        loop.tick(measured=loop.state.q + sag)
    assert loop.state.mode is Mode.LATCHED
    assert "does not follow" in loop.state.why
    assert distances(loop)[1][2] > height - 0.06


def test_a_robot_that_stopped_by_itself_is_latched_while_the_policy_goes_on():
    """And the command is where the robot is, so that nothing leaps when it is released."""
    loop = start()
    stands = loop.state.q
    for k in range(1200):
        if k % 20 == 0:
            way = stands + np.linspace(0, 1, 16)[:, None] * np.append([0.5, 0, 0, 0, 0, 0], 0.0)
            if loop.state.mode is not Mode.LATCHED:
                loop.accept(ActionChunk(loop.now, np.arange(16) * 0.05, way))
        loop.tick(measured=stands)
    assert loop.state.mode is Mode.LATCHED
    assert "does not follow" in loop.state.why
    assert loop.state.q == pytest.approx(stands, abs=1e-9)


def test_a_robot_that_was_held_up_once_may_be_held_up_again_later():
    loop = start()
    home = loop.state.q
    for goal in (0.3, 0.0, 0.3):
        stands = loop.measured
        loop.ask(home + np.append([goal, 0, 0, 0, 0, 0], 0.0))
        for _ in range(400):
            loop.tick(measured=stands)
        assert loop.state.mode is Mode.HOLD
        loop.measured = np.array(stands)
        # Released, it follows.
        loop.follow(home + np.append([0.3 - goal, 0, 0, 0, 0, 0], 0.0), 1.5)
        assert loop.state.mode is Mode.NOMINAL


def test_a_robot_that_stands_outside_its_limits_needs_a_person():
    loop = start(workspace=Workspace((0.1, 0.9), (-0.6, 0.6), (0.3, 0.9)))
    lower = loop.state.q + np.append([0.0, 0.2, 0, 0, 0, 0], 0.0)
    before = loop.state.q
    for _ in range(200):
        loop.tick(measured=lower)
    assert loop.state.mode is Mode.LATCHED
    assert "stands outside its limits: workspace" in loop.state.why
    np.testing.assert_array_equal(loop.state.q, before)


def test_without_a_report_of_what_moves_it_holds_where_one_is_needed():
    loop = start(separation=Separation(uncertainty=0.05, max_age=0.2, settling=0.15))
    goal = target(loop, [0.2, 0, 0, 0, 0, 0])
    loop.follow(goal, 0.1)
    assert loop.state.why.startswith("obstacles")
    for _ in range(30):
        loop.state = loop.guard.see(loop.state, [], loop.now)
        loop.follow(goal, 0.05)
    assert loop.state.q == pytest.approx(goal, abs=1e-3)
    # Somebody at 1.6 m/s stands where the arm is going.
    back = goal - np.append([1.4, 0, 0, 0, 0, 0], 0.0)
    x, y, z = distances(loop)[1].tolist()
    c, s = np.cos(-1.4), np.sin(-1.4)
    near = Obstacle((c * x - s * y, s * x + c * y, z), 0.05, 1.6)
    apart = [distance_to(loop, near)]
    for _ in range(20):
        loop.state = loop.guard.see(loop.state, [near], loop.now)
        loop.follow(back, 0.05)
        apart.append(distance_to(loop, near))
    # It comes no nearer than what is unsure of their place, and what they come while it answers
    # and settles.
    least = 0.05 + loop.guard.robot.allowance.body + (0.005 + 0.01 + 0.15) * 1.6
    assert apart[0] > least + 0.05
    assert least < min(apart) < least + 0.2
    assert loop.state.q[0] > back[0] + 0.1
    rules = {c.intervention.rule for c in loop.commands[-50:] if c.intervention}
    assert {"separation"} <= rules <= {"separation", "velocity"}


def test_it_rests_while_somebody_is_too_near_and_goes_on_when_they_have_gone():
    loop = start(separation=Separation(uncertainty=0.05, max_age=0.2, settling=0.15))
    goal = target(loop, [0.6, 0, 0, 0, 0, 0])

    def follow(seconds, *seen):
        for _ in range(round(seconds / 0.05)):
            loop.state = loop.guard.see(loop.state, seen, loop.now)
            loop.follow(goal, 0.05)

    follow(0.3)
    assert loop.state.mode is Mode.NOMINAL
    # Away from them would be where it is asked to go: it does not.
    way = np.cross([0.0, 0.0, 1.0], distances(loop)[1])
    behind = distances(loop)[1] - 0.1 * way / np.linalg.norm(way)
    follow(0.4, Obstacle(tuple(behind.tolist()), 0.05, 0.5))
    assert loop.state.mode is Mode.HOLD
    assert loop.state.why.startswith("separation")
    assert "too near" in loop.state.why
    assert loop.state.at_rest
    stood = loop.state.q
    follow(0.3, Obstacle(tuple(behind.tolist()), 0.05, 0.5))
    assert loop.state.q == pytest.approx(stood, abs=0)
    follow(1.5)
    assert loop.state.q == pytest.approx(goal, abs=1e-3)


def test_at_caution_it_is_slower_and_at_hold_it_stands():
    loop = start()
    fastest = {}
    for mode, speed in ((Mode.NOMINAL, 1.0), (Mode.CAUTION, 0.2)):
        goal = target(loop, [0.6 if mode is Mode.NOMINAL else -0.6, 0, 0, 0, 0, 0])
        loop.state = loop.guard.advise(loop.state, mode, "unusual", speed)
        began = len(loop.commands)
        loop.follow(goal, 2.5)
        assert loop.state.mode is mode
        fastest[mode] = max(abs(c.velocity[0]) for c in loop.commands[began:])
    assert loop.state.why == "unusual"
    assert fastest[Mode.NOMINAL] > 0.9
    assert fastest[Mode.CAUTION] == pytest.approx(0.2 * 2.5 * 0.94, rel=0.03)
    loop.state = loop.guard.advise(loop.state, Mode.HOLD, "two scores agree")
    loop.follow(target(loop, [0.3, 0, 0, 0, 0, 0]), 0.5)
    assert loop.state.mode is Mode.HOLD
    assert loop.state.why == "familiarity: two scores agree"
    goal = target(loop, [0.1, 0, 0, 0, 0, 0])
    loop.state = loop.guard.advise(loop.state, Mode.NOMINAL)
    loop.follow(goal, 1.0)
    assert loop.state.q == pytest.approx(goal, abs=1e-3)
    loop.obeys()
    for mode, speed in ((Mode.LATCHED, 1.0), (Mode.CAUTION, 0.0)):
        with pytest.raises(GuardError):
            loop.guard.advise(loop.state, mode, "", speed)
