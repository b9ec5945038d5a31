import numpy as np
import pytest

from bridle.training.demonstrations import (
    load,
)
from bridle.training.demonstrations.summary import info
from bridle.training.demonstrations.validation import validate
from tests.training.demonstrations.sets import errors, foreign


def test_a_set_of_diffusion_policy_loads_and_says_what_it_lacks(tmp_path):
    rows = foreign(tmp_path / "set")
    missing = "missing: bridle_schema, robot, task, control_rate, keys, instructions"
    with pytest.warns(UserWarning, match=missing):
        demonstrations = load(tmp_path / "set")
    for key, value in rows.items():
        np.testing.assert_array_equal(demonstrations.arrays[key], value)
    assert demonstrations.robot == demonstrations.task == "unknown"
    assert np.isnan(demonstrations.control_rate)
    assert demonstrations.episode_ends.tolist() == [10, 25]
    assert errors(tmp_path / "set") == []
    summary = info(tmp_path / "set")
    assert summary.robot is None
    assert summary.digest == demonstrations.digest


def test_missing_chunks_of_others_are_a_note(tmp_path):
    foreign(tmp_path / "set")
    (tmp_path / "set/data/img/1.1.0.0").unlink()
    notes = [p for p in validate(tmp_path / "set") if p.where == "data/img/1.1.0.0"]
    assert [(p.severity, p.row) for p in notes] == [("note", 8)]
