"""Scores, thresholds and the alarm."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.deploy.exceptions import InferenceError
from bridle.deploy.familiarity.alarm import AlarmConfig, AlarmState, Level, assess
from bridle.deploy.familiarity.calibration import FORMAT_VERSION, Calibration, Scale, calibrate
from bridle.deploy.familiarity.conformal import conformal_quantile, least_episodes
from bridle.deploy.familiarity.continuity import continuity
from bridle.deploy.familiarity.residual import Residual
from bridle.deploy.familiarity.scores import Planned, Scorer, available
from bridle.deploy.familiarity.support import Support
from bridle.deploy.runtime import Runtime

RANDOM = np.random.default_rng(0)
SETTINGS = {"weights_digest": "w", "strategy": "replace", "mask": "soft", "delay": 0}


def calibration(**changes) -> Calibration:
    """Heights are the values themselves; alone above 2, together above 1."""
    scales = [Scale(name, unit, 0.0, 1.0) for name, unit in UNITS.items()]
    content = {
        "format_version": FORMAT_VERSION,
        "alpha": 0.1,
        "n_fitted": 5,
        "n_calibrated": 9,
        "window": 3,
        "scores": scales,
        "alone": 2.0,
        "together": 1.0,
    }
    return Calibration(**(SETTINGS | content | changes))


UNITS = {
    "support": "standard deviations of the training conditions",
    "continuity": "standard deviations of the actions",
    "score": "the generator's own",
}


def levels_of(*chunks: dict[str, float]) -> list[Level]:
    state, found = AlarmState(), []
    for chunk in chunks:
        state, assessment = assess(calibration(), AlarmConfig(), state, chunk)
        found.append(assessment.level)
    return found


CALM = {"support": 0.0, "continuity": 0.0, "score": 0.0}


# -- the quantile --------------------------------------------------------------------------------


def test_the_quantile_is_the_rank_of_the_formula():
    assert conformal_quantile(range(1, 20), 0.05) == 19  # ceil(20 * 0.95)
    assert conformal_quantile(range(1, 40), 0.05) == 38  # ceil(40 * 0.95)
    assert conformal_quantile(range(1, 10), 0.1) == 9


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.3, 0.5])
def test_one_episode_fewer_than_needed_is_refused_and_says_how_many(alpha):
    least = least_episodes(alpha)
    assert conformal_quantile(np.arange(least), alpha) == least - 1
    with pytest.raises(ValueError, match=f"at least {least} episodes, got {least - 1}"):
        conformal_quantile(np.arange(least - 1), alpha)


@given(st.integers(1, 400), st.floats(0.001, 0.999))
def test_a_quantile_exists_exactly_from_the_least_number_on(n, alpha):
    if n >= least_episodes(alpha):
        conformal_quantile(np.arange(n), alpha)
    else:
        with pytest.raises(ValueError, match="needs at least"):
            conformal_quantile(np.arange(n), alpha)


def test_the_next_value_passes_it_as_rarely_as_promised_whatever_the_distribution():
    random = np.random.default_rng(1)
    for draw in (random.standard_cauchy, random.exponential, random.standard_normal):
        passed = []
        for _ in range(4000):
            *values, following = draw(size=31)
            passed.append(following > conformal_quantile(values, 0.1))
        # (30 + 1) * 0.1 = 3.1: the 28th of 30 is passed with probability 3 / 31.
        assert np.mean(passed) == pytest.approx(3 / 31, abs=0.015)


@pytest.mark.parametrize("values", [[1.0, math.nan], [1.0, math.inf], [[1.0]]])
def test_values_without_an_order_are_refused(values):
    with pytest.raises(ValueError, match="finite"):
        conformal_quantile(values, 0.5)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, math.nan])
def test_a_level_that_is_no_probability_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha must lie between 0 and 1"):
        conformal_quantile([1.0], alpha)


# -- the scores ----------------------------------------------------------------------------------


def test_distance_counts_in_standard_deviations_of_the_training_conditions():
    # A regular line of points: whitening divides by its standard deviation.
    line = np.linspace(-1, 1, 401)[:, None] * [3.0, 4.0]
    support = Support.of(line)
    deviation = np.sqrt(np.cov(line.T).trace())
    far = support.distance([30.0, 40.0]) - support.distance([3.0, 4.0])
    assert far == pytest.approx(45 / deviation, rel=1e-3)


def test_a_training_condition_is_near_and_a_hole_between_two_clusters_is_not():
    clusters = np.concatenate([RANDOM.normal(c, 0.1, (300, 3)) for c in (-1, 1)])
    support = Support.of(clusters)
    assert support.distance(clusters[0]) < 0.5
    # The mean of all: a single normal distribution would call it the most familiar of all.
    assert support.distance(np.zeros(3)) > 3 * support.distance(clusters[0])


def test_a_direction_that_was_never_taken_is_not_divided_by_nothing():
    flat = np.append(RANDOM.normal(size=(100, 2)), np.zeros((100, 1)), axis=1)
    assert np.isfinite(Support.of(flat).distance([0.0, 0.0, 1.0]))
    assert Support.of(flat).distance([0.0, 0.0, 1.0]) > 10


def test_a_condition_of_another_size_is_refused():
    with pytest.raises(InferenceError, match=r"of 3 numbers expected, got \(4,\)"):
        Support.of(RANDOM.normal(size=(50, 3))).distance(np.zeros(4))


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (np.zeros((50, 3)), "all the same"),
        (RANDOM.normal(size=(9, 3)), "at least 10 conditions"),
        (np.zeros((10, 4000)), "may have 2048 numbers, these have 4000"),
    ],
)
def test_conditions_that_make_no_support_are_refused(conditions, message):
    with pytest.raises(ValueError, match=message):
        Support.of(conditions)


def test_large_conditions_keep_fewer_prototypes():
    assert len(Support.of(RANDOM.normal(size=(1500, 1024))).prototypes) == 1000
    assert len(Support.of(RANDOM.normal(size=(1500, 1100))).prototypes) == 2**20 // 1100


def test_a_plan_that_goes_on_has_no_distance_and_a_shifted_one_its_own():
    times = 0.05 * np.arange(16)
    line = np.stack([times, 2 * times], axis=1)
    later = line + 0.4 * np.array([1, 2])
    assert continuity(later, times + 0.4, line, times, [1, 1]) == pytest.approx(0)
    # 0.3 and 0.1 rad off, in standard deviations of 0.1 and 0.2 rad.
    off = continuity(later + np.array([0.3, 0.1]), times + 0.4, line, times, [0.1, 0.2])
    assert off == pytest.approx(np.sqrt((3**2 + 0.5**2) / 2))


def test_a_plan_after_the_end_of_the_last_one_has_nothing_to_continue():
    times, still = 0.05 * np.arange(16), np.zeros((16, 1))
    assert math.isnan(continuity(still, times + 0.8, still, times, [1]))


def observation_of(bundle, seed=0):
    random = np.random.default_rng(seed)
    return {
        spec.name: random.standard_normal((1, *spec.shape[1:])).astype(spec.dtype)
        for spec in bundle.manifest.inputs
    }


def planned_of(bundle, runtime, time=0.0, shift=0.0, seed=0):
    manifest = bundle.manifest
    observation = observation_of(bundle)
    noise = np.random.default_rng(seed).standard_normal((1, manifest.horizon, 7), dtype=np.float32)
    inference = runtime.infer(observation, noise)
    positions = inference.chunk[0, manifest.first_action :].astype(np.float64)
    return Planned(observation, positions + shift, float(inference.score[0]), time, manifest.dt)


@pytest.fixture(scope="module")
def runtime(bundle):
    return Runtime(bundle)


@pytest.fixture(scope="module")
def support(bundle, runtime):
    found = [runtime.encode(observation_of(bundle, seed)).cond[0] for seed in range(40)]
    return Support.of(np.stack(found))


def test_the_residual_is_that_of_one_step_on_the_noised_chunk(bundle, runtime):
    planned = planned_of(bundle, runtime)
    encoding = runtime.encode(planned.observation)
    # A flow of n steps takes its last at t = 1 - 1 / n.
    n = bundle.manifest.n_steps
    t = 1 - 1 / n
    draws = np.random.default_rng(0).standard_normal((8, 16, 7), dtype=np.float32)
    x = (planned.positions - encoding.offset[0]) / encoding.scale
    errors = []
    for draw in draws:
        noisy = (t * x + (1 - t) * draw).astype(np.float32)[None]
        landed, _ = runtime.step(noisy, runtime.table()[-1], encoding.cond)
        errors.append(np.square(landed[0] - x).mean())
    assert Residual(runtime)(encoding, planned.positions) == pytest.approx(
        np.sqrt(np.mean(errors)), rel=1e-4
    )


def test_a_chunk_that_the_policy_would_never_give_has_a_larger_residual(bundle, runtime):
    residual = Residual(runtime)
    own, odd = planned_of(bundle, runtime), planned_of(bundle, runtime, shift=0.5)
    encoding = runtime.encode(own.observation)
    assert residual(encoding, odd.positions) > residual(encoding, own.positions)


def test_the_first_chunk_has_nothing_to_continue_and_the_next_has(bundle, runtime, support):
    scorer = Scorer(runtime, support, ("support", "continuity", "residual", "score"))
    first = planned_of(bundle, runtime)
    second = planned_of(bundle, runtime, time=0.4, seed=1)
    scores = scorer(first, None)
    assert math.isnan(scores["continuity"])
    assert scores["score"] == first.score
    assert np.isfinite([scores["support"], scores["residual"]]).all()
    assert scorer(second, first)["continuity"] > 0
    # The same scores for the same chunks: no draw is new.
    assert scorer(second, first) == scorer(second, first)


def test_a_plan_at_another_pace_is_not_compared(bundle, runtime, support):
    scorer = Scorer(runtime, support, ("support", "continuity"))
    first, second = (planned_of(bundle, runtime, time=time) for time in (0.0, 0.4))
    slower = replace(second, spacing=2 * second.spacing)
    assert np.isfinite(scorer(second, first)["continuity"])
    assert math.isnan(scorer(slower, first)["continuity"])


def test_a_scorer_refuses_a_support_of_another_policy(runtime):
    with pytest.raises(InferenceError, match="numbers expected"):
        Scorer(runtime, Support.of(RANDOM.normal(size=(50, 3))), ("support", "continuity"))


def test_a_flow_is_scored_by_its_residual(runtime):
    assert available(runtime) == ("support", "continuity", "residual")


# -- the alarm -----------------------------------------------------------------------------------


def test_nothing_unusual_is_nominal_at_full_speed():
    _, assessment = assess(calibration(), AlarmConfig(), AlarmState(), CALM)
    assert assessment.level is Level.NOMINAL
    assert assessment.speed_scale == 1
    assert assessment.why == ""


def test_one_score_alone_slows_down_and_is_named_with_its_numbers():
    _, assessment = assess(calibration(), AlarmConfig(), AlarmState(), CALM | {"support": 2.5})
    assert assessment.level is Level.CAUTION
    assert assessment.speed_scale == 0.5
    assert assessment.why == "support 2.5 above 2"


def test_one_score_never_stops_the_robot_however_high_it_is():
    assert levels_of(CALM | {"support": 1e6}) == [Level.CAUTION]


def test_two_scores_that_agree_stop_it_though_neither_would_alone():
    _, assessment = assess(
        calibration(), AlarmConfig(), AlarmState(), CALM | {"support": 1.5, "score": 1.2}
    )
    assert assessment.level is Level.HOLD
    assert assessment.speed_scale == 0
    assert assessment.why == "support 1.5 above 1 and score 1.2 above 1"


def test_scores_agree_within_the_window_and_not_beyond_it():
    first, second = CALM | {"support": 1.5}, CALM | {"continuity": 1.5}
    assert levels_of(first, CALM, second)[-1] is Level.HOLD
    assert levels_of(first, CALM, CALM, second)[-1] is Level.NOMINAL


def test_an_alarm_ends_by_itself_once_the_window_has_passed():
    high = CALM | {"support": 5.0, "score": 5.0}
    assert levels_of(high, CALM, CALM, CALM) == [Level.HOLD] * 3 + [Level.NOMINAL]


def test_a_score_that_says_nothing_does_not_agree_and_an_endless_one_does():
    assert levels_of(CALM | {"support": 5.0, "continuity": math.nan}) == [Level.CAUTION]
    assert levels_of(CALM | {"support": 5.0, "continuity": math.inf}) == [Level.HOLD]


@given(
    st.lists(
        st.fixed_dictionaries({name: st.floats(-10, 10) | st.just(math.nan) for name in UNITS}),
        max_size=12,
    )
)
def test_the_level_is_a_function_of_the_scores_within_the_window(chunks):
    levels = levels_of(*chunks)
    assert levels == levels_of(*chunks)
    for i, level in enumerate(levels):
        recent = chunks[max(0, i - 2) : i + 1]
        peaks = sorted(
            max((c[name] for c in recent if not math.isnan(c[name])), default=-math.inf)
            for name in UNITS
        )
        wanted = Level.NOMINAL
        if peaks[-1] > 2:
            wanted = Level.CAUTION
        if peaks[-2] > 1:
            wanted = Level.HOLD
        assert level is wanted


@pytest.mark.parametrize("speed", [0.0, -1.0, 1.5, math.nan])
def test_a_speed_that_is_no_share_is_refused(speed):
    with pytest.raises(ValueError, match="caution_speed must lie in"):
        AlarmConfig(speed)


# -- calibration ---------------------------------------------------------------------------------


def episodes_of(random, n, n_chunks=8):
    """Scores that hang together and have different tails and units."""
    found = []
    for _ in range(n):
        common = random.standard_normal(n_chunks)
        found.append(
            [
                {
                    "support": 5 + c + random.exponential(),
                    "continuity": math.nan if i == 0 else 0.1 * random.lognormal(),
                    "score": 1000 * c + random.standard_normal(),
                }
                for i, c in enumerate(common)
            ]
        )
    return found


def alarms_of(found: Calibration, episode) -> set[Level]:
    state, levels = AlarmState(), set()
    for chunk in episode:
        state, assessment = assess(found, AlarmConfig(), state, chunk)
        levels.add(assessment.level)
    return levels


def test_episodes_like_those_of_the_calibration_rarely_raise_an_alarm():
    random = np.random.default_rng(2)
    held, alone = [], []
    for _ in range(60):
        found = calibrate(episodes_of(random, 60), alpha=0.1, **SETTINGS)
        for episode in episodes_of(random, 20):
            levels = alarms_of(found, episode)
            held.append(Level.HOLD in levels)
            state, highest = AlarmState(), -math.inf
            for chunk in episode:
                state, _ = assess(found, AlarmConfig(), state, chunk)
                highest = max(highest, *state.recent[-1].values())
            alone.append(highest > found.alone)
    # 42 calibrate; the 39th of them is passed with probability 4 / 43.
    assert np.mean(held) == pytest.approx(4 / 43, abs=0.03)
    assert np.mean(alone) == pytest.approx(4 / 43, abs=0.03)


def test_thresholds_are_in_the_units_of_their_scores():
    found = calibrate(episodes_of(np.random.default_rng(3), 80), **SETTINGS)
    for name, low, high in (("support", 6, 15), ("continuity", 0.1, 3), ("score", 1000, 6000)):
        assert low < found.threshold(name, together=True) <= found.threshold(name, together=False)
        assert found.threshold(name, together=False) < high


def test_what_heights_are_fitted_on_does_not_calibrate():
    found = calibrate(episodes_of(np.random.default_rng(4), 100), **SETTINGS)
    assert (found.n_fitted, found.n_calibrated) == (30, 70)


def test_too_few_episodes_are_refused_with_the_number_that_is_needed():
    random = np.random.default_rng(5)
    with pytest.raises(ValueError, match=r"alpha 0.05 needs 27 episodes that went well, got 20"):
        calibrate(episodes_of(random, 20), **SETTINGS)
    calibrate(episodes_of(random, 27), **SETTINGS)
    with pytest.raises(ValueError, match="needs 27 episodes that went well, got 0"):
        calibrate([], **SETTINGS)


@pytest.mark.parametrize(
    ("value", "message"),
    [(1.0, "score is the same in all episodes"), (math.inf, "score is not finite")],
)
def test_a_score_that_tells_nothing_is_refused(value, message):
    episodes = [[c | {"score": value} for c in e] for e in episodes_of(RANDOM, 40)]
    with pytest.raises(ValueError, match=message):
        calibrate(episodes, **SETTINGS)


@settings(max_examples=20)
@given(st.permutations(range(12)))
def test_the_order_of_the_calibrating_episodes_does_not_matter(order):
    episodes = episodes_of(np.random.default_rng(6), 17)
    fitted, others = episodes[:5], episodes[5:]
    a = calibrate(episodes, alpha=0.1, **SETTINGS)
    b = calibrate(fitted + [others[i] for i in order], alpha=0.1, **SETTINGS)
    assert a == b
