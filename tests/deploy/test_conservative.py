import numpy as np
import pytest

from bridle.deploy.execution import Previous
from bridle.deploy.execution.conservative import Conservative, ConservativeConfig
from bridle.deploy.execution.served import ServedPolicy
from bridle.deploy.execution.toy import SCALE, SPREAD, TwoLanes, lanes
from bridle.deploy.runtime import Runtime
from bridle.deploy.serving import PolicyServer
from bridle.deploy.steering import SteeringConfig

from .test_serving import Clock, observation

POLICY = TwoLanes()
HERE = {"step": np.array([0.0]), "position": np.zeros((1, 2))}
RIGHT, LEFT = lanes(np.arange(POLICY.horizon))
RANDOM = np.random.default_rng(0)


def correct(positions, previous=None, policy=POLICY, **settings):
    config = ConservativeConfig(**({"steps": 8, "largest": 1.0} | settings))
    ascent = Conservative(policy, policy.table(20), config)
    return ascent(HERE, positions, previous)


def test_a_chunk_on_the_mode_stays():
    for lane in (RIGHT, LEFT):
        found = correct(lane)
        assert found.moved < 1e-6
        assert np.allclose(found.positions, lane, atol=1e-6)


@pytest.mark.parametrize("size", [0.01, 0.05, 0.1])
def test_a_chunk_beside_the_mode_moves_to_it(size):
    off = LEFT + size * RANDOM.standard_normal(LEFT.shape)
    found = correct(off)
    before, after = (np.abs(p - LEFT).max() for p in (off, found.positions))
    # Half of the way in each step, all but what the lane's own width leaves.
    assert after < 0.02 * before
    assert found.moved == pytest.approx(np.abs(found.positions - off).max())


def test_it_moves_to_the_mode_that_is_nearer():
    off = 0.6 * LEFT + 0.4 * RIGHT
    assert np.abs(correct(off).positions - LEFT).max() < 0.01


def test_a_step_is_one_along_the_gradient_of_the_log_density():
    """Against the derivative of the closed-form mixture, by finite differences."""
    off = LEFT + 0.02 * RANDOM.standard_normal(LEFT.shape)
    table = POLICY.table(20)
    t = 1 - 0.1
    variance = (t * SPREAD / SCALE) ** 2 + (1 - t) ** 2

    def log_density(positions):
        far = t * (positions[None] - np.array([RIGHT, LEFT])) / SCALE
        logits = -0.5 * np.square(far).sum(axis=(1, 2)) / variance
        return np.logaddexp(*logits)

    slope = np.zeros_like(off)
    for i in np.ndindex(off.shape):
        nudge = np.zeros_like(off)
        nudge[i] = 1e-5
        slope[i] = (log_density(off + nudge) - log_density(off - nudge)) / 2e-5
    eta = 0.3
    found = correct(off, steps=1, step_size=eta).positions - off
    # In units of x a step is eta (s / a)^2 along the slope; SCALE twice makes it radians.
    assert table[18, 0] == pytest.approx(t)
    assert np.allclose(found, eta * ((1 - t) / t) ** 2 * SCALE**2 * slope, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("largest", [0.002, 0.02])
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_no_joint_is_moved_further_than_allowed(largest, steps):
    for size in (0.01, 0.1, 0.5):
        off = LEFT + size * RANDOM.standard_normal(LEFT.shape)
        found = correct(off, steps=steps, largest=largest)
        assert np.abs(found.positions - off).max() <= largest * (1 + 1e-9)
        assert found.moved <= largest * (1 + 1e-9)
        # As far as allowed, and in the right direction.
        assert np.linalg.norm(found.positions - LEFT) < np.linalg.norm(off - LEFT)


def test_what_it_continues_is_not_moved():
    off = LEFT + 0.05
    found = correct(off, Previous(off, delay=5, until=12))
    assert np.allclose(found.positions[:5], off[:5], atol=1e-12)
    assert np.abs(found.positions[12:] - LEFT[12:]).max() < 0.005
    assert (np.abs(found.positions[5:12] - off[5:12]).max(axis=1) > 0).all()


def test_no_steps_change_nothing():
    off = LEFT + 0.1
    found = correct(off, steps=0)
    assert np.array_equal(found.positions, off)
    assert found.moved == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": -1}, r"steps must lie in 0..100, got -1"),
        ({"step_size": 0.0}, r"step_size must lie in \(0, 1\]"),
        ({"largest": 0.0}, r"largest must lie in \(0, 1\]"),
        ({"noise": 1.0}, "noise must lie between 0 and 1, got 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ConservativeConfig(**settings)


# -- of a bundle -----------------------------------------------------------------------------------


def test_a_served_policy_is_corrected_and_says_how_far(bundle):
    plain, careful = (
        PolicyServer(
            bundle,
            Runtime(bundle),
            seed=0,
            steering=SteeringConfig(),
            conservative=ConservativeConfig(steps=steps, largest=0.01),
            clock=Clock(),
        )
        for steps in (0, 3)
    )
    careful.warm_up()
    for server in (plain, careful):
        server.observe(observation(100.0))
    before, after = plain.plan(), careful.plan()
    assert before.moved == 0
    assert 0 < after.moved <= 0.01
    assert not np.allclose(before.positions[:10], after.positions[:10], atol=1e-3)


def test_it_agrees_with_the_denoised_chunk_of_the_graph(bundle):
    """One whole step at the last row of the table is what the graph itself makes of it."""
    runtime = Runtime(bundle)
    table = runtime.table(10)
    first = runtime.manifest.first_action
    config = ConservativeConfig(steps=1, step_size=1.0, largest=1.0, noise=0.1)
    ascent = Conservative(ServedPolicy(runtime), table, config, first_row=first)
    inputs = runtime.manifest.inputs
    seen = {s.name: np.zeros((1, *s.shape[1:]), s.dtype) for s in inputs}
    encoding = runtime.encode(seen)
    positions = np.tile(encoding.offset[0].astype(float), (runtime.manifest.horizon - first, 1))
    found = ascent(seen, positions)
    # At x = 0 the noised chunk is 0, too.
    nothing = np.zeros((1, runtime.manifest.horizon, 7), np.float32)
    expected = encoding.scale * runtime.step(nothing, table[-1], encoding.cond)[0][0, first:]
    assert np.allclose(found.positions - positions, expected, atol=1e-5)
