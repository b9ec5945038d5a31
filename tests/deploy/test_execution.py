import numpy as np
import pytest

from bridle.deploy.chunks import ActionChunk, ChunkRefused
from bridle.deploy.execution import DelayConfig, DelayEstimate, ExecutionConfig, Timeline
from bridle.deploy.robot import JointLimits

DT = 0.1
LIMITS = JointLimits([-10.0], [10.0], [100.0], [1e5], [1e8])
"""Loose: a reference that is not mad is reached in one step."""


def line(**settings):
    return Timeline(LIMITS, DT, [0.0], 0.0, config=ExecutionConfig(**settings))


def chunk(start, values):
    """Observed at step `start`."""
    values = np.asarray(values, float)
    return ActionChunk(start * DT, DT * np.arange(len(values)), values[:, None])


def accept(timeline, number, planned, step):
    return timeline.accept(planned, epoch=0, sequence=number, now=timeline.time(step))


def take(timeline, *steps):
    return [round(float(timeline.take(timeline.time(k))[0]), 3) for k in steps]


def test_actions_come_out_at_their_time_and_what_is_past_is_left_out():
    timeline = line()
    accept(timeline, 0, chunk(0, [0.0, 0.1, 0.2, 0.3, 0.4]), step=2)
    assert take(timeline, 2, 3, 4) == [0.2, 0.3, 0.4]


def test_an_action_is_given_once():
    timeline = line()
    accept(timeline, 0, chunk(0, [0.0, 0.1, 0.2]), step=0)
    assert timeline.take(0.0) is not None
    assert timeline.take(0.05) is None
    assert timeline.take(0.1) is not None
    assert timeline.take(0.05) is None  # nor when time goes back


def test_a_command_cannot_be_changed_from_outside():
    timeline = line()
    accept(timeline, 0, chunk(0, [0.0, 0.1]), step=0)
    with pytest.raises(ValueError, match="read-only"):
        timeline.take(0.0)[0] = 9.0


def test_a_chunk_between_two_steps_is_interpolated():
    timeline = line()
    planned = ActionChunk(0.05, DT * np.arange(4), np.arange(4.0)[:, None])
    accept(timeline, 0, planned, step=1)
    assert take(timeline, 1, 2, 3) == [0.5, 1.5, 2.5]


def test_replace_takes_the_new_chunk_at_once():
    timeline = line(strategy="replace")
    accept(timeline, 0, chunk(0, np.zeros(8)), step=0)
    accept(timeline, 1, chunk(1, np.ones(8)), step=2)
    assert timeline.plan.positions[:, 0].tolist() == [1.0] * 7


def test_blend_goes_over_linearly():
    timeline = line(strategy="blend", blend_steps=3)
    accept(timeline, 0, chunk(0, np.zeros(8)), step=0)
    accept(timeline, 1, chunk(1, np.ones(8)), step=2)
    assert timeline.plan.positions[:, 0].tolist() == [0.25, 0.5, 0.75, 1, 1, 1, 1]


def test_blend_takes_no_longer_than_the_running_chunk_lasts():
    timeline = line(strategy="blend", blend_steps=6)
    accept(timeline, 0, chunk(0, np.zeros(3)), step=0)
    accept(timeline, 1, chunk(1, np.ones(5)), step=2)
    assert timeline.plan.positions[:, 0].tolist() == [0.5, 1, 1, 1]


def test_ensemble_weighs_all_chunks_that_cover_a_step_the_oldest_most():
    """exp(-m i), i = 0 the oldest: temporal ensembling of ACT."""
    decay = 0.5
    timeline = line(strategy="ensemble", ensemble_decay=decay)
    accept(timeline, 0, chunk(0, [0.0] * 4), step=0)
    accept(timeline, 1, chunk(1, [3.0] * 4), step=1)
    accept(timeline, 2, chunk(2, [6.0] * 4), step=2)
    w = np.exp(-decay * np.arange(3))
    expected = [
        (w @ [0, 3, 6]) / w.sum(),
        (w @ [0, 3, 6]) / w.sum(),
        (w[:2] @ [3, 6]) / w[:2].sum(),
        6.0,
    ]
    np.testing.assert_allclose(timeline.plan.positions[:, 0], expected)


def test_a_step_that_no_chunk_covers_keeps_what_was_wanted():
    timeline = line(strategy="ensemble")
    accept(timeline, 0, chunk(0, [1.0, 2.0]), step=0)
    take(timeline, 0)
    # Observed a little ahead of the clock, as far as messages may overtake each other.
    ahead = ActionChunk(0.149, np.array([0.0, 0.2]), np.array([[5.0], [5.0]]))
    accept(timeline, 1, ahead, step=1)
    assert timeline.plan.positions[:, 0].tolist() == [2.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("planned", "number", "epoch", "now", "rule", "message"),
    [
        (chunk(2, [0.0, 0.0]), 5, 0, 0.3, "order", "number 5, after number 5"),
        (chunk(1, [0.0] * 9), 6, 0, 0.3, "order", r"0\.100 s before the last"),
        (chunk(3, [0.0] * 9), 6, 1, 0.3, "reset", "of epoch 1, now is epoch 0"),
        (chunk(3, [0.0] * 3), 6, 0, 0.9, "late", r"due 0\.400 s ago"),
        (chunk(9, [0.0] * 3), 6, 0, 0.3, "future", r"0\.600 s from now"),
        (ActionChunk(0.3, [0.0], np.zeros((1, 2))), 6, 0, 0.3, "joints", "2 joints, the robot"),
    ],
)
def test_a_refused_chunk_says_why_and_changes_nothing(planned, number, epoch, now, rule, message):
    timeline = line()
    accept(timeline, 5, chunk(2, np.ones(8)), step=2)
    before = timeline.segment
    with pytest.raises(ChunkRefused, match=message) as refused:
        timeline.accept(planned, epoch=epoch, sequence=number, now=now)
    assert refused.value.rule == rule
    assert timeline.segment is before


def test_a_chunk_observed_before_the_reset_is_refused_whatever_epoch_it_claims():
    timeline = line()
    assert timeline.reset(0.5) == 1
    with pytest.raises(ChunkRefused, match=r"0\.100 s before the last reset"):
        timeline.accept(chunk(4, [0.0] * 9), epoch=1, sequence=0, now=0.6)
    timeline.accept(chunk(5, [0.0] * 9), epoch=1, sequence=0, now=0.6)


@pytest.mark.parametrize("strategy", ["replace", "blend", "ensemble", "rtc"])
def test_after_a_reset_no_chunk_of_before_has_a_part_in_what_is_wanted(strategy):
    timeline = line(strategy=strategy)
    accept(timeline, 0, chunk(0, np.ones(20)), step=0)
    timeline.reset(timeline.time(2))
    timeline.accept(chunk(2, np.zeros(9)), epoch=1, sequence=0, now=timeline.time(3))
    assert not timeline.plan.positions.any()


def test_a_reset_can_begin_where_the_joints_were_moved_to():
    timeline = line()
    accept(timeline, 0, chunk(0, np.ones(9)), step=0)
    timeline.reset(0.3, position=[-2.0])
    assert take(timeline, 3, 4) == [-2.0, -2.0]


def test_every_segment_ends_in_a_braking_tail_of_the_shortest_length():
    """From v with deceleration a: v / (a dt) steps."""
    v, a = 1.0, 2.0
    limits = JointLimits([-10.0], [10.0], [v], [a], [1e8])
    timeline = Timeline(limits, DT, [0.0], 0.0)
    accept(timeline, 0, chunk(0, v * DT * np.arange(20)), step=0)
    segment = timeline.segment
    velocities = segment.velocities[:, 0]
    assert velocities[19] == pytest.approx(v)
    np.testing.assert_allclose(velocities[20:25], [0.8, 0.6, 0.4, 0.2, 0.0], atol=1e-9)
    assert len(velocities) - 20 <= 7  # rounding may cost a step or two
    assert segment.at(100)[0] == segment.positions[-1]


def test_missed_steps_are_not_made_up_for():
    limits = JointLimits([-10.0], [10.0], [1.0], [1e3], [1e6])
    timeline = Timeline(limits, DT, [0.0], 0.0)
    accept(timeline, 0, chunk(0, 0.05 * np.arange(40)), step=0)
    assert take(timeline, 0, 1, 10) == [0.0, 0.05, 0.15]  # 1 rad/s, though 0.5 rad was planned
    following = take(timeline, *range(11, 20))
    assert max(np.diff(following)) <= 0.1 + 1e-9
    assert following[-1] == pytest.approx(0.05 * 19, abs=0.02)  # caught up


def test_the_delay_is_the_row_that_was_executed_first():
    timeline = Timeline(LIMITS, DT, [0.0], 0.0, delay=DelayConfig(warm_up=0))
    accept(timeline, 0, chunk(0, np.zeros(9)), step=2)
    take(timeline, 2, 3)
    assert timeline.delay.n_recorded == 0  # nothing was executed while the first was computed
    accept(timeline, 1, chunk(3, np.zeros(9)), step=4)
    assert timeline.delay.n_recorded == 0  # nor is it used yet
    take(timeline, 6)  # a step was missed
    assert timeline.delay.steps == 3
    accept(timeline, 2, chunk(7, np.zeros(9)), step=7)
    take(timeline, 7)
    assert timeline.delay.n_recorded == 2


def test_a_segment_that_is_executed_elsewhere_elapses():
    timeline = Timeline(LIMITS, DT, [0.0], 0.0, delay=DelayConfig(warm_up=0))
    accept(timeline, 0, chunk(0, 0.1 * np.arange(9)), step=0)
    timeline.elapse(timeline.time(3))
    segment = accept(timeline, 1, chunk(2, 0.1 * np.arange(2, 11)), step=3)
    assert segment.start == 4
    assert segment.positions[0] == pytest.approx(0.4)
    timeline.elapse(timeline.time(8))
    assert timeline.delay.steps == 2  # rows 0 and 1 belonged to steps 2 and 3


def test_at_half_the_pace_there_are_twice_as_many_rows_of_what_is_to_be_continued():
    timeline = Timeline(LIMITS, DT, [0.0], 0.0, delay=DelayConfig(warm_up=0, initial=2))
    accept(timeline, 0, chunk(0, 0.1 * np.arange(5)), step=0)
    usual = timeline.previous(0.0, rows=5)
    slow = timeline.previous(0.0, rows=9, spacing=2 * DT)
    dense = timeline.previous(0.0, rows=9, spacing=DT / 2)
    assert (usual.delay, usual.until) == (2, 5)
    assert (slow.delay, slow.until) == (1, 3)
    assert (dense.delay, dense.until) == (4, 9)
    assert np.allclose(dense.positions[::2], usual.positions)


def test_the_path_is_what_is_commanded_from_the_last_command_to_rest():
    timeline = line()
    assert timeline.idle
    accept(timeline, 0, chunk(0, [0.0, 0.1, 0.2]), step=0)
    assert not timeline.idle
    take(timeline, 0, 1)
    accept(timeline, 1, chunk(1, [0.1, 0.2, 0.3]), step=2)
    times, positions = timeline.path
    assert times[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert positions[:3, 0] == pytest.approx([0.1, 0.2, 0.3])
    assert positions[-1] == positions[-2]
    assert timeline.position(0.25) == pytest.approx([0.25])
    take(timeline, 2, 3)
    assert timeline.idle


def test_a_slow_inference_counts_only_while_it_is_in_the_window():
    delay = DelayEstimate(DelayConfig(window=10, percentile=90, warm_up=1, initial=4))
    assert delay.steps == 4
    delay.record(100)  # warm-up
    assert delay.steps == 4
    for steps in [2, 3, 2, 2, 2, 2, 2, 2, 2, 30]:
        delay.record(steps)
    assert delay.steps == 3  # one in ten lies above the 90th percentile
    delay.record(30)
    assert delay.steps == 30
    for _ in range(10):
        delay.record(2)
    assert delay.steps == 2


def test_what_has_to_be_continued_is_what_will_be_executed():
    timeline = Timeline(LIMITS, DT, [0.0], 0.0, delay=DelayConfig(initial=2))
    assert timeline.previous(0.0, rows=4) is None
    accept(timeline, 0, chunk(0, 0.1 * np.arange(6)), step=0)
    take(timeline, 0, 1)
    previous = timeline.previous(0.25, rows=6)  # between steps 2 and 3
    assert previous.positions[:3, 0].tolist() == pytest.approx([0.25, 0.35, 0.45])
    assert (previous.delay, previous.until) == (2, 3)  # the rest is tail
    assert np.allclose(np.diff(previous.positions[4:], axis=0), 0)
    timeline.reset(0.3)
    assert timeline.previous(0.3, rows=4) is None


def test_between_the_last_command_and_the_segment_both_count():
    timeline = line()
    accept(timeline, 0, chunk(0, 0.1 * np.arange(6)), step=0)
    take(timeline, 0, 1)
    accept(timeline, 1, chunk(1, 0.1 + 0.2 * np.arange(6)), step=2)
    previous = timeline.previous(0.15, rows=3)  # commands 0.1 at step 1, 0.3 at step 2
    assert previous.positions[:, 0].tolist() == pytest.approx([0.2, 0.4, 0.6], abs=1e-3)


def test_a_start_outside_the_limits_may_stay_there():
    timeline = Timeline(LIMITS, DT, [10.5], 0.0)
    assert take(timeline, 0, 1) == [10.5, 10.5]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ExecutionConfig("splice"), "one of replace, blend, ensemble, rtc, got 'splice'"),
        (lambda: ExecutionConfig(blend_steps=0), "blend_steps must be at least 1, got 0"),
        (lambda: ExecutionConfig(ensemble_decay=np.nan), "ensemble_decay must be finite"),
        (lambda: DelayConfig(percentile=0), r"percentile must lie in \(0, 100\], got 0"),
        (lambda: DelayConfig(window=0), "window must be at least 1"),
        (lambda: DelayEstimate().record(-1), "cannot be negative, got -1"),
        (lambda: Timeline(LIMITS, 0.0, [0.0], 0.0), "dt must be positive"),
        (lambda: Timeline(LIMITS, 0.1, [0.0, 1.0], 0.0), "must be 1 finite numbers"),
    ],
)
def test_wrong_settings_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
