"""Real-time chunking around the graphs of a bundle."""

from dataclasses import replace

import numpy as np
import pytest

from bridle.deploy.exceptions import InferenceError
from bridle.deploy.execution import Previous, ServedPolicy, guided_sample
from bridle.deploy.runtime import Runtime
from bridle.policies import (
    DiffusionConfig,
    EnergyConfig,
    FlowConfig,
    Policy,
    RegressionConfig,
    ShortcutConfig,
)

DELAY, UNTIL = 4, 10


@pytest.fixture(scope="module")
def runtime(bundle):
    return Runtime(bundle)


@pytest.fixture
def observation(runtime):
    random = np.random.default_rng(0)
    return {
        spec.name: random.standard_normal((1, *spec.shape[1:]), np.float32)
        for spec in runtime.manifest.inputs
    }


def noise(runtime, seed=0):
    shape = (1, runtime.manifest.horizon, len(runtime.manifest.joint_names))
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


class Described:
    """A runtime of which only the tables and what is said of them are there."""

    def __init__(self, runtime, policy, generator):
        self._generator = Policy(replace(policy.config, generator=generator)).generator
        columns, memory = list(self._generator.columns), self._generator.memory
        self.manifest = replace(runtime.manifest, columns=columns, memory=memory)
        self.tables = [len(self._generator.table())]

    def table(self, n_steps=None):
        return self._generator.table(n_steps).numpy()


@pytest.mark.parametrize(
    "generator",
    [FlowConfig(), ShortcutConfig(n_steps=4), EnergyConfig(n_steps=4), DiffusionConfig()],
    ids=str,
)
def test_what_can_be_guided_is_known_by_the_columns_of_its_table(runtime, policy, generator):
    described = Described(runtime, policy, generator)
    assert ServedPolicy(described).columns == tuple(described.manifest.columns)


def test_a_free_sample_is_what_the_runtime_infers(runtime, observation):
    free = guided_sample(ServedPolicy(runtime), observation, noise(runtime))
    expected = runtime.infer(observation, noise(runtime))
    np.testing.assert_allclose(free.chunk, expected.chunk, atol=1e-5)
    np.testing.assert_allclose(free.score, expected.score, rtol=1e-4)


@pytest.mark.parametrize("n_steps", [2, 4, 10])
def test_a_guided_sample_begins_as_the_running_chunk_goes_on(runtime, observation, n_steps):
    running = runtime.infer(observation, noise(runtime, 1)).chunk[0, -UNTIL:].astype(float)
    # The robot is somewhere else by now, so the new chunk has another offset.
    observation["joint_position"] = observation["joint_position"] + np.float32(0.02)
    free, guided = (
        guided_sample(
            ServedPolicy(runtime), observation, noise(runtime, 2), previous, n_steps=n_steps
        ).chunk[0]
        for previous in (None, Previous(running, DELAY, UNTIL))
    )
    assert guided.dtype == np.float32
    missed, without = (np.abs(c[:DELAY] - running[:DELAY]).max() for c in (guided, free))
    assert missed < 0.35 * without
    if n_steps == 10:
        assert missed < 0.1 * without


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        (RegressionConfig(), "needs at least 2 steps"),
        (DiffusionConfig(sampler="ddpm"), "needs the sampler ddim"),
        (DiffusionConfig(sampler="dpm-solver++", n_steps=4), "with memory cannot be guided"),
        (EnergyConfig(timed=False, n_steps=4), "needs an energy that is told t"),
    ],
    ids=str,
)
def test_what_cannot_be_guided_is_refused_in_one_line(runtime, policy, generator, message):
    with pytest.raises(InferenceError, match=message) as refusal:
        ServedPolicy(Described(runtime, policy, generator))
    assert "\n" not in str(refusal.value)
