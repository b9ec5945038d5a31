"""`bridle guard fuzz`, `bridle guard check` and `bridle benchmark guard`."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from bridle.commands.benchmark import main as benchmark
from bridle.commands.guard import ACTIONS, main
from bridle.deploy.guard import Guard
from bridle.deploy.guard.sanity import JointReport, examine
from bridle.deploy.guard.surroundings import Surroundings
from bridle.deploy.robot import SHIPPED, Workspace, load_robot
from bridle.fuzzing.campaign import Campaign
from bridle.fuzzing.geometry import Geometry
from bridle.fuzzing.judging import KINDS, judge
from bridle.fuzzing.places import PLACES, ROOM, Places
from bridle.fuzzing.running import World, run
from bridle.fuzzing.tally import Tally, row

ROBOT = load_robot("ur5e_2f85")
CASES = 20
JOINED = '<exclude body1="base" body2="upper_arm_link" />'


def plain(path):
    """A result without what differs from run to run."""
    result = json.loads(path.read_text())
    for key in ("seconds_per_case", "machine", "workers"):
        del result[key]
    return result


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """The JSON file of a small campaign in this process."""
    file = tmp_path_factory.mktemp("fuzz") / "fuzz.json"
    status = main(["fuzz", "--cases", str(CASES), "--workers", "1", "--json", str(file)])
    assert status == 0
    return file


# -- fuzz ------------------------------------------------------------------------------------------


def test_no_case_breaks_a_limit(fuzzed):
    result = json.loads(fuzzed.read_text())
    assert result["cases"] == CASES
    assert result["violations"] == dict.fromkeys((*KINDS, "total"), 0)
    assert result["violations_of_commands"] == dict.fromkeys((*KINDS, "total"), 0)
    assert result["failures"] == 0
    assert result["physics_steps"] >= 2 * result["ticks"] > 1000
    assert result["stopped_when_it_should"]["rate"] == 1
    assert result["stopped_when_it_should"]["n"] > 0
    assert result["moved_when_it_could"]["rate"] == 1
    assert result["moved_when_it_could"]["n"] > 0
    assert result["clean_chunks"]["interventions"] == {}
    assert 0 < result["clean_chunks"]["path_error_mm"]["max"] < 1
    assert result["seconds_per_case"] > 0
    # It was tried: something came to nine tenths of its limit.
    assert result["worst_margins_of_commands"]["acceleration"] > 0.9
    assert result["interventions"]
    assert result["refusals"]


def test_cases_depend_on_the_seed_alone_in_whatever_process_they_run(fuzzed, tmp_path):
    file = tmp_path / "again.json"
    assert main(["fuzz", "--cases", str(CASES), "--workers", "2", "--json", str(file)]) == 0
    assert plain(file) == plain(fuzzed)


def test_what_was_done_before_a_kill_is_not_done_again(tmp_path):
    campaign, journal = Campaign(ROBOT, seed=5, cases=12, workers=1), tmp_path / "cases.jsonl"
    rounds = campaign.run(journal)
    assert next(rounds).cases == 0
    assert next(rounds).cases == 10
    rounds.close()
    # The kill came in the middle of a line.
    with journal.open("a") as file:
        file.write('{"case": 10, "ki')
    again = campaign.run(journal)
    assert next(again).cases == 10
    *_, tally = again
    assert tally.cases == 12
    lines = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    assert [line["case"] for line in lines] == list(range(12))


def test_cases_of_another_seed_are_not_taken_over(tmp_path):
    journal = tmp_path / "cases.jsonl"
    for seed in (5, 6):
        *_, tally = Campaign(ROBOT, seed=seed, cases=1, workers=1).run(journal)
        assert tally.cases == 1
    assert len(journal.read_text().splitlines()) == 2


def test_a_campaign_in_parts_is_the_same_campaign(tmp_path):
    parts = [Campaign(ROBOT, 5, 2, 1), Campaign(ROBOT, 5, 2, 1, first=2)]
    rows = []
    for i, part in enumerate((*parts, Campaign(ROBOT, 5, 4, 1))):
        journal = tmp_path / f"{i}.jsonl"
        *_, _ = part.run(journal)
        rows.append([json.loads(line) for line in journal.read_text().splitlines()[1:]])
    for row_ in (row_ for each in rows for row_ in each):
        del row_["seconds"]
    assert rows[0] + rows[1] == rows[2]
    assert [row_["case"] for row_ in rows[1]] == [2, 3]


def test_tighter_limits_of_a_task_are_kept_too(tmp_path):
    file, result = tmp_path / "task.yaml", tmp_path / "slow.json"
    file.write_text("tool_speed: 0.2\n")
    arguments = ["--limits", str(file), "--cases", "12", "--workers", "1", "--json", str(result)]
    assert main(["fuzz", *arguments]) == 0
    found = json.loads(result.read_text())
    assert found["violations"]["total"] == found["violations_of_commands"]["total"] == 0
    # Of these limits, not of the robot's own 1.5 m/s.
    assert 0.5 < found["worst_margins_of_commands"]["tool_speed"] <= 1


def test_one_case_is_told_event_by_event(capsys):
    assert main(["fuzz", "--seed", "0", "--case", "3"]) == 0
    said = capsys.readouterr().out
    assert "start [" in said
    assert "chunk of" in said
    assert "nothing was wrong" in said


class Blind(Surroundings):
    """Sees nothing."""

    def violation(self, *args, **kwargs):
        return None


def tally_of(world, cases, seed=0):
    found = Tally()
    for case in cases:
        trace = run(world, seed, case)
        found.add(row(case, trace, judge(world, trace), 0.0))
    return found


def without_barriers(robot):
    """A guard that looks neither at the body nor at what is around it."""
    guard = Guard(robot)
    follower = guard._follower
    follower._surroundings = Blind(follower._surroundings.body, guard.dt, robot.latency)
    follower._shaping = tuple(
        limit for limit in follower._shaping if limit.name not in ("workspace", "collision")
    )
    return guard


def test_a_guard_that_does_not_look_at_the_body_is_found_out():
    found = tally_of(World(ROBOT, without_barriers), range(20, 50))
    assert found.violations["workspace"] > 0
    assert found.violations["collision"] > 0
    assert not found.ok


def test_a_guard_with_wider_limits_is_found_out():
    def wider(robot):
        joints = [replace(j, velocity=2 * j.velocity, jerk=3 * j.jerk) for j in robot.joints]
        return Guard(replace(robot, joints=tuple(joints)))

    found = tally_of(World(ROBOT, wider), range(15))
    assert found.of_commands["velocity"] > 0
    assert found.of_commands["jerk"] > 0
    assert found.violations["velocity"] > 0


def test_a_guard_that_does_not_stop_is_found_out():
    class Deaf(Guard):
        def stop(self, state, why, now):
            return state

        def advise(self, state, mode, why="", speed=1.0):
            return state

        def _cause(self, *args):
            return None

    found = tally_of(World(ROBOT, Deaf), (1, 2, 3, 5))
    assert not all(found.stopped)


def test_people_are_not_run_into(tmp_path):
    file = tmp_path / "people.json"
    arguments = ["--scenario", "people", "--cases", "12", "--workers", "1"]
    assert main(["fuzz", *arguments, "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["violations"]["total"] == found["violations_of_commands"]["total"] == 0
    assert found["interventions"]["separation"] > 10
    assert found["moved_when_it_could"]["rate"] == 1


def test_a_guard_that_does_not_see_people_is_found_out():
    class Sightless(Guard):
        def see(self, state, obstacles, now):
            return super().see(state, [], now)

    found = tally_of(World(ROBOT, Sightless, scenario="people"), (2, 9, 36, 48))
    assert found.violations["separation"] > 0
    assert not found.ok


def test_a_robot_that_stands_still_is_noticed(tmp_path):
    file = tmp_path / "standstill.json"
    arguments = ["--scenario", "standstill", "--cases", "6", "--workers", "1"]
    assert main(["fuzz", *arguments, "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["violations_of_commands"]["total"] == 0
    assert found["stopped_when_it_should"] == {"rate": 1.0, "n": 6}
    assert found["interventions"]["tracking"] > 10


def test_a_guard_that_comes_back_to_such_a_robot_for_ever_is_found_out():
    class Naive(Guard):
        def _join(self, state, there):
            state, _ = super()._join(state, there)
            return state, ""

    found = tally_of(World(ROBOT, Naive, scenario="standstill"), range(2))
    assert not all(found.stopped)


def test_distances_on_a_motion_are_those_of_each_posture():
    geometry = Geometry(ROBOT)
    random = np.random.default_rng(0)
    start = Places(geometry).draw(random, "itself")
    way = start + np.linspace(0, 1, 80)[:, None] * random.uniform(-0.4, 0.4, 6)
    found, _ = geometry.distances(way)
    for q, distance in zip(way, found, strict=True):
        geometry.place(q)
        least = min(geometry.distance(i, 1.0) for i in range(len(geometry.pairs)))
        if least < geometry.margin:
            assert distance == pytest.approx(least, abs=1e-12)
        else:
            assert distance >= geometry.margin


@pytest.mark.parametrize("place", PLACES)
def test_cases_begin_inside_every_limit(place):
    places = Places(Geometry(ROBOT))
    for seed in range(5):
        q = places.draw(np.random.default_rng(seed), place)
        assert places.trouble(q, ROOM / 2) is None


def test_a_robot_that_is_not_the_simulated_one_is_refused(tmp_path):
    file = tmp_path / "other.yaml"
    text = (SHIPPED / "ur5e_2f85.yaml").read_text().replace("model: ur5e_2f85.xml", "")
    file.write_text(text.replace("collision:\n  margin: 0.01", ""))
    with pytest.raises(ValueError, match="has no model"):
        main(["fuzz", "--robot", str(file)])
    with pytest.raises(ValueError, match="cases and workers must be at least 1, got 0"):
        main(["fuzz", "--cases", "0"])


# -- check -----------------------------------------------------------------------------------------


def test_the_shipped_robot_is_sane(tmp_path, capsys):
    file, picture = tmp_path / "check.json", tmp_path / "workspace.png"
    chosen = ["--postures", "300", "--json", str(file), "--picture", str(picture)]
    assert main(["check", "ur5e_2f85", *chosen]) == 0
    result = json.loads(file.read_text())
    assert result["errors"] == []
    assert [joint["name"] for joint in result["joints"]] == list(ROBOT.joint_names)
    body = result["body"]
    assert body["allowed"] > 0.02
    assert body["reachable_speed"] > body["tool_speed"] == 1.5
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "the guard can work with these limits" in capsys.readouterr().out


@pytest.mark.parametrize(("velocity", "reached"), [(2.0, True), (0.1, False)])
def test_stop_time_and_way_are_those_of_a_motion_of_bounded_jerk(velocity, reached):
    joint = replace(ROBOT.joints[0], velocity=velocity, acceleration=20.0, jerk=500.0)
    found = JointReport.of(joint, None, None)
    # Integrated: the acceleration falls at the jerk, stays, and rises again.
    dt = 1e-6
    up = 0.04 if reached else math.sqrt(velocity / 500)
    flat = velocity / 20 - 0.04 if reached else 0.0
    t = np.arange(0, 2 * up + flat, dt)
    a = -np.minimum(np.minimum(500 * t, 500 * up), 500 * (2 * up + flat - t))
    v = velocity + np.cumsum(a) * dt
    assert found.stop_time == pytest.approx(2 * up + flat)
    assert v[-1] == pytest.approx(0, abs=1e-4)
    assert found.stop_distance == pytest.approx(v.sum() * dt, rel=1e-3)


def changed(joint=None, **values):
    """The shipped robot with other limits, of its second joint or its own."""
    robot = replace(ROBOT, **values)
    if joint is None:
        return robot
    first, second, *others = ROBOT.joints
    return replace(robot, joints=(first, replace(second, **joint), *others))


@pytest.mark.parametrize(
    ("robot", "message"),
    [
        (changed({"position": (-0.05, 0.05)}), "that speed is never reached"),
        (changed({"jerk": 50.0}), "takes 0.5 s to build up"),
        (changed({"jerk": 1e6}), "less than a control period"),
        (changed({"tracking_tolerance": 0.01}), "more than its tracking tolerance"),
        (changed(tool_speed=50.0), "tool_speed 50 m/s is never reached"),
        (changed(tool_speed=None), "no tool_speed"),
        (changed(workspace=None), "no workspace"),
        (changed(collision=None), "no collision"),
        (changed(collision=replace(ROBOT.collision, margin=0.005)), "moves up to 7.5 mm"),
        (changed(watchdogs=replace(ROBOT.watchdogs, joint_states=0.01)), "three control periods"),
        (changed(watchdogs=replace(ROBOT.watchdogs, chunk=0.06)), "two steps of the policy"),
        (changed(watchdogs=replace(ROBOT.watchdogs, chunk_arrival=0.5)), "watchdogs.chunk_arrival"),
    ],
)
def test_what_is_odd_is_said_in_words(robot, message):
    report, _ = examine(robot, postures=60)
    assert any(message in warning for warning in report.warnings), report.warnings
    assert report.errors == []


def test_the_shipped_robot_is_odd_only_in_its_torque():
    report, _ = examine(ROBOT, postures=200)
    assert all("torque" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("robot", "message"),
    [
        (
            changed(workspace=Workspace((3.0, 4.0), (-1.0, 1.0), (0.0, 1.0))),
            "no posture has its tool in the workspace",
        ),
        (changed({"torque": 1.0}), "standing still takes up to"),
        (changed(model=None, collision=None), "has limits of its body, and no model"),
        (
            changed(model=ROBOT.model.replace(JOINED, "")),
            "base and upper_arm_link are nearer than the margin in every posture: built so",
        ),
    ],
)
def test_what_cannot_work_is_an_error(robot, message):
    report, _ = examine(robot, postures=200)
    assert any(message in error for error in report.errors), report


def test_the_exit_status_tells_an_error(tmp_path, capsys):
    limits = tmp_path / "limits.yaml"
    limits.write_text("workspace: {x: [3.0, 4.0], y: [-1.0, 1.0], z: [0.0, 1.0]}\n")
    robot = tmp_path / "far.yaml"
    text = (SHIPPED / "ur5e_2f85.yaml").read_text().replace("x: [0.1, 0.9]", "x: [0.1, 9.0]")
    robot.write_text(text)
    (tmp_path / "ur5e_2f85.xml").write_text(ROBOT.model)
    assert main(["check", str(robot), "--limits", str(limits), "--postures", "100"]) == 1
    assert "error: no posture has its tool in the workspace" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chek"], "did you mean check"),
        (["check", "nobody"], "no robot is called 'nobody'"),
        (["check", "ur5e_2f85", "--postures", "0"], "postures must be at least 1, got 0"),
        (["check", "ur5e_2f85", "--limits", "/nowhere.yaml"], "/nowhere.yaml"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        main(arguments)
    assert "\n" not in str(error.value)


def test_it_lists_its_actions(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {action} " in said for action in ACTIONS)


# -- benchmark -------------------------------------------------------------------------------------


def test_a_tick_is_timed_with_all_that_can_be_near(tmp_path, capsys):
    file = tmp_path / "guard.json"
    assert benchmark(["guard", "--seconds", "0.5", "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert 0 < result["median_ms"] <= result["p99_ms"] <= result["max_ms"]
    cage = result["cage"]
    assert cage["joints"] == 6
    assert cage["rows"][0] >= 40
    assert cage["pairs"][0] >= 12
    assert cage["share"] > 0.3
    assert cage["ratio"] == pytest.approx(result["median_ms"] / cage["mink"]["median_ms"])
    assert result["free"]["ticks"] == result["wall"]["ticks"] == 100
    # What one tick would keep is more than this.
    assert result["memory"]["traced_growth_bytes_per_tick"] < 100
    assert "a tick of the guard" in capsys.readouterr().out


def test_a_benchmark_of_no_time_is_refused():
    with pytest.raises(ValueError, match=r"seconds must be at least 0.1, got 0"):
        benchmark(["guard", "--seconds", "0"])
