import random
import shutil
import zipfile

import numpy as np
import pytest

from bridle.training.demonstrations import (
    DemonstrationError,
    DemonstrationWriter,
    load,
)
from bridle.training.demonstrations.summary import info
from tests.training.demonstrations.sets import cut, edit_json, errors, poke, record, scramble


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
    "lowest end of all": (
        lambda p: poke(p, "meta/episode_ends", 1, -(2**63)),
        "episode_ends, episode 1: negative: expected an end above 30, got -9223372036854775808",
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
        r"data/action/\.zarray: chunks must be a list of integers from 1 to",
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
    for _ in range(rng.randrange(1, 22)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    file.write_bytes(content)
    for problem in errors(recorded):
        assert problem.where.startswith("data/")
