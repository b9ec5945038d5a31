from dataclasses import replace

import numpy as np
import pytest

from bridle.deploy.bundle import load_bundle
from bridle.deploy.execution import ExecutionConfig
from bridle.deploy.export import export_policy
from bridle.deploy.rehearsal import Rehearsal, RehearsalConfig, patient
from bridle.deploy.robot import load_robot

from .conftest import make_policy, make_source

HOME = np.append(np.array([-2.0, -1.0, 1.0, -1.0, -1.0, 0.0]) * np.pi / 2, 0.0)
SCENE = np.zeros(8, np.float32)


class Follower:
    """A robot that is where it is sent, and remembers it."""

    physics_dt = 0.0025

    def __init__(self, n_steps: int = 40) -> None:
        self.n_steps = n_steps
        self.position, self.commands = HOME.copy(), [HOME]
        self.step, self.seen = 0, []

    def joint_state(self):
        return self.position, np.zeros(7)

    def set_command(self, position):
        self.position = np.asarray(position)

    def advance(self, physics_steps):
        self.commands.append(self.position)

    def observe(self):
        self.seen.append(self.step)
        return {"object_state": SCENE}

    def end_unseen(self):
        self.n_steps, self.step = self.n_steps - 1, self.step + 1
        return 0.0, False, self.n_steps == 0, {"success": True, "cost": 0.0}


def rehearse(bundle, robot=None, seed=0, **settings):
    strategy = settings.pop("strategy", "replace")
    robot = Follower() if robot is None else robot
    config = RehearsalConfig(ExecutionConfig(strategy), **settings)
    return Rehearsal(bundle, config).run(robot, seed), robot


def test_an_episode_ends_with_its_environment_and_counts_what_happened(bundle):
    episode, robot = rehearse(bundle)
    assert episode.success
    assert episode.steps == 40
    assert len(robot.commands) == 1 + 40 * 20  # physics steps of 2.5 ms in 50 ms
    assert episode.refused == 0
    assert episode.holds == 0


def test_the_same_seed_is_the_same_episode(bundle):
    a, b, c = (rehearse(bundle, seed=seed)[1].commands for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize("delay", [1, 4, 7])
def test_nothing_moves_before_the_first_chunk_has_arrived(bundle, delay):
    _, robot = rehearse(bundle, delay=delay)
    path = np.array(robot.commands)
    moved = np.abs(path - HOME).max(axis=1) > 1e-9
    assert not moved[: 20 * delay].any()
    assert moved[20 * delay + 20]


@pytest.mark.parametrize("strategy", ["replace", "blend", "ensemble", "rtc"])
@pytest.mark.parametrize("delay", [0, 3, 8])
def test_every_command_keeps_the_limits_of_the_robot(bundle, strategy, delay):
    _, robot = rehearse(bundle, strategy=strategy, delay=delay)
    limits = load_robot("ur5e_2f85").limits
    # A command holds for two physics steps, and is approached evenly.
    path = np.array(robot.commands)[::2]
    velocity = np.diff(path, axis=0) / 0.005
    acceleration = np.diff(velocity, axis=0, prepend=np.zeros((1, 7))) / 0.005
    assert (np.abs(velocity) <= limits.velocity + 1e-6).all()
    assert (np.abs(acceleration) <= limits.acceleration + 1e-6).all()


def test_it_plans_as_often_as_the_server_asks_but_not_while_it_thinks(bundle):
    at_once, _ = rehearse(bundle, delay=0)
    # Eight steps are executed of a chunk.
    assert len(at_once.chunks) == 5
    slow, _ = rehearse(bundle, delay=7)
    # The guard waits no longer than 0.5 s, so the next inference follows the last.
    assert len(slow.chunks) == 6
    chosen, _ = rehearse(bundle, delay=2, every=4)
    assert len(chosen.chunks) == 10


def test_only_what_a_plan_sees_is_looked_at(bundle, tmp_path):
    _, robot = rehearse(bundle)
    assert robot.seen == [0, 8, 16, 24, 32]
    export_policy(make_policy(n_obs_steps=3), make_source(), tmp_path / "history")
    _, robot = rehearse(load_bundle(tmp_path / "history"))
    assert robot.seen == [0, 6, 7, 8, 14, 15, 16, 22, 23, 24, 30, 31, 32, 38, 39]


def test_a_robot_that_is_not_where_it_was_sent_is_stopped_by_the_guard(bundle):
    class Pushed(Follower):
        def joint_state(self):
            push = 0.4 if len(self.commands) > 400 else 0.0
            return self.position + np.append(push, np.zeros(6)), np.zeros(7)

    episode, _ = rehearse(bundle, Pushed())
    assert episode.holds > 0


def test_a_guard_waits_for_the_delay_that_is_rehearsed_and_never_less_than_it_did():
    robot = load_robot("ur5e_2f85")
    assert patient(robot, 0.1).watchdogs == robot.watchdogs
    waiting = patient(robot, 1.0).watchdogs
    assert waiting.chunk > 1
    assert waiting.chunk_arrival > 1
    assert replace(robot, watchdogs=waiting).limits is not None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delay": -1}, "delay must not be negative"),
        ({"delay": 5, "every": 4}, "at least the delay 5, got 4"),
        ({"every": 0}, "every must be at least 1"),
        ({"max_steps": 0}, "max_steps at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RehearsalConfig(**settings)
