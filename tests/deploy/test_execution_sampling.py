from dataclasses import replace

import numpy as np
import pytest
import torch

from bridle.deploy.bundle import load_bundle
from bridle.deploy.exceptions import InferenceError
from bridle.deploy.execution import ChunkSampler, ExecutionConfig, Previous, suited
from bridle.deploy.export import export_policy
from bridle.deploy.runtime import Runtime
from bridle.policies import FlowConfig, MLPConfig, Policy, RegressionConfig

from .conftest import KEYS, make_source


def served(policy, tmp_path_factory, **changes) -> Runtime:
    """A bundle of an untrained policy with the same statistics."""
    torch.manual_seed(1)
    network = MLPConfig(width=32, blocks=1)
    other = Policy(replace(policy.config, network=network, **changes))
    statistics = {k: v for k, v in policy.state_dict().items() if "normalizer" in k}
    other.load_state_dict(statistics, strict=False)
    path = tmp_path_factory.mktemp("bundles") / "policy"
    export_policy(other.eval(), make_source(), path)
    return Runtime(load_bundle(path))


@pytest.fixture(scope="module")
def guided(policy, tmp_path_factory):
    return served(policy, tmp_path_factory)


@pytest.fixture(scope="module")
def committed(policy, tmp_path_factory):
    return served(policy, tmp_path_factory, committed=5, generator=FlowConfig(n_steps=1))


@pytest.fixture(scope="module")
def neither(policy, tmp_path_factory):
    return served(policy, tmp_path_factory, generator=RegressionConfig())


OBSERVATION = {key: np.zeros((1, 1, n), np.float32) for key, n in KEYS.items()}


def previous(delay=3, until=12):
    """A path as wide as the actions of the policy."""
    rows = np.linspace(-0.03, 0.03, 16)
    return Previous(np.repeat(rows[:, None], 7, axis=1), delay, until)


def sample(runtime, before=None, seed=0, **settings):
    sampler = ChunkSampler(runtime, ExecutionConfig("rtc", **settings))
    return sampler(OBSERVATION, np.random.default_rng(seed), before).positions


def distance(positions, before):
    rows = slice(before.delay, before.until)
    return np.sqrt(np.square(positions[rows] - before.positions[rows]).mean())


def test_a_chunk_that_continues_is_nearer_to_what_it_continues(guided):
    before = previous()
    assert distance(sample(guided, before), before) < 0.8 * distance(sample(guided), before)


def test_a_hard_mask_holds_a_chunk_to_what_is_executed_before_it_alone(guided):
    """What is planned after that leaves no trace."""
    before = previous(delay=4)
    other = replace(before, positions=np.where(np.arange(16)[:, None] < 4, before.positions, 0.5))
    soft, hard = (
        [sample(guided, each, candidates=1, mask=mask) for each in (before, other)]
        for mask in ("soft", "hard")
    )
    assert not np.allclose(*soft)
    assert np.array_equal(*hard)
    free = sample(guided)
    executed = slice(0, 4)
    assert (
        np.abs(hard[0] - before.positions)[executed].mean()
        < 0.6 * np.abs(free - before.positions)[executed].mean()
    )


def test_a_policy_that_sees_pictures_is_not_held_to_its_plans(guided, monkeypatch):
    before = previous()
    assert np.array_equal(sample(guided, before), sample(guided, before, mask="soft"))
    seeing = replace(guided.manifest, cameras={"front": [8, 8]})
    monkeypatch.setattr(guided, "manifest", seeing)
    assert np.array_equal(sample(guided, before), sample(guided, before, mask="hard"))


@pytest.mark.parametrize("runtime", ["guided", "committed"])
def test_of_many_candidates_the_nearest_is_taken(runtime, request):
    runtime, before = request.getfixturevalue(runtime), previous()
    one = np.mean([distance(sample(runtime, before, s, candidates=1), before) for s in range(8)])
    many = [distance(sample(runtime, before, s, candidates=16), before) for s in range(8)]
    assert np.mean(many) < 0.95 * one


def test_what_is_committed_is_executed_as_it_was(committed):
    before = previous(delay=5)
    assert np.array_equal(sample(committed, before)[:5], before.positions[:5])


def test_a_delay_longer_than_any_in_training_is_met_as_well_as_it_can_be(committed):
    before = previous(delay=7)
    assert np.array_equal(sample(committed, before)[:5], before.positions[:5])


def test_one_step_continues_only_what_it_was_trained_to(committed, neither):
    assert suited(committed) == "rtc"
    assert suited(neither) == "replace"
    with pytest.raises(InferenceError):
        ChunkSampler(neither, ExecutionConfig("rtc"))


def test_warming_up_runs_whatever_will_be_run(guided, committed, neither):
    for runtime in (guided, committed):
        ChunkSampler(runtime, ExecutionConfig("rtc")).warm_up()
    ChunkSampler(neither, ExecutionConfig()).warm_up()


def test_bad_observations_are_refused(guided):
    sampler = ChunkSampler(guided, ExecutionConfig("rtc"))
    bad = OBSERVATION | {"gripper": np.full((1, 1, 1), np.nan, np.float32)}
    for before in (None, previous()):
        with pytest.raises(InferenceError, match="observation 'gripper' has numbers that are not"):
            sampler(bad, np.random.default_rng(0), before)


def test_an_unknown_mask_is_refused():
    with pytest.raises(ValueError, match="mask must be one of auto, soft, hard, got 'firm'"):
        ExecutionConfig("rtc", mask="firm")


@pytest.mark.parametrize("candidates", [0, -1, 2000])
def test_a_number_of_candidates_out_of_range_is_refused(candidates):
    with pytest.raises(ValueError, match=r"candidates must lie in 1\.\.1024"):
        ExecutionConfig("rtc", candidates=candidates)
