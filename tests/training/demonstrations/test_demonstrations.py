import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.training.demonstrations import (
    DemonstrationError,
    DemonstrationWriter,
    KeySpec,
    known_key,
    load,
    split_by_episode,
)
from bridle.training.demonstrations.summary import info
from bridle.training.demonstrations.validation import validate

KEYS = {
    "action": known_key("action", (7,)),
    "joint_position": known_key("joint_position", (6,)),
    "reward": known_key("reward"),
    "instruction_id": known_key("instruction_id"),
    "intervention": known_key("intervention"),
    "timestamp": known_key("timestamp"),
    "camera_front": known_key("camera_front", (4, 5, 3)),
}
SETTINGS = {
    "robot": "ur5e",
    "task": "pick-place",
    "control_rate": 20.0,
    "keys": KEYS,
    "instructions": ["reach", "grasp"],
}


def episode(length, seed=0):
    rng = np.random.default_rng(seed)
    rows = {
        key: (100 * rng.random((length, *spec.shape))).astype(spec.dtype)
        for key, spec in KEYS.items()
    }
    rows["instruction_id"] %= 2
    rows["timestamp"] = np.arange(length) / 20
    return rows


def record(path, lengths=(30, 1, 20)):
    episodes = [episode(length, seed) for seed, length in enumerate(lengths)]
    with DemonstrationWriter.create(path, **SETTINGS) as writer:
        for rows in episodes:
            writer.append(rows)
    return episodes


def assert_holds(demonstrations, episodes):
    assert demonstrations.n_episodes == len(episodes)
    for i, expected in enumerate(episodes):
        found = demonstrations.episode(i)
        assert found.keys() == expected.keys()
        for key, rows in expected.items():
            assert found[key].dtype == rows.dtype
            np.testing.assert_array_equal(found[key], rows)


def errors(path):
    return [problem for problem in validate(path) if problem.severity == "error"]


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "set"
    record(path)
    return path


# Round trips


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


def test_more_than_a_thousand_episodes_fill_a_second_chunk_of_ends(tmp_path):
    keys = {"action": known_key("action", (1,))}
    with DemonstrationWriter.create(tmp_path / "set", **{**SETTINGS, "keys": keys}) as writer:
        for i in range(1003):
            writer.append({"action": np.full((1, 1), i, np.float32)})
    with DemonstrationWriter.open(tmp_path / "set") as writer:
        writer.append({"action": np.full((1, 1), 1003, np.float32)})
    assert load(tmp_path / "set").arrays["action"][:, 0].tolist() == list(range(1004))


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


# Digest and summary


def test_the_digest_is_of_content_not_of_storage(recorded, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(recorded, copy)
    root = zarr.open_group(copy, mode="a", zarr_format=2)
    rows = root["data/action"][:]
    root.create_array("data/action", data=rows, chunks=(7, 7), compressors=None, overwrite=True)
    assert load(copy).digest == load(recorded).digest == info(copy).digest
    rows[50, 6] = np.nextafter(rows[50, 6], np.float32(np.inf))
    root["data/action"][:] = rows
    assert load(copy).digest != load(recorded).digest


def test_the_digest_covers_the_attributes(recorded):
    before = load(recorded).digest
    attributes = json.loads((recorded / ".zattrs").read_text())
    attributes["instructions"][0] = "approach"
    (recorded / ".zattrs").write_text(json.dumps(attributes))
    assert load(recorded).digest != before


def test_info_agrees_with_numpy_and_is_json(tmp_path):
    episodes = record(tmp_path / "set", (700, 900))
    summary = info(tmp_path / "set")
    actions = np.concatenate([rows["action"] for rows in episodes]).astype(float)
    found = summary.keys["action"]
    assert (found.minimum, found.maximum) == (actions.min(), actions.max())
    assert found.mean == pytest.approx(actions.mean(), rel=1e-12)
    assert found.std == pytest.approx(actions.std(), rel=1e-12)
    assert (summary.episodes, summary.steps, summary.shortest, summary.longest) == (
        2,
        1600,
        700,
        900,
    )
    assert summary.hours == pytest.approx(1600 / 20 / 3600)
    files = [f for f in (tmp_path / "set").rglob("*") if f.is_file()]
    assert summary.bytes == sum(f.stat().st_size for f in files)
    assert json.loads(json.dumps(summary.to_json()))["keys"]["action"]["unit"] == "rad"


def test_a_set_without_episodes_is_empty_not_damaged(tmp_path):
    DemonstrationWriter.create(tmp_path / "set", **SETTINGS).close()
    assert [str(p) for p in validate(tmp_path / "set")] == [
        "note: meta/episode_ends: no episode is committed"
    ]
    assert json.dumps(info(tmp_path / "set").to_json(), allow_nan=False)
    with pytest.warns(UserWarning, match="no episode"):
        assert load(tmp_path / "set").n_episodes == 0


# What a writer refuses


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


# Two writers


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


# Crashes


def test_rows_that_no_episode_claims_are_ignored_and_reused(recorded):
    before = load(recorded)
    root = zarr.open_group(recorded, mode="a", zarr_format=2)
    # A crash between the data and the commit: some keys have grown, others have not.
    for key in ("action", "camera_front"):
        array = root["data"][key]
        array.resize((1200, *array.shape[1:]))
        array[51:] = 9
    assert errors(recorded) == []
    notes = [str(p) for p in validate(recorded)]
    assert notes == [
        f"note: data/{key}, row 51: 1149 uncommitted rows are ignored"
        for key in ("action", "camera_front")
    ]
    with pytest.warns(UserWarning, match="uncommitted"):
        assert load(recorded).digest == before.digest
    with DemonstrationWriter.open(recorded) as writer:
        writer.append(episode(7, 5))
    assert validate(recorded) == []
    np.testing.assert_array_equal(load(recorded).episode(3)["action"], episode(7, 5)["action"])


ENDLESS_WRITER = """
import sys
from pathlib import Path
import numpy as np
from bridle.training.demonstrations import DemonstrationWriter, known_key
path = Path(sys.argv[1])
settings = dict(robot="r", task="t", control_rate=20.0, instructions=[])
keys = {"action": known_key("action", (3,)), "camera_a": known_key("camera_a", (8, 8, 3))}
if path.exists():
    writer = DemonstrationWriter.open(path)
else:
    writer = DemonstrationWriter.create(path, keys=keys, **settings)
print("ready", flush=True)
while True:
    i = writer.n_episodes
    n = 1 + i * 7 % 60
    writer.append({"action": np.full((n, 3), i, np.float32),
                   "camera_a": np.full((n, 8, 8, 3), i % 256, np.uint8)})
    print(writer.n_episodes, flush=True)
"""


def test_a_writer_killed_at_any_time_loses_nothing_it_committed(tmp_path):
    path, rng = tmp_path / "set", random.Random(0)
    for _ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", ENDLESS_WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.15))
        writer.send_signal(signal.SIGKILL)
        # The last line may have been cut by the kill.
        lines = writer.communicate()[0].split("\n")[:-1]
        assert errors(path) == []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            demonstrations = load(path)
        if lines:
            assert demonstrations.n_episodes >= int(lines[-1])
    assert demonstrations.n_episodes > 8
    with DemonstrationWriter.open(path) as last:
        i = last.n_episodes
        last.append(
            {
                "action": np.full((5, 3), i, np.float32),
                "camera_a": np.full((5, 8, 8, 3), i % 256, np.uint8),
            }
        )
    assert validate(path) == []
    assert not list(path.rglob("*.partial"))
    demonstrations = load(path)
    for i in range(demonstrations.n_episodes):
        rows = demonstrations.episode(i)
        last_one = i == demonstrations.n_episodes - 1
        assert len(rows["action"]) == (5 if last_one else 1 + i * 7 % 60)
        assert (rows["action"] == i).all()
        assert (rows["camera_a"] == i % 256).all()


@pytest.mark.parametrize("renames", range(1, 20))
def test_a_crash_before_any_rename_leaves_the_old_set_or_the_new(tmp_path, monkeypatch, renames):
    path = tmp_path / "set"
    episodes = record(path)
    writer = DemonstrationWriter.open(path)
    replace, left = Path.replace, [renames]

    def failing(self, target):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    committed = True
    try:
        writer.append(episode(40, 9))
    except OSError:
        committed = False
    monkeypatch.undo()
    # Three chunks of images, one of each other key, seven lengths, and the two of episode_ends.
    assert committed == (renames > 18)
    assert errors(path) == []
    # The same writer goes on after the disk has room again.
    if not committed:
        writer.append(episode(40, 9))
    writer.close()
    assert_holds(load(path), [*episodes, episode(40, 9)])
    assert validate(path) == []


# Damage


def edit_json(path, name, change):
    content = json.loads((path / name).read_text())
    change(content)
    (path / name).write_text(json.dumps(content))


def poke(path, key, index, value):
    zarr.open_group(path, mode="a", zarr_format=2)[key][index] = value


def cut(path, name, size):
    os.truncate(path / name, size)


def scramble(path, name):
    content = bytearray((path / name).read_bytes())
    content[16:] = bytes(255 - byte for byte in content[16:])
    (path / name).write_bytes(content)


def set_attribute(name, value):
    return lambda path: edit_json(path, ".zattrs", lambda c: c.update({name: value}))


DAMAGE = {
    "not a zarr": (
        lambda p: (p / ".zgroup").unlink(),
        r"\.zgroup: missing: .* is not a zarr group",
    ),
    "no data": (lambda p: shutil.rmtree(p / "data"), r"data/\.zgroup: missing"),
    "no meta": (lambda p: shutil.rmtree(p / "meta"), r"meta/\.zgroup: missing"),
    "no ends": (
        lambda p: shutil.rmtree(p / "meta/episode_ends"),
        r"meta/episode_ends/\.zarray: missing: no episode is committed",
    ),
    "chunk of ends": (
        lambda p: (p / "meta/episode_ends/0").unlink(),
        "meta/episode_ends/0: the chunk is missing",
    ),
    "cut ends": (lambda p: cut(p, "meta/episode_ends/0", 9), "meta/episode_ends: cannot be read"),
    "falling ends": (
        lambda p: poke(p, "meta/episode_ends", 1, 20),
        "episode_ends, episode 1: not increasing: expected an end above 30, got 20",
    ),
    "negative end": (
        lambda p: poke(p, "meta/episode_ends", 0, -1),
        "episode_ends, episode 0: negative: expected an end above 0, got -1",
    ),
    "empty episode": (
        lambda p: poke(p, "meta/episode_ends", 1, 30),
        "episode_ends, episode 1: empty episode",
    ),
    "torn episode": (
        lambda p: poke(p, "meta/episode_ends", 2, 60),
        "data/action, row 51, episode 2: torn episode: episode_ends needs 60 rows, got 51",
    ),
    "short key": (
        lambda p: edit_json(p, "data/reward/.zarray", lambda c: c.update(shape=[30])),
        "data/reward, row 30, episode 1: torn episode: episode_ends needs 51 rows, got 30",
    ),
    "nan": (
        lambda p: poke(p, "data/action", (31, 2), np.nan),
        "data/action, row 31, episode 2: expected finite numbers",
    ),
    "infinity": (
        lambda p: poke(p, "data/reward", 30, -np.inf),
        "data/reward, row 30, episode 1: expected finite numbers",
    ),
    "dtype": (
        lambda p: edit_json(p, "data/action/.zarray", lambda c: c.update(dtype="<i4")),
        r"data/action: expected float32 \(7,\) per step as the attributes say, got int32 \(7,\)",
    ),
    "shape": (
        lambda p: edit_json(p, ".zattrs", lambda c: c["keys"]["action"].update(shape=[6])),
        r"data/action: expected float32 \(6,\) per step .* got float32 \(7,\)",
    ),
    "version": (set_attribute("bridle_schema", 2), r"\.zattrs: bridle_schema: .* got 2"),
    "attribute gone": (
        lambda p: edit_json(p, ".zattrs", lambda c: c.pop("task")),
        r"\.zattrs: attributes are missing: task",
    ),
    "rate": (set_attribute("control_rate", "fast"), r"\.zattrs: control_rate must be"),
    "keys": (set_attribute("keys", {"action": 3}), r"\.zattrs: keys\.action: expected"),
    "key gone": (
        lambda p: shutil.rmtree(p / "data/reward"),
        "data/reward: the attributes name it, but it is not stored",
    ),
    "instruction": (
        lambda p: poke(p, "data/instruction_id", 40, 7),
        "data/instruction_id, row 40, episode 2: expected one of 2 instructions, got 7",
    ),
    "negative instruction": (
        lambda p: poke(p, "data/instruction_id", 0, -1),
        "data/instruction_id, row 0, episode 0: expected one of 2 instructions, got -1",
    ),
    "time": (
        lambda p: poke(p, "data/timestamp", 33, 0.05),
        "data/timestamp, row 33, episode 2: expected more than 0.05 s, got 0.05 s",
    ),
    "missing chunk": (
        lambda p: (p / "data/camera_front/2.0.0.0").unlink(),
        r"data/camera_front/2\.0\.0\.0, row 32, episode 2: the chunk is missing and reads as 0 "
        r"\(1 of 4 are missing\)",
    ),
    "cut chunk": (
        lambda p: cut(p, "data/camera_front/1.0.0.0", 100),
        r"data/camera_front/1\.0\.0\.0, row 16, episode 0: truncated chunk: .* got 100",
    ),
    "empty chunk": (
        lambda p: cut(p, "data/action/0.0", 0),
        r"data/action/0\.0, row 0, episode 0: truncated chunk: expected 16 bytes, got 0",
    ),
    "scrambled chunk": (
        lambda p: scramble(p, "data/timestamp/0"),
        "data/timestamp, row 0, episode 0: data/timestamp/0: rows 0 to 50 cannot be read",
    ),
    "metadata": (
        lambda p: cut(p, "data/action/.zarray", 40),
        r"data/action/\.zarray: is not readable JSON",
    ),
    "metadata gone": (
        lambda p: (p / "data/action/.zarray").unlink(),
        r"data/action/\.zarray: missing, but there is data/action/0\.0",
    ),
    "attributes cut": (lambda p: cut(p, ".zattrs", 5), r"\.zattrs: is not readable JSON"),
    "attributes a list": (
        lambda p: (p / ".zattrs").write_text("[]"),
        r"\.zattrs: expected a JSON object, got list",
    ),
    "codec": (
        lambda p: edit_json(p, "data/action/.zarray", lambda c: c["compressor"].update(id="jp2k")),
        r"data/action/\.zarray: .*jp2k",
    ),
    "chunks of nothing": (
        lambda p: edit_json(p, "data/action/.zarray", lambda c: c.update(chunks=[0, 7])),
        r"data/action/\.zarray: .* in chunks of at least 1",
    ),
    "format of a group": (
        lambda p: (p / "data/.zgroup").write_text("{}"),
        r"data/\.zgroup: expected zarr_format 2, got None",
    ),
    "format 3": (lambda p: (p / "zarr.json").write_text("{}"), "format 2, got format 3"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_by_name(recorded, name):
    harm, message = DAMAGE[name]
    harm(recorded)
    found = errors(recorded)
    assert found
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("\n".join(map(str, found)))


@pytest.mark.parametrize(
    "name", [n for n in DAMAGE if n not in ("nan", "infinity", "time") and "instruct" not in n]
)
def test_damaged_sets_are_not_loaded_summarised_or_appended_to(recorded, name):
    DAMAGE[name][0](recorded)
    for use in (load, info):
        with pytest.raises(DemonstrationError, match=str(recorded)):
            use(recorded)
    if name != "scrambled chunk":
        with pytest.raises(DemonstrationError):
            DemonstrationWriter.open(recorded)


def test_all_damage_is_reported_at_once(recorded):
    poke(recorded, "data/action", (3, 0), np.nan)
    poke(recorded, "data/instruction_id", 5, 9)
    (recorded / "data/camera_front/0.0.0.0").unlink()
    assert sorted((p.where, p.row) for p in errors(recorded)) == [
        ("data/action", 3),
        ("data/camera_front/0.0.0.0", 0),
        ("data/instruction_id", 5),
    ]


def test_time_is_compared_across_chunks(tmp_path):
    record(tmp_path / "set", (1100,))
    poke(tmp_path / "set", "data/timestamp", 1000, 0.0)
    assert [(p.where, p.row) for p in errors(tmp_path / "set")] == [("data/timestamp", 1000)]


def test_paths_that_are_no_sets_are_named(tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("nowhere", "does not exist"),
        ("text.zip", "neither a folder nor a readable zip"),
        ("empty", "not a zarr group"),
    ):
        assert message in str(errors(tmp_path / name)[0])
        with pytest.raises(DemonstrationError, match=message):
            load(tmp_path / name)


def test_a_damaged_zip_member_is_found(recorded, tmp_path):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for file in sorted(f for f in recorded.rglob("*") if f.is_file()):
            target.write(file, file.relative_to(recorded))
        member = target.getinfo("data/action/0.0")
    content = bytearray(archive.read_bytes())
    content[member.header_offset + 30 + len(member.filename) + 40] ^= 0xFF
    archive.write_bytes(content)
    assert [p.where for p in errors(archive)] == ["data/action/0.0"]
    with pytest.raises(DemonstrationError, match=r"data/action/0\.0"):
        load(archive)


@pytest.mark.parametrize("seed", range(30))
def test_random_bytes_in_a_chunk_never_end_the_process(recorded, seed):
    rng = random.Random(seed)
    file = recorded / rng.choice(["data/action/0.0", "data/camera_front/1.0.0.0"])
    content = bytearray(file.read_bytes())
    for _ in range(rng.randrange(1, 20)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    file.write_bytes(content)
    for problem in errors(recorded):
        assert problem.where.startswith("data/")


# Sets of others


def foreign(path):
    """A set in the layout of diffusion_policy, which has no attributes."""
    root = zarr.create_group(path, zarr_format=2)
    blosc = numcodecs.Blosc("zstd", 5, numcodecs.Blosc.BITSHUFFLE)
    rng = np.random.default_rng(0)
    rows = {
        "action": rng.random((25, 2), np.float32),
        "state": rng.random((25, 5), np.float32),
        "img": rng.random((25, 6, 6, 3), np.float32),
    }
    for key, value in rows.items():
        chunks = (8, 3, 6, 3) if key == "img" else (10, *value.shape[1:])
        root.create_array(f"data/{key}", data=value, chunks=chunks, compressors=blosc)
    root.create_array("meta/episode_ends", data=np.array([10, 25]), compressors=blosc)
    return rows


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


# Split


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
