import os

import numpy as np
import pytest

from bridle.training.demonstrations import (
    DemonstrationError,
    DemonstrationWriter,
    KeySpec,
    known_key,
    load,
)
from bridle.training.demonstrations.validation import validate
from tests.training.demonstrations.sets import (
    KEYS,
    SETTINGS,
    assert_holds,
    episode,
    foreign,
    record,
)


def spoil(rows, key, row, value):
    rows[key] = rows[key].copy()
    rows[key][row] = value
    return rows


REFUSED = {
    "nan": (
        lambda rows: spoil(rows, "action", 3, np.nan),
        "data/action, episode 3, row 3: expected finite",
    ),
    "infinity": (
        lambda rows: spoil(rows, "timestamp", 9, np.inf),
        "data/timestamp, episode 3, row 9: expected finite",
    ),
    "shape": (
        lambda rows: rows | {"action": rows["action"][:, :6]},
        r"data/action, episode 3: expected shape \(T, 7\), got \(10, 6\)",
    ),
    "dtype": (
        lambda rows: rows | {"action": rows["action"].astype(float)},
        "data/action, episode 3: expected dtype float32, got float64",
    ),
    "missing key": (
        lambda rows: {k: v for k, v in rows.items() if k != "reward"},
        "missing reward, unknown none",
    ),
    "unknown key": (
        lambda rows: rows | {"torque": rows["reward"]},
        "missing none, unknown torque",
    ),
    "lengths": (lambda rows: rows | {"reward": rows["reward"][:9]}, "expected one length"),
    "empty": (lambda rows: {k: v[:0] for k, v in rows.items()}, "at least 1"),
    "instruction": (
        lambda rows: spoil(rows, "instruction_id", 4, 2),
        r"row 4: expected one of the 2 instructions \(0 to 1\), got 2",
    ),
    "time stands still": (
        lambda rows: spoil(rows, "timestamp", 5, 0.2),
        "data/timestamp, episode 3, row 5: expected more than 0.2 s, got 0.2 s",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_episode_is_refused_and_nothing_is_lost(tmp_path, name):
    change, message = REFUSED[name]
    path = tmp_path / "set"
    episodes = record(path)
    stored = {f: f.read_bytes() for f in path.rglob("*") if f.is_file()}
    with DemonstrationWriter.open(path) as writer:
        with pytest.raises(DemonstrationError, match=message):
            writer.append(change(episode(10)))
        assert {f: f.read_bytes() for f in path.rglob("*") if f.is_file()} == stored
        writer.append(episode(10))
    assert_holds(load(path), [*episodes, episode(10)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"robot": ""}, "robot must be a name"),
        ({"control_rate": 0}, "control_rate must be a positive"),
        ({"control_rate": float("nan")}, "control_rate must be a positive"),
        ({"keys": {"reward": known_key("reward")}}, "keys must hold 'action'"),
        ({"keys": KEYS | {"../x": known_key("reward")}}, "must be an identifier"),
        ({"instructions": [""]}, "instructions must be sentences"),
    ],
)
def test_a_set_with_wrong_attributes_is_not_created(tmp_path, change, message):
    with pytest.raises(DemonstrationError, match=message):
        DemonstrationWriter.create(tmp_path / "set", **{**SETTINGS, **change})
    assert list(tmp_path.iterdir()) == []


def test_wrong_key_specifications_are_refused():
    with pytest.raises(DemonstrationError, match="shape must be positive"):
        KeySpec((0,), "float32", "m", "")
    for dtype in ("object", "complex64", "str", "float33"):
        with pytest.raises(DemonstrationError, match="dtype must be"):
            KeySpec((1,), dtype, "m", "")
    with pytest.raises(DemonstrationError, match="unknown key 'torque'"):
        known_key("torque")
    with pytest.raises(DemonstrationError, match="3 dimensions"):
        known_key("camera_front", (4, 5))


def test_an_existing_path_is_not_overwritten(recorded):
    with pytest.raises(DemonstrationError, match="exists"):
        DemonstrationWriter.create(recorded, **SETTINGS)
    assert validate(recorded) == []


def test_what_bridle_did_not_write_is_not_appended_to(tmp_path):
    foreign(tmp_path / "set")
    with pytest.raises(DemonstrationError, match="not written by Bridle"):
        DemonstrationWriter.open(tmp_path / "set")
    with pytest.raises(DemonstrationError, match="not a folder"):
        DemonstrationWriter.open(tmp_path / "nowhere")


def test_a_second_writer_is_refused_until_the_first_closes(recorded):
    with DemonstrationWriter.open(recorded):
        for begin in (
            DemonstrationWriter.open,
            lambda p: DemonstrationWriter.create(p, **SETTINGS),
        ):
            with pytest.raises(DemonstrationError, match=f"being written by process {os.getpid()}"):
                begin(recorded)
    with DemonstrationWriter.open(recorded) as writer:
        assert writer.n_episodes == 3
    assert not recorded.with_name("set.lock").exists()


def test_a_closed_writer_appends_nothing(recorded):
    writer = DemonstrationWriter.open(recorded)
    writer.close()
    with pytest.raises(DemonstrationError, match="closed"):
        writer.append(episode(5))
