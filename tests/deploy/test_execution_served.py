"""Real-time chunking around the graphs of a bundle."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bridle.deploy.exceptions import InferenceError
from bridle.deploy.execution import Previous, ServedPolicy, guided_sample, prefixed_sample
from bridle.deploy.execution.served import COLUMNS
from bridle.deploy.runtime import Runtime
from bridle.policies.generators import GENERATORS

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


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_those_of_the_generators(name):
    assert COLUMNS[name] == GENERATORS[name][1].columns


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


def test_a_given_beginning_is_met_by_a_policy_that_was_trained_for_it(runtime, observation):
    running = runtime.infer(observation, noise(runtime, 1)).chunk[0].astype(float)
    chunk = prefixed_sample(
        ServedPolicy(runtime),
        observation,
        noise(runtime, 2),
        Previous(running, DELAY, DELAY),
        trained_delay=DELAY,
    ).chunk
    np.testing.assert_allclose(chunk[0, :DELAY], running[:DELAY], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator": "regression"}, "a regression cannot be guided: flow, shortcut, energy"),
        ({"memory": 1}, "with memory cannot be guided"),
    ],
)
def test_what_cannot_be_guided_is_refused(runtime, changes, message):
    manifest = replace(runtime.manifest, **changes)
    with pytest.raises(InferenceError, match=message):
        ServedPolicy(SimpleNamespace(manifest=manifest))
