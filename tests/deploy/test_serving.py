from dataclasses import replace

import numpy as np
import pytest
import torch

from bridle.deploy.bundle import load_bundle
from bridle.deploy.chunks import ChunkRefused
from bridle.deploy.exceptions import InferenceError
from bridle.deploy.execution import ExecutionConfig
from bridle.deploy.export import export_policy
from bridle.deploy.kinematics import Kinematics
from bridle.deploy.robot import RobotError, load_robot
from bridle.deploy.runtime import Runtime
from bridle.deploy.senses import Observation
from bridle.deploy.serving import PolicyServer, TimedChunk
from bridle.deploy.steering import SteeringConfig
from bridle.policies import (
    FlowConfig,
    MLPConfig,
    ObservationEncoderConfig,
    Policy,
    PolicyConfig,
    StateEncoderConfig,
    TextEncoderConfig,
    Vocabulary,
)

from .conftest import KEYS, arm_xml, make_source

HOME = np.append(np.array([-1.0, -1.0, 1.0, -1.0, -1.0, 0.0]) * np.pi / 2, 0.0)
SCENE = {"object_state": np.zeros(8, np.float32)}


def serve(bundle, clock=lambda: 100.0, **settings) -> PolicyServer:
    return PolicyServer(
        bundle, Runtime(bundle), seed=0, steering=SteeringConfig(), clock=clock, **settings
    )


def observation(time: float, position=HOME, extra=SCENE) -> Observation:
    return Observation(int(time * 1e9), time, position, np.zeros(7), extra)


def test_a_chunk_belongs_to_the_observation_it_was_computed_from(bundle):
    server = serve(bundle)
    server.observe(observation(99.0))
    server.observe(observation(100.0))
    chunk = server.plan()
    assert chunk.stamp == 100 * 10**9
    assert np.allclose(np.diff(chunk.times), 0.05)
    assert chunk.times[0] == 0
    # Sixteen rows, 50 ms apart, and what it takes to come to rest after the last one.
    assert 0.75 < chunk.times[-1] < 1.0
    assert np.allclose(chunk.positions[0], HOME)


def test_a_nudged_chunk_is_the_same_chunk_displaced(bundle):
    kinematics = Kinematics(arm_xml())
    plain, nudged = serve(bundle), serve(bundle)
    plain.observe(observation(100.0))
    nudged.steering = nudged.steering.nudged(np.array([0.0, 0.03, 0.0]), 99.0)
    # The robot has followed the nudge: it is 3 cm further left than the policy wants it.
    displaced = kinematics.shift(HOME[None], np.array([0.0, 0.03, 0.0]))[0]
    nudged.observe(observation(100.0, displaced))
    for a, b in zip(plain.plan().positions, nudged.plan().positions, strict=True):
        difference = kinematics.tool_position(b) - kinematics.tool_position(a)
        assert np.allclose(difference, [0, 0.03, 0], atol=2e-3)


def test_reissuing_continues_the_running_chunk_from_the_newest_observation(bundle):
    server = serve(bundle)
    server.observe(observation(100.0))
    planned = server.plan()
    server.observe(observation(100.12))
    again = server.reissue()
    assert again is not None
    assert again.stamp > planned.stamp
    for k, t in enumerate(again.times):
        expected = [np.interp(0.12 + t, planned.times, c) for c in planned.positions.T]
        assert np.allclose(again.positions[k], expected, atol=1e-9)


def test_the_robot_it_serves_may_be_another_than_the_one_that_comes_along(bundle):
    shipped = load_robot("ur5e_2f85")
    hasty = replace(shipped, watchdogs=replace(shipped.watchdogs, chunk=0.25))
    assert serve(bundle, robot=hasty).replan_seconds < serve(bundle).replan_seconds
    with pytest.raises(RobotError, match="ur5e_2f85 has the joints shoulder_pan_joint"):
        serve(bundle, robot=replace(shipped, joints=shipped.joints[:6]))


def test_nothing_is_reissued_before_a_plan(bundle):
    server = serve(bundle)
    server.observe(observation(1.0))
    assert server.reissue() is None


def test_a_grip_takes_the_gripper_column_alone(bundle):
    free, gripped = serve(bundle), serve(bundle)
    gripped.steering = gripped.steering.gripped(0.8, 100.0)
    for server in (free, gripped):
        server.observe(observation(100.0))
    a, b = free.plan().positions, gripped.plan().positions
    assert (b[:, 6] == 0.8).all()
    assert np.array_equal(a[:, :6], b[:, :6])


def test_pace_stretches_time_and_keeps_the_path(bundle):
    usual, slow = serve(bundle), serve(bundle)
    slow.steering = slow.steering.paced(0.5)
    for server in (usual, slow):
        server.observe(observation(100.0))
    a, b = usual.plan(), slow.plan()
    assert b.times[-1] == pytest.approx(2 * a.times[-1], abs=0.2)
    assert np.allclose(b.positions[-1], a.positions[-1], atol=0.01)


class Clock:
    """Says what it is told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def drive(server: PolicyServer, clock: Clock, plans: int, delay: float) -> list[TimedChunk]:
    """Plan every 0.4 s for a robot that does what it is sent, each inference taking `delay` [s]."""
    chunks: list[TimedChunk] = []
    position = HOME
    for k in range(plans):
        start = 100.0 + 0.4 * k
        if chunks:
            last = chunks[-1]
            at = start - 0.4 * (len(chunks) - 1) - 100.0
            position = np.array([np.interp(at, last.times, c) for c in last.positions.T])
        server.observe(observation(start, position))
        clock.now = start + delay
        chunks.append(server.plan())
    return chunks


def test_a_chunk_that_is_sampled_to_continue_the_running_one_meets_it(bundle):
    seams = {}
    for strategy in ("replace", "rtc"):
        clock = Clock()
        server = serve(bundle, clock, execution=ExecutionConfig(strategy))
        server.warm_up()
        chunks = drive(server, clock, plans=8, delay=0.1)
        assert np.isnan(chunks[0].seam)  # nothing was running
        seams[strategy] = np.mean(
            [chunk.seam for chunk in chunks[4:]]
        )  # the delay is known by then
    assert seams["rtc"] < 0.5 * seams["replace"]


def test_the_delay_is_what_was_executed_meanwhile_and_the_next_plan_comes_earlier_for_it(bundle):
    clock = Clock()
    server = serve(bundle, clock)
    assert server.replan_seconds == pytest.approx(0.4)
    drive(server, clock, plans=6, delay=0.21)
    # Rows 0 to 4 were over when it arrived, at 0.21 s.
    assert server.delay_steps == 5
    # The guard waits for 0.5 s for a chunk that takes 0.25 s.
    assert server.replan_seconds == pytest.approx(0.2)


def test_a_robot_that_is_elsewhere_is_planned_for_from_where_it_is(bundle):
    clock = Clock()
    server = serve(bundle, clock, execution=ExecutionConfig("rtc"))
    drive(server, clock, plans=2, delay=0.0)
    moved = HOME + np.append(np.full(6, 0.5), 0.0)
    server.observe(observation(101.0, moved))
    clock.now = 101.0
    chunk = server.plan()
    assert np.isnan(chunk.seam)
    assert np.allclose(chunk.positions[0], moved)
    assert np.abs(chunk.positions - moved).max() < 0.3


def test_an_inference_that_outlasts_its_chunk_is_refused_and_the_next_one_is_not(bundle):
    clock = Clock()
    server = serve(bundle, clock)
    server.observe(observation(100.0))
    clock.now = 103.0
    with pytest.raises(ChunkRefused, match=r"its last action was due 2\.2"):
        server.plan()
    server.observe(observation(103.0))
    assert server.plan().times[-1] > 0.5


def test_what_cannot_be_made_to_continue_a_chunk_is_refused_at_once(one_step_bundle):
    with pytest.raises(InferenceError, match="needs at least 2 steps"):
        serve(one_step_bundle, execution=ExecutionConfig("rtc"))


@pytest.fixture(scope="module")
def one_step_bundle(tmp_path_factory):
    torch.manual_seed(0)
    policy = Policy(
        PolicyConfig(
            StateEncoderConfig(KEYS),
            action_size=7,
            network=MLPConfig(width=16, blocks=1),
            generator=FlowConfig(n_steps=1),
        )
    )
    batch = {key: torch.randn(64, 1, n) for key, n in KEYS.items()}
    policy.fit(batch | {"action": torch.randn(64, 16, 7)})
    path = tmp_path_factory.mktemp("bundles") / "one-step"
    export_policy(policy, make_source(), path)
    return load_bundle(path)


def test_missing_and_bad_observations_are_named(bundle):
    server = serve(bundle)
    with pytest.raises(InferenceError, match="no joint state has arrived"):
        server.plan()
    with pytest.raises(InferenceError, match="joint position must be 7 finite numbers"):
        server.observe(observation(1.0, np.full(7, np.nan)))
    server.observe(observation(1.0, extra={}))
    assert server.missing == ("observation/object_state",)
    with pytest.raises(InferenceError, match="no observation 'object_state' has arrived"):
        server.plan()


def test_clearing_forgets_all_but_the_pace(bundle):
    server = serve(bundle, clock=lambda: 1.0)
    server.observe(observation(1.0))
    server.plan()
    server.steering = server.steering.paced(0.5).nudged(np.array([0, 0.03, 0]), 1.0)
    server.clear()
    assert server.missing == ("joint_states",)
    assert server.reissue() is None
    assert server.steering.pace == 0.5  # a person's standing wish
    assert not server.steering.offsets(np.array([2.0])).any()


@pytest.fixture(scope="module")
def reading_bundle(tmp_path_factory):
    """Of a policy that reads instructions."""
    torch.manual_seed(0)
    words = Vocabulary.of(["put the red cube down", "open the drawer"])
    encoder = ObservationEncoderConfig((StateEncoderConfig(KEYS), TextEncoderConfig(words)))
    policy = Policy(PolicyConfig(encoder, action_size=7, network=MLPConfig(width=32, blocks=1)))
    batch = {key: torch.randn(64, 1, n) for key, n in KEYS.items()}
    batch |= {"instruction": torch.randint(0, 5, (64, 1, words.length))}
    policy.fit(batch | {"action": torch.randn(64, 16, 7)})
    path = tmp_path_factory.mktemp("bundles") / "reading"
    export_policy(policy, make_source(), path)
    return load_bundle(path)


def test_an_instruction_changes_what_is_planned(reading_bundle):
    plans = []
    for sentence in ("put the red cube down", "Open the drawer!", "put the red cube down"):
        server = serve(reading_bundle)
        server.warm_up()
        server.observe(observation(100.0))
        assert server.missing == ("instruction",)
        with pytest.raises(InferenceError, match="no observation 'instruction' has arrived yet"):
            server.plan()
        server.instruct(sentence)
        assert server.missing == ()
        plans.append(server.plan().positions)
    assert np.array_equal(plans[0], plans[2])
    assert not np.allclose(plans[0], plans[1])


def test_a_sentence_that_is_too_long_leaves_the_instruction_in_force(reading_bundle, bundle):
    server = serve(reading_bundle)
    server.observe(observation(100.0))
    server.instruct("open the drawer")
    with pytest.raises(InferenceError, match="may have 5 words, got 6"):
        server.instruct("one two three four five six")
    server.plan()
    with pytest.raises(InferenceError, match="does not take instructions"):
        serve(bundle).instruct("open the drawer")
