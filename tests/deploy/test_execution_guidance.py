"""Chunks that continue the running one, on policies of two modes that are known in closed form."""

import numpy as np
import pytest
import torch

from bridle.deploy.exceptions import InferenceError
from bridle.deploy.execution import (
    Previous,
    guided_sample,
    prefix_weights,
)
from bridle.deploy.execution.comparison import as_table, compare, run
from bridle.deploy.execution.levels import levels
from bridle.deploy.execution.toy import SCALE, Lanes, TwoLanes, lanes
from bridle.policies import Diffusion, DiffusionConfig, Energy, EnergyConfig, Flow, FlowConfig
from bridle.policies.generators import Shortcut, ShortcutConfig

HORIZON = 16
AHEAD = {"step": np.array([0]), "position": lanes(np.zeros(1)).mean(axis=(0, 1))[None]}
PREDICTIONS = ("epsilon", "sample", "v_prediction")


class TwoModes:
    """A real generator whose network is the exact denoiser of two spread-out lanes (`OneStep`)."""

    def __init__(self, generator, signal_and_noise):
        self.generator, self.columns = generator, generator.columns
        self.signal_and_noise = signal_and_noise

    def encode(self, observation):
        offset = observation["position"][:, None]
        cond = (lanes(np.arange(HORIZON)) - offset) / SCALE
        return Lanes(cond, offset, np.array(SCALE))

    def table(self, n_steps=None):
        return self.generator.table(n_steps).numpy()

    def step(self, x, row, cond):
        def network(x, times, cond):
            a, s = self.signal_and_noise(float(times[0, 0]))
            spread = 0.02
            variance = (a * spread) ** 2 + s**2
            far = x - a * cond
            share = torch.softmax(-0.5 * far.square().sum((1, 2)) / variance, 0)
            clean = torch.tensordot(share, cond + a * spread**2 / variance * far, 1)[None]
            noise = (x - a * clean) / s
            kind = self.generator.config.prediction
            return {"sample": clean, "epsilon": noise, "velocity": clean - noise}.get(
                kind, a * noise - s * clean
            )

        x, row, cond = (torch.as_tensor(np.asarray(v), dtype=torch.float64) for v in (x, row, cond))
        following, score = self.generator.step(network, x, row, cond)
        return following.numpy(), score.numpy()


def flow(prediction="sample", solver="euler"):
    config = FlowConfig(n_steps=10, prediction=prediction, solver=solver)
    return TwoModes(Flow(config), lambda t: (t, 1 - t))


def ddim(prediction="epsilon"):
    config = DiffusionConfig(n_steps=10, prediction=prediction, clip=0.0)
    kept = config.scheduler().alphas_cumprod.double()

    def signal_and_noise(time):
        k = float(kept[round(time * config.train_steps)])
        return k**0.5, (1 - k) ** 0.5

    return TwoModes(Diffusion(config), signal_and_noise)


def noises(n, horizon=HORIZON):
    return np.random.default_rng(0).standard_normal((n, 1, horizon, 2))


def mode(chunk):
    return np.sign(chunk[0, :, 1].mean())


POLICIES = {
    "flow": flow(),
    "velocity": flow("velocity"),
    "midpoint": flow(solver="midpoint"),
    **{prediction: ddim(prediction) for prediction in PREDICTIONS},
}


def test_the_mask_falls_from_one_to_zero():
    weights = prefix_weights(3, 8, 12)
    assert weights[:3].tolist() == [1, 1, 1]
    assert weights[8:].tolist() == [0] * 4
    assert (np.diff(weights[2:9]) < 0).all()
    c = 4 / 6  # row 4: (s - i) / (s - d + 1)
    assert weights[4] == pytest.approx(c * (np.e**c - 1) / (np.e - 1))


@pytest.mark.parametrize("name", POLICIES)
def test_free_samples_are_of_both_modes(name):
    modes = [mode(guided_sample(POLICIES[name], AHEAD, x).chunk) for x in noises(40)]
    assert 8 < modes.count(1) < 32


@pytest.mark.parametrize("delay", range(0, 9, 2))
@pytest.mark.parametrize("name", POLICIES)
def test_a_guided_sample_keeps_the_mode_and_meets_the_running_chunk(name, delay):
    for side in (0, 1):
        running = lanes(np.arange(HORIZON))[side, :12]
        previous = Previous(running, delay, 12)
        for x in noises(10):
            chunk = guided_sample(POLICIES[name], AHEAD, x, previous).chunk
            assert mode(chunk) == (-1, 1)[side]
            # No gradient: what lies beyond the running chunk is drawn into its lane by the policy.
            assert np.abs(chunk[0, 12:] - lanes(np.arange(12, HORIZON))[side]).max() < 0.02
            if delay:
                assert np.abs(chunk[0, :delay] - running[:delay]).max() < 5e-3


def test_what_is_to_be_met_counts_in_radians_not_in_the_units_of_an_older_observation():
    """The running chunk was normalised with another offset; the new one is used."""
    running = lanes(np.arange(HORIZON))[1, :12]
    moved = {**AHEAD, "position": AHEAD["position"] + 0.15}
    chunk = guided_sample(flow(), moved, noises(1)[0], Previous(running, 6, 12)).chunk
    assert np.abs(chunk[0, :6] - running[:6]).max() < 5e-3


def test_rows_before_the_newest_observation_are_left_alone():
    running = lanes(np.arange(2, HORIZON))[1, :8]
    previous = Previous(running, 4, 8)
    x = noises(1)[0]
    chunk = guided_sample(flow(), AHEAD, x, previous, first_row=2).chunk
    assert np.abs(chunk[0, 2:6] - running[:4]).max() < 5e-3
    assert mode(chunk) == 1


@pytest.mark.parametrize("delay", range(9))
def test_real_time_chunking_stays_in_its_lane_at_every_delay(delay):
    free, guided = (run(s, delay, chunks=100) for s in ("replace", "rtc"))
    assert free.switches > 0.3
    assert guided.switches < 0.01
    assert guided.astray == 0
    assert guided.seam_error < 0.05 * free.seam_error


def test_real_time_chunking_stays_in_its_lane_when_the_delay_varies():
    """The estimate is a percentile: most chunks come earlier than they were sampled for."""
    guided = run("rtc", 8, vary=True, chunks=100)
    assert guided.switches < 0.01
    assert guided.astray == 0


def test_few_steps_are_enough():
    """The gain of a step is at most 1, so that 4 steps do not overshoot."""
    running = lanes(np.arange(HORIZON))[0, :12]
    for x in noises(20):
        chunk = guided_sample(flow(), AHEAD, x, Previous(running, 4, 12), n_steps=4).chunk
        assert mode(chunk) == -1
        assert np.abs(chunk[0] - lanes(np.arange(HORIZON))[0]).max() < 0.03


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_levels_of_ddim_are_those_of_its_schedule(prediction):
    config = DiffusionConfig(prediction=prediction, n_steps=10)
    generator = Diffusion(config)
    scheduler = config.scheduler()
    scheduler.set_timesteps(10)
    kept = [float(scheduler.alphas_cumprod[t]) for t in scheduler.timesteps] + [1.0]
    expected = np.sqrt([[k, 1 - k] for k in kept])
    found = levels(generator.columns, generator.table())
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_energies_and_shortcuts_are_on_the_grid_of_flows():
    grid = levels(Flow.columns, Flow(FlowConfig()).table(8))
    for generator in (Shortcut(ShortcutConfig()), Energy(EnergyConfig())):
        np.testing.assert_allclose(levels(generator.columns, generator.table(8)), grid, atol=1e-6)


@pytest.mark.parametrize(
    ("generator", "steps", "message"),
    [
        (Flow(FlowConfig()), 1, "needs at least 2 steps, got 1"),
        (Diffusion(DiffusionConfig(sampler="ddpm")), 10, "needs the sampler ddim"),
        (Diffusion(DiffusionConfig(sampler="dpm-solver++")), 10, "needs the sampler ddim"),
        (Energy(EnergyConfig(timed=False)), 4, "an energy that is told t"),
    ],
)
def test_what_cannot_be_guided_is_refused_in_one_line(generator, steps, message):
    with pytest.raises(InferenceError, match=message):
        levels(generator.columns, generator.table(steps))


def test_another_table_is_refused():
    with pytest.raises(InferenceError, match=r"not for a table of \(size\)"):
        levels(("size",), np.ones((3, 1)))
    with pytest.raises(InferenceError, match="does not lead from noise to a chunk"):
        levels(("t", "dt"), [[0.0, 0.2], [0.2, 0.2]])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Previous(np.zeros((4, 2)), 3, 2), "delay 3 and until 2"),
        (lambda: Previous(np.zeros((4, 2)), 1, 5), "<= 4 rows expected"),
        (lambda: Previous(np.full((4, 2), np.nan), 1, 2), "finite"),
        (
            lambda: guided_sample(flow(), AHEAD, noises(1)[0], Previous(np.zeros((4, 3)), 1, 2)),
            r"\(4, 3\) do not fit noise \(1, 16, 2\)",
        ),
        (
            lambda: guided_sample(
                flow(), AHEAD, noises(1)[0], Previous(np.zeros((4, 2)), 1, 2), first_row=16
            ),
            r"first_row must lie in 0\.\.15, got 16",
        ),
        (lambda: run("rtc", 9), r"0\.\.8, the replanning interval, got 9"),
    ],
)
def test_what_does_not_fit_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_toy_agrees_with_its_generator():
    """The flow in `toy` and the one of `bridle.policies` with the exact denoiser are the same."""
    toy, real = TwoLanes(horizon=HORIZON), flow("velocity")
    encoded = toy.encode(AHEAD)
    x = noises(1)[0]
    for row in toy.table(10):
        a, score = toy.step(x, row, encoded.cond)
        b, score_too = real.step(x, row.astype(np.float32), encoded.cond)
        np.testing.assert_allclose(a, b, atol=1e-4)
        np.testing.assert_allclose(score, score_too, rtol=1e-4)
        x = a


def test_the_comparison_prints_a_line_for_each_delay():
    results = compare(("replace", "rtc"), (0, 3), chunks=6)
    header, _, *lines = as_table(results).splitlines()
    assert header == "| delay | replace | rtc |"
    assert [line[:4] for line in lines] == ["| 0 ", "| 3 "]
    assert f"{1e3 * results[-1].seam_error:.1f}" in lines[-1]
