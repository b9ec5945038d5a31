import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.training.demonstrations import DemonstrationWriter, known_key, load
from bridle.training.demonstrations import statistics as module
from bridle.training.demonstrations.moments import Moments
from bridle.training.demonstrations.statistics import statistics
from tests.training.demonstrations.sets import SETTINGS, foreign, record


def test_statistics_are_those_of_numpy(tmp_path):
    record(tmp_path / "set", (700, 900), episode_keys={"seed": "int64"})
    found = statistics(tmp_path / "set")
    arrays = load(tmp_path / "set").arrays
    for key, rows in arrays.items():
        channels = rows.reshape(-1, rows.shape[-1] if rows.ndim > 1 else 1).astype(float)
        its = found.keys[key]
        assert its.minimum == channels.min(axis=0).tolist()
        assert its.maximum == channels.max(axis=0).tolist()
        np.testing.assert_allclose(its.mean, channels.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(its.std, channels.std(axis=0), rtol=1e-9, atol=1e-12)
        quantiles = np.quantile(channels, (0.01, 0.5, 0.99), axis=0)
        np.testing.assert_allclose([its.q01, its.q50, its.q99], quantiles, rtol=1e-12)
        assert its.quantiles_from == 1600
    assert found.digest == load(tmp_path / "set").digest
    assert found.episode_lengths == [700, 900]
    assert found.episode_values == {"seed": [0, 1]}
    ids = arrays["instruction_id"]
    assert found.instructions == {
        "instruction_id": {"reach": int((ids == 0).sum()), "grasp": int((ids == 1).sum())}
    }
    assert json.dumps(found.to_json(), allow_nan=False)


def test_they_are_what_the_normaliser_of_a_policy_takes(recorded):
    torch = pytest.importorskip("torch")
    from bridle.policies.normalizer import Normalizer

    action = load(recorded).arrays["action"].copy()
    normalizer = Normalizer({"action": action.shape[1]})
    normalizer.fit("action", torch.from_numpy(action))
    its = statistics(recorded).keys["action"]
    np.testing.assert_allclose(its.mean, normalizer.mean("action"), rtol=1e-6)
    np.testing.assert_allclose(its.std, normalizer.std("action"), rtol=1e-6)


def test_quantiles_of_large_sets_are_of_a_sample_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 500)
    keys = {"action": known_key("action", (1,))}
    values = np.random.default_rng(0).permutation(20_000).astype(np.float32)[:, None]
    with DemonstrationWriter.create(tmp_path / "set", **SETTINGS | {"keys": keys}) as writer:
        writer.append({"action": values})
    its = statistics(tmp_path / "set").keys["action"]
    assert its.quantiles_from == 500
    assert (its.minimum, its.maximum) == ([0], [19_999])
    # Five standard errors of a quantile of 500 uniform draws.
    for q, found in ((0.01, its.q01), (0.5, its.q50), (0.99, its.q99)):
        assert abs(found[0] / 20_000 - q) < 5 * np.sqrt(q * (1 - q) / 500)


def test_shares_of_interventions(tmp_path):
    keys = {"action": known_key("action", (1,)), "intervention": known_key("intervention")}
    with DemonstrationWriter.create(tmp_path / "set", **SETTINGS | {"keys": keys}) as writer:
        for chosen in ([False] * 6, [True, False, True, False], [False] * 5, [True] * 5):
            action = np.zeros((len(chosen), 1), np.float32)
            writer.append({"action": action, "intervention": np.array(chosen)})
    found = statistics(tmp_path / "set")
    assert found.intervention_steps == 7 / 20
    assert found.intervention_episodes == 2 / 4


def test_sets_of_others_and_empty_ones_are_measured(tmp_path):
    foreign(tmp_path / "foreign")
    found = statistics(tmp_path / "foreign")
    assert found.robot is None
    assert found.intervention_steps is None
    assert len(found.keys["img"].mean) == 3
    record(tmp_path / "empty", ())
    empty = statistics(tmp_path / "empty")
    assert empty.keys["action"].mean == [None] * 7
    assert json.dumps(empty.to_json(), allow_nan=False)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e3),
    st.integers(0, 2**32),
)
def test_moments_do_not_depend_on_the_blocks(lengths, offset, scale, seed):
    rng = np.random.default_rng(seed)
    blocks = [offset + scale * rng.standard_normal((n, 3)) for n in lengths]
    moments = Moments(3)
    for block in blocks:
        moments.add(block)
    rows = np.concatenate(blocks)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(moments.std, rows.std(axis=0), rtol=1e-6, atol=1e-9 * abs(offset))
    assert moments.minimum.tolist() == rows.min(axis=0).tolist()
