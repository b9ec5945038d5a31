import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.training.demonstrations import (
    DemonstrationError,
    DemonstrationWriter,
    known_key,
    load,
    split_by_episode,
)
from bridle.training.demonstrations.summary import info
from bridle.training.demonstrations.validation import validate
from tests.training.demonstrations.sets import KEYS, SETTINGS, assert_holds, record


def test_episodes_come_back_as_recorded(tmp_path):
    episodes = record(tmp_path / "set")
    demonstrations = load(tmp_path / "set")
    assert_holds(demonstrations, episodes)
    assert demonstrations.robot == "ur5e"
    assert demonstrations.control_rate == 20
    assert demonstrations.instructions == ("reach", "grasp")
    assert demonstrations.attributes.keys == KEYS
    assert validate(tmp_path / "set") == []


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 1500), min_size=1, max_size=5), st.integers(0, 4))
def test_any_episode_lengths_and_a_reopening_anywhere(tmp_path_factory, lengths, reopened_at):
    path = tmp_path_factory.mktemp("demonstrations") / "set"
    keys = {"action": known_key("action", (2,)), "reward": known_key("reward")}
    rng = np.random.default_rng(0)
    episodes = [
        {"action": rng.random((n, 2), np.float32), "reward": np.zeros(n, np.float32)}
        for n in lengths
    ]
    writer = DemonstrationWriter.create(path, **{**SETTINGS, "keys": keys})
    for i, rows in enumerate(episodes):
        if i == reopened_at:
            writer.close()
            writer = DemonstrationWriter.open(path)
        writer.append(rows)
    writer.close()
    assert_holds(load(path), episodes)
    assert validate(path) == []


def test_a_full_chunk_of_ends_is_followed_by_a_second_one(tmp_path, monkeypatch):
    monkeypatch.setattr("bridle.training.demonstrations.layout.STATE_CHUNK", 10)
    keys = {"action": known_key("action", (1,))}
    with DemonstrationWriter.create(tmp_path / "set", **{**SETTINGS, "keys": keys}) as writer:
        for i in range(13):
            writer.append({"action": np.full((1, 1), i, np.float32)})
    with DemonstrationWriter.open(tmp_path / "set") as writer:
        writer.append({"action": np.full((1, 1), 13, np.float32)})
    assert load(tmp_path / "set").arrays["action"][:, 0].tolist() == list(range(14))
    assert validate(tmp_path / "set") == []


def test_plain_zarr_reads_the_diffusion_policy_layout(recorded):
    root = zarr.open_group(recorded, mode="r", zarr_format=2)
    assert root["meta/episode_ends"][:].tolist() == [30, 31, 51]
    assert root["meta/episode_ends"].dtype == np.int64
    assert {key: root["data"][key].shape for key in KEYS} == {
        key: (51, *spec.shape) for key, spec in KEYS.items()
    }
    assert root["data/action"].chunks == (1000, 7)
    assert root["data/camera_front"].chunks == (16, 4, 5, 3)


def test_a_zip_reads_like_its_folder(recorded, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "set"), "zip", recorded))
    assert load(archive).digest == load(recorded).digest
    assert validate(archive) == []
    assert info(archive).steps == 51


def test_only_the_wanted_keys_are_read(recorded):
    assert set(load(recorded, keys=["action"]).arrays) == {"action"}
    with pytest.raises(DemonstrationError, match="has no torque"):
        load(recorded, keys=["torque"])


def test_loaded_arrays_are_read_only(recorded):
    with pytest.raises(ValueError, match="read-only"):
        load(recorded).arrays["action"][0] = 0


def test_an_episode_that_does_not_exist_is_refused(recorded):
    with pytest.raises(DemonstrationError, match="expected 0 to 2, got 3"):
        load(recorded).episode(3)


def test_the_split_is_that_of_diffusion_policy():
    train, val = split_by_episode(206, 0.02, 42)
    mask = np.zeros(206, bool)
    mask[np.random.default_rng(42).choice(206, size=4, replace=False)] = True
    np.testing.assert_array_equal(val, np.flatnonzero(mask))
    np.testing.assert_array_equal(train, np.flatnonzero(~mask))


@given(st.integers(1, 300), st.floats(0, 1, exclude_max=True), st.integers(0, 2**32))
def test_every_episode_is_on_one_side_and_training_has_one(n, ratio, seed):
    train, val = split_by_episode(n, ratio, seed)
    assert sorted([*train, *val]) == list(range(n))
    assert len(train) >= 1
    assert bool(len(val)) == (ratio > 0 and n > 1)


def test_a_split_out_of_range_is_refused():
    with pytest.raises(DemonstrationError, match="val_ratio"):
        split_by_episode(5, 1.0, 0)
    with pytest.raises(DemonstrationError, match="n_episodes"):
        split_by_episode(0, 0.1, 0)
