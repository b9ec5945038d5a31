"""A critic of feasibility in a bundle: what it says, and which chunk is executed for it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from bridle.deploy.bundle import FEASIBILITY, Bundle, amend_bundle, load_bundle, sha256
from bridle.deploy.exceptions import BundleError, ExportError, InferenceError
from bridle.deploy.execution import ChunkSampler, ExecutionConfig, Previous, misfit
from bridle.deploy.execution.feasibility import safest
from bridle.deploy.export import export_policy
from bridle.deploy.runtime import Runtime
from bridle.deploy.verification import verify
from bridle.policies import MLPConfig, Policy, RegressionConfig
from bridle.policies.critics import CriticConfig, Judge

from .conftest import KEYS, make_source
from .test_serving import observation, serve

OBSERVATION = {key: np.zeros((1, 1, n), np.float32) for key, n in KEYS.items()}
ROWS = 8
"""Rows of a chunk that are executed."""


def make_judge(policy) -> Judge:
    """A critic that nobody trained, for which about half of the policy's chunks are safe."""
    torch.manual_seed(2)
    n = policy.encoder.output_size
    judge = Judge(n, ROWS * 7, CriticConfig(width=32), sign=-1)
    with torch.no_grad():
        for network in judge.average:
            # It looks at the chunk alone, so that it is half for every observation.
            network[0].weight[:, :n] = 0
        tensors = {key: torch.from_numpy(value) for key, value in OBSERVATION.items()}
        cond, x, _ = policy.candidates(tensors, torch.randn(1, 200, 16, 7))
        middle = judge.action_value(cond.expand(200, -1), x[0, :, :ROWS].flatten(1)).median()
        for network in judge.average:
            network[-1].bias -= middle
    return judge.eval()


@pytest.fixture(scope="module")
def judge(policy):
    return make_judge(policy)


@pytest.fixture(scope="module")
def judged(policy, judge, tmp_path_factory) -> Bundle:
    path = tmp_path_factory.mktemp("bundles") / "judged"
    result = export_policy(policy, make_source(), path, feasibility=judge)
    assert result.feasibility_max_error < 1e-5
    return load_bundle(path)


@pytest.fixture(scope="module")
def runtime(judged):
    return Runtime(judged)


def sample(runtime, seed=0, before=None, **settings):
    strategy = "replace" if before is None else "rtc"
    sampler = ChunkSampler(runtime, ExecutionConfig(strategy, **settings))
    return sampler(OBSERVATION, np.random.default_rng(seed), before)


def candidates(runtime, seed=0, n=16):
    """The chunks that a sampler of this seed has to choose among, and what the critic says."""
    noise = np.random.default_rng(seed).standard_normal((n, 16, 7), dtype=np.float32)
    chunks = runtime.infer(OBSERVATION, noise).chunk
    return chunks, runtime.feasibility(runtime.encode(OBSERVATION), chunks)


# -- in a bundle ---------------------------------------------------------------------------------


def test_the_critic_says_what_it_said_in_pytorch(runtime, policy, judge):
    chunks, q_h = candidates(runtime)
    tensors = {key: torch.from_numpy(value) for key, value in OBSERVATION.items()}
    cond, offset, scale = policy.encode(tensors)
    x = ((torch.from_numpy(chunks) - offset) / scale)[:, :ROWS].flatten(1)
    expected = judge.action_value(cond.expand(16, -1), x).detach().numpy()
    assert np.allclose(q_h, expected, atol=1e-5)
    assert q_h.min() < 0 < q_h.max()


def test_a_bundle_lists_its_critic_and_says_on_its_card_what_it_is_worth(judged, bundle):
    assert judged.manifest.files[FEASIBILITY] == sha256(judged.contents[FEASIBILITY])
    assert "no guarantee" in judged.contents["card.md"].decode()
    assert FEASIBILITY not in bundle.manifest.files
    assert "Learned feasibility" not in bundle.contents["card.md"].decode()
    assert verify(judged) < 1e-5


def test_an_altered_critic_is_refused(judged, tmp_path):
    copy = shutil.copytree(judged.path, tmp_path / "copy")
    data = bytearray((copy / FEASIBILITY).read_bytes())
    data[-1] ^= 1
    (copy / FEASIBILITY).write_bytes(data)
    with pytest.raises(BundleError, match=r"feasibility.onnx was altered"):
        load_bundle(copy)
    # And where somebody wrote a hash that fits, it is inspected like every graph.
    (copy / FEASIBILITY).write_bytes(b"\x00")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"][FEASIBILITY] = sha256(b"\x00")
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"feasibility.onnx is refused"):
        load_bundle(copy)


def test_a_critic_that_takes_or_gives_something_else_does_not_serve(judged, tmp_path):
    copy = load_bundle(shutil.copytree(judged.path, tmp_path / "copy"))
    model = onnx.load_from_string(copy.contents[FEASIBILITY])
    renamed = onnx.compose.add_prefix(model, "other_")
    amend_bundle(copy, {FEASIBILITY: renamed.SerializeToString()})
    with pytest.raises(BundleError, match=r"feasibility.onnx takes .*other_action"):
        verify(load_bundle(copy.path))


def test_a_critic_of_chunks_of_another_size_is_not_exported(policy, tmp_path):
    other = Judge(policy.encoder.output_size, 7, CriticConfig(width=32), sign=-1)
    with pytest.raises(ExportError, match=r"the critic is of .* numbers and 7 of a chunk"):
        export_policy(policy, make_source(), tmp_path / "b", feasibility=other)
    assert not (tmp_path / "b").exists()


def test_half_precision_leaves_the_critic_as_it_is(policy, judge, judged, tmp_path):
    result = export_policy(
        policy, make_source(), tmp_path / "b", precision="float16", feasibility=judge
    )
    assert result.feasibility_max_error < 1e-2
    critics = (b.contents[FEASIBILITY] for b in (load_bundle(tmp_path / "b"), judged))
    assert len(set(critics)) == 1


def test_without_a_critic_nothing_is_judged(bundle):
    runtime = Runtime(bundle)
    assert not runtime.judges
    assert np.isnan(sample(runtime).feasibility)
    with pytest.raises(InferenceError, match="no critic of feasibility"):
        runtime.feasibility(runtime.encode(OBSERVATION), np.zeros((1, 16, 7)))


@pytest.mark.parametrize("shape", [(1, 7, 7), (1, 16, 6), (16, 7)])
def test_chunks_must_have_what_is_executed_of_them(runtime, shape):
    with pytest.raises(InferenceError, match=r"chunks must be \(B, 8 or more, 7\)"):
        runtime.feasibility(runtime.encode(OBSERVATION), np.zeros(shape))


# -- choosing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("q_h", "costs", "chosen"),
    [
        ([-1, -2, -3], [0, 0, 0], 0),  # all are safe: the first
        ([-1, -2, -3], [3, 1, 2], 1),  # and where something is nearer, that
        ([1, -2, -3], [0, 2, 1], 2),  # never one that is not, however near
        ([0, 1], [5, 0], 0),  # at 0 it is safe
        ([3, 1, 2], [0, 1, 2], 1),  # where none is, the least unsafe
    ],
)
def test_the_safe_one_that_would_be_executed_anyway(q_h, costs, chosen):
    assert safest(np.array(q_h, np.float32), np.array(costs, np.float64)) == chosen


def test_of_many_chunks_the_first_safe_one_is_executed(runtime):
    for seed in range(20):
        chunks, q_h = candidates(runtime, seed)
        found = sample(runtime, seed)
        first = int(np.flatnonzero(q_h <= 0)[0])
        assert np.allclose(found.positions, chunks[first])
        assert found.feasibility == pytest.approx(float(q_h[first]), abs=1e-6)


def test_with_one_candidate_the_critic_only_says_what_it_thinks(runtime, bundle):
    plain = Runtime(bundle)
    found = [sample(runtime, seed, safest=1) for seed in range(20)]
    assert any(each.feasibility > 0 for each in found)
    assert all(
        np.array_equal(each.positions, sample(plain, seed).positions)
        for seed, each in enumerate(found)
    )


def test_of_the_chunks_that_continue_the_nearest_safe_one_is_executed(runtime, monkeypatch):
    before = Previous(np.repeat(np.linspace(-0.03, 0.03, 16)[:, None], 7, axis=1), 3, 12)
    seen = []

    def nearest_are_unsafe(self, encoding, chunks):
        seen.append(chunks)
        return np.where(misfit(chunks, before).argsort().argsort() < 3, 1.0, -1.0)

    monkeypatch.setattr(Runtime, "feasibility", nearest_are_unsafe)
    found = sample(runtime, 0, before)
    fourth = misfit(seen[0], before).argsort()[3]
    assert len(seen[0]) == 16
    assert np.array_equal(found.positions, seen[0][fourth])


def test_what_gives_one_chunk_alone_is_judged_and_not_chosen(policy, judge, tmp_path):
    torch.manual_seed(1)
    changed = {"network": MLPConfig(width=32, blocks=1), "generator": RegressionConfig()}
    other = Policy(replace(policy.config, **changed))
    statistics = {k: v for k, v in policy.state_dict().items() if "normalizer" in k}
    other.load_state_dict(statistics, strict=False)
    export_policy(other.eval(), make_source(), tmp_path / "b", feasibility=judge)
    drawn = []

    class Listening(Runtime):
        def infer(self, observation, noise, *rest):
            drawn.append(len(noise))
            return super().infer(observation, noise, *rest)

    found = sample(Listening(load_bundle(tmp_path / "b")))
    assert drawn == [1]
    assert np.isfinite(found.feasibility)


def test_a_chunk_for_the_guard_says_how_safe_it_was_held(judged, bundle):
    server = serve(judged)
    server.warm_up()
    server.observe(observation(100.0))
    assert server.plan().feasibility <= 0
    again = server.reissue()
    assert again is not None
    assert np.isnan(again.feasibility)
    plain = serve(bundle)
    plain.observe(observation(100.0))
    assert np.isnan(plain.plan().feasibility)


@pytest.mark.parametrize("safest", [0, 2000])
def test_a_number_of_candidates_out_of_range_is_refused(safest):
    with pytest.raises(ValueError, match=r"safest must lie in 1\.\.1024"):
        ExecutionConfig(safest=safest)
