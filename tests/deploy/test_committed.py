"""Bundles of policies that continue committed actions."""

from dataclasses import replace

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.deploy.bundle import load_bundle
from bridle.deploy.exceptions import BundleError, InferenceError
from bridle.deploy.execution import Previous, continued
from bridle.deploy.export import export_policy
from bridle.deploy.runtime import Runtime
from bridle.deploy.verification import verify
from bridle.policies import (
    EnergyConfig,
    MLPConfig,
    Policy,
    RegressionConfig,
)

from .conftest import KEYS, make_source
from .test_bundle import edit_manifest

MOST, HORIZON, JOINTS = 5, 16, 7


def make(policy, n_obs_steps=1, **changes):
    """A policy of the same statistics that continues up to `MOST` actions, not trained."""
    torch.manual_seed(1)
    encoder = replace(policy.config.encoder, n_obs_steps=n_obs_steps)
    network = MLPConfig(width=32, blocks=1)
    other = Policy(
        replace(policy.config, committed=MOST, encoder=encoder, network=network, **changes)
    )
    statistics = {k: v for k, v in policy.state_dict().items() if "normalizer" in k}
    other.load_state_dict(statistics, strict=False)
    return other.eval()


@pytest.fixture(scope="module")
def continuing(policy):
    return make(policy)


@pytest.fixture(scope="module")
def folder(continuing, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles") / "continuing"
    export_policy(continuing, make_source(), path)
    return path


@pytest.fixture(scope="module")
def runtime(folder):
    return Runtime(load_bundle(folder))


def observe(batch=1):
    random = np.random.default_rng(batch)
    return {key: random.standard_normal((batch, 1, n), np.float32) for key, n in KEYS.items()}


def noise(batch=1):
    return np.random.default_rng(batch).standard_normal((batch, HORIZON, JOINTS), np.float32)


def running(observation, rows=12):
    """A chunk that begins where the robot is and goes somewhere."""
    here = np.append(observation["joint_position"][0, -1], 0.0)
    return here + 0.01 * np.arange(rows)[:, None] * np.linspace(-1, 1, JOINTS)


CHANGES = {
    "regression": {"generator": RegressionConfig()},
    "energy": {"generator": EnergyConfig()},
    "history": {"n_obs_steps": 3},
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_exported_policy_continues_as_pytorch_does(name, policy, tmp_path):
    # Checked on examples with any number of committed actions.
    result = export_policy(make(policy, **CHANGES[name]), make_source(), tmp_path / "b")
    assert result.onnx_max_normalised_error <= 1e-4
    bundle = load_bundle(tmp_path / "b")
    assert bundle.manifest.committed == MOST
    # What is observed is what it was; the committed actions come beside it.
    assert {spec.name for spec in bundle.manifest.inputs} == set(KEYS)
    assert verify(bundle) < 1e-3


@pytest.mark.parametrize("walk", [False, True], ids=["loop", "walked"])
@pytest.mark.parametrize("delay", range(MOST + 1))
def test_what_is_committed_changes_the_chunk_as_in_pytorch(continuing, folder, walk, delay):
    runtime = Runtime(load_bundle(folder), walk=walk)
    observation, z = observe(), noise()
    previous = Previous(running(observation), delay, 12)
    full = continued(observation, previous, MOST, least=0)
    expected = continuing.sample(
        {k: torch.from_numpy(v) for k, v in full.items()}, torch.from_numpy(z)
    )
    found = runtime.infer(full, z).chunk
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    free = runtime.infer(observation, z).chunk
    assert np.allclose(found, free, atol=1e-6) == (delay == 0)


def test_nothing_given_is_nothing_committed(runtime):
    observation, z = observe(3), noise(3)
    nothing = {
        "committed": np.full((3, MOST, JOINTS), 7.0, np.float32),
        "n_committed": np.zeros((3, 1), np.int64),
    }
    a, b = runtime.infer(observation, z), runtime.infer(observation | nothing, z)
    np.testing.assert_array_equal(a.chunk, b.chunk)
    np.testing.assert_array_equal(
        runtime.encode(observation).cond, runtime.encode(observation | nothing).cond
    )


def test_one_observation_continues_in_many_candidates(runtime):
    observation = observe()
    full = continued(observation, Previous(running(observation), 3, 12), MOST)
    many = {key: value.repeat(4, axis=0) for key, value in full.items()}
    a, b = runtime.infer(full, noise(4)), runtime.infer(many, noise(4))
    np.testing.assert_allclose(a.chunk, b.chunk, atol=1e-5)


def test_a_policy_that_takes_none_needs_none_and_is_given_none(bundle):
    observation, z = observe(), noise()
    extra = {"committed": np.ones((1, MOST, JOINTS)), "n_committed": np.ones((1, 1), np.int64)}
    a, b = (Runtime(bundle).infer(o, z).chunk for o in (observation, observation | extra))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_committed": np.array([[MOST + 1]])}, r"n_committed must lie in 0\.\.5, got 6 to 6"),
        ({"n_committed": np.array([[-1]])}, r"n_committed must lie in 0\.\.5, got -1 to -1"),
        ({"n_committed": np.array([[1.0]])}, r"n_committed must be int64 \(1, 1\), got float64"),
        ({"n_committed": np.array([1])}, r"n_committed must be int64 \(1, 1\), got int64 \(1,\)"),
        ({"committed": np.zeros((1, 4, JOINTS))}, r"\(1, 5, 7\), got \(1, 4, 7\)"),
        ({"committed": np.full((1, MOST, JOINTS), np.nan)}, "committed has numbers that are not"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(runtime, change, message):
    observation = observe()
    full = continued(observation, Previous(running(observation), 2, 12), MOST)
    with pytest.raises(InferenceError, match=message):
        runtime.infer(full | change, noise())


@pytest.mark.parametrize("missing", ["committed", "n_committed"])
def test_actions_and_their_number_go_together(runtime, missing):
    observation = observe()
    full = continued(observation, Previous(running(observation), 2, 12), MOST)
    del full[missing]
    with pytest.raises(InferenceError, match="go together"):
        runtime.infer(full, noise())


numbers = st.one_of(
    arrays.arrays(np.int64, (1, 1)),
    arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(max_dims=3, max_side=3)),
)
actions = st.one_of(
    arrays.arrays(np.float32, (1, MOST, JOINTS), elements=st.floats(-7, 7, width=32)),
    arrays.arrays(np.float32, arrays.array_shapes(max_dims=4, max_side=3)),
)


@settings(max_examples=100, deadline=None)
@given(n=numbers, actions=actions)
def test_whatever_is_given_either_fits_or_is_refused_in_one_line(runtime, n, actions):
    observation = observe() | {"committed": actions, "n_committed": n}
    fits = actions.shape == (1, MOST, JOINTS) and n.shape == (1, 1) and n.dtype == np.int64
    if fits and np.isfinite(actions).all() and 0 <= n.item() <= MOST:
        assert np.isfinite(runtime.infer(observation, noise()).chunk).all()
    else:
        with pytest.raises(InferenceError) as refusal:
            runtime.infer(observation, noise())
        assert "\n" not in str(refusal.value)


def test_a_delay_longer_than_trained_is_refused_with_what_to_do():
    observation = observe()
    previous = Previous(running(observation), MOST + 1, 12)
    with pytest.raises(InferenceError, match="up to 5 committed actions, not 6; use guided") as no:
        continued(observation, previous, MOST)
    assert "\n" not in str(no.value)


@pytest.mark.parametrize(
    ("delay", "until", "most", "committed"),
    [(0, 12, 8, 4), (3, 12, 8, 4), (4, 12, 8, 4), (6, 12, 8, 6), (0, 2, 8, 2), (1, 12, 3, 3)],
)
def test_a_short_delay_commits_to_some_rows_that_are_planned(delay, until, most, committed):
    observation = observe()
    full = continued(observation, Previous(running(observation), delay, until), most, least=4)
    assert full["n_committed"].tolist() == [[committed]]


def test_without_a_running_chunk_nothing_is_committed():
    observation = observe()
    assert continued(observation, None, MOST).keys() == observation.keys()


def test_the_running_chunk_may_be_shorter_than_what_a_policy_takes():
    observation = observe()
    previous = Previous(running(observation, rows=3), 2, 3)
    full = continued(observation, previous, MOST, least=2)
    assert full["committed"].shape == (1, MOST, JOINTS)
    np.testing.assert_allclose(full["committed"][0, :2], previous.positions[:2], atol=1e-6)
    assert full["n_committed"].tolist() == [[2]]


@pytest.mark.parametrize(
    ("committed", "message"), [(16, "some of the chunk free"), (-1, "0..1024")]
)
def test_a_manifest_that_leaves_nothing_free_is_refused(folder, tmp_path, committed, message):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    edit_manifest(copy, committed=committed)
    with pytest.raises(BundleError, match=message):
        load_bundle(copy)


def test_graphs_that_do_not_take_what_the_manifest_says_are_refused(exported, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in exported.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    edit_manifest(copy, committed=MOST)
    with pytest.raises(BundleError, match=r"policy\.onnx takes .* expected .*'n_committed'"):
        Runtime(load_bundle(copy))
