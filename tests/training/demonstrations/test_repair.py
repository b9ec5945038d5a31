import json
import shutil

import numpy as np
import pytest

from bridle.training.demonstrations import DemonstrationError, DemonstrationWriter, load
from bridle.training.demonstrations.repairing import repair
from bridle.training.demonstrations.validation import validate
from bridle.training.demonstrations.zips import pack
from tests.training.demonstrations.sets import (
    assert_holds,
    cut,
    edit_json,
    episode,
    errors,
    files_of,
    foreign,
    poke,
    record,
    scramble,
)

LENGTHS = (30, 1, 20, 1100)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A set that nobody changes, the episodes in it, and its digest."""
    path = tmp_path_factory.mktemp("original") / "set"
    episodes = record(path, LENGTHS, episode_keys={"seed": "int64"})
    return path, episodes, load(path).digest


@pytest.fixture
def sound(original, tmp_path):
    """A copy of it."""
    path, episodes, digest = original
    return shutil.copytree(path, tmp_path / "set"), episodes, digest


def without_checksums(path):
    shutil.rmtree(path / "meta/checksums")


def zero_entries(path, count):
    """Every chunk of ends is there, of the length it should have; the first ends are lost."""
    content = (path / "meta/episode_ends/0").read_bytes()
    (path / "meta/episode_ends/0").write_bytes(b"\0" * 8 * count + content[8 * count :])


MENDED = {
    "group": (lambda p: (p / ".zgroup").unlink(), ".zgroup: written again"),
    "group of data": (lambda p: (p / "data/.zgroup").write_text("[]"), "data/.zgroup: written"),
    "metadata gone": (
        lambda p: (p / "data/action/.zarray").unlink(),
        r"data/action/.zarray: written again from the attributes \(it was missing\)",
    ),
    "metadata cut": (
        lambda p: cut(p, "data/camera_front/.zarray", 40),
        "data/camera_front/.zarray: written again from the attributes .*not readable JSON",
    ),
    "dtype": (
        lambda p: edit_json(p, "data/action/.zarray", lambda c: c.update(dtype="<i4")),
        "data/action/.zarray: written again from the attributes .*int32",
    ),
    "codec": (
        lambda p: edit_json(p, "data/action/.zarray", lambda c: c["compressor"].update(id="x")),
        "written again from the attributes .*'x' is not read",
    ),
    "too short": (
        lambda p: edit_json(p, "data/reward/.zarray", lambda c: c.update(shape=[30])),
        "data/reward: 1121 rows more belong to it, as their checksums say",
    ),
    "no ends": (
        lambda p: shutil.rmtree(p / "meta/episode_ends"),
        "episode 3 ends at row 1151, found by its checksums",
    ),
    "chunk of ends gone": (
        lambda p: (p / "meta/episode_ends/0").unlink(),
        "episode 0 ends at row 30, found by its checksums",
    ),
    "chunk of ends cut": (
        lambda p: cut(p, "meta/episode_ends/0", 17),
        "episode 2 ends at row 51, found by its checksums",
    ),
    "metadata of ends": (
        lambda p: cut(p, "meta/episode_ends/.zarray", 30),
        "meta/episode_ends: written again, of 4 episodes",
    ),
    "ends of another dtype": (
        lambda p: edit_json(p, "meta/episode_ends/.zarray", lambda c: c.update(dtype="<i4")),
        "meta/episode_ends: written again, of 4 episodes",
    ),
    "wrong end": (
        lambda p: poke(p, "meta/episode_ends", 1, 33),
        "episode 1 ends at row 31, found by its checksums",
    ),
    "end after the last row": (
        lambda p: poke(p, "meta/episode_ends", 3, 9000),
        "episode 3 ends at row 1151, found by its checksums",
    ),
    "ends by time": (
        lambda p: (without_checksums(p), zero_entries(p, 4)),
        "episode 3 ends at row 1151, found by the timestamps",
    ),
    "seeds cut": (
        lambda p: cut(p, "meta/seed/0", 32),
        "meta/seed: written again, of 4 episodes",
    ),
    "checksums": (
        lambda p: cut(p, "meta/checksums/0.0", 12),
        "meta/checksums: made again of the rows as they are now",
    ),
    "unfinished files": (
        lambda p: [(p / n).write_text("") for n in (".zattrs.partial", "data/action/9.0.partial")],
        "2 unfinished files removed, such as .zattrs.partial",
    ),
    "uncommitted rows": (
        lambda p: edit_json(p, "data/reward/.zarray", lambda c: c.update(shape=[1500])),
        "data/reward: 349 rows that no episode claims are cut off",
    ),
    "chunks after the last row": (
        lambda p: shutil.copy(p / "data/action/0.0", p / "data/action/7.0"),
        "1 chunks after the last row removed, such as data/action/7.0",
    ),
    "a killed creation": (
        lambda p: shutil.copytree(p, p.with_name("set.partial")),
        "set.partial removed: what a killed creation left",
    ),
}


@pytest.mark.parametrize("name", MENDED)
def test_what_can_be_mended_in_place_loses_nothing(sound, name):
    path, episodes, digest = sound
    harm, message = MENDED[name]
    harm(path)
    before = files_of(path.parent)
    planned = repair(path, dry_run=True)
    assert files_of(path.parent) == before
    done = repair(path)
    assert (planned.done, planned.lost, planned.remaining) == (done.done, (), ())
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("\n".join(done.done))
    assert validate(path) == []
    assert load(path).digest == digest
    assert done.episodes == 4
    assert repair(path).done == ()
    assert not list(path.parent.rglob("*.partial"))
    with DemonstrationWriter.open(path) as writer:
        writer.append(episode(5, 9), {"seed": 4})
    assert_holds(load(path), [*episodes, episode(5, 9)])


def test_a_sound_set_is_left_as_it_is(sound):
    path, _, _ = sound
    before = files_of(path)
    result = repair(path)
    assert (result.done, result.lost, result.remaining) == ((), (), ())
    assert files_of(path) == before


def test_everything_of_meta_can_be_lost_but_the_seeds(tmp_path):
    path = tmp_path / "set"
    episodes = record(path, LENGTHS)
    shutil.rmtree(path / "meta")
    assert repair(path).remaining == ()
    assert validate(path) == []
    assert_holds(load(path), episodes)


def test_ends_that_nothing_tells_are_not_made_up(tmp_path):
    path = tmp_path / "set"
    keys = {key: spec for key, spec in record_keys().items() if key != "timestamp"}
    episodes = record(path, LENGTHS, keys=keys)
    without_checksums(path)
    cut(path, "meta/episode_ends/0", 16)
    before = files_of(path)
    result = repair(path)
    assert result.remaining
    assert files_of(path) == before
    planned = repair(path, dry_run=True)
    assert planned.remaining[0] == (
        "episodes from 2 on: neither checksums nor timestamps tell where they end"
    )
    saved = repair(path, tmp_path / "out")
    assert saved.lost == planned.remaining
    assert_holds(load(tmp_path / "out"), episodes[:2])


def record_keys():
    from tests.training.demonstrations.sets import KEYS

    return KEYS


# What a power cut leaves: renames that came to the disk in another order


def test_episodes_whose_rows_never_came_are_cut_off(sound):
    path, episodes, _ = sound
    # The ends are there, the last rows of one key are not.
    edit_json(path, "data/reward/.zarray", lambda c: c.update(shape=[51]))
    (path / "data/reward/1").unlink()
    planned = repair(path, dry_run=True)
    result = repair(path)
    assert (
        result.lost == planned.lost == ("episode 3 (rows 51 to 1150): data/reward ends at row 51",)
    )
    assert result.remaining == ()
    assert validate(path) == []
    assert_holds(load(path), episodes[:3])
    assert load(path).episode_values["seed"].tolist() == [0, 1, 2]


def test_an_old_last_chunk_is_no_row_of_the_new_episode(tmp_path):
    path = tmp_path / "set"
    episodes = record(path, (30, 1))
    old = (path / "data/reward/0").read_bytes(), (path / "data/reward/.zarray").read_bytes()
    with DemonstrationWriter.open(path) as writer:
        writer.append(episode(20, 2))
    (path / "data/reward/0").write_bytes(old[0])
    (path / "data/reward/.zarray").write_bytes(old[1])
    assert repair(path).lost == ("episode 2 (rows 31 to 50): data/reward ends at row 31",)
    assert_holds(load(path), episodes)


def test_one_lost_file_does_not_cut_off_everything(sound):
    path, _, _ = sound
    (path / "data/reward/0").unlink()
    edit_json(path, "data/reward/.zarray", lambda c: c.update(shape=[0]))
    before = {n: c for n, c in files_of(path).items() if n.parts[0] == "data"}
    result = repair(path)
    assert result.remaining
    after = files_of(path)
    assert all(after[name] == content for name, content in before.items())


# Leaving damaged episodes out


def spoil(path, key, index, value):
    poke(path, key, index, value)


DAMAGED = {
    "nan": (lambda p: spoil(p, "data/action", (31, 2), np.nan), [2], "row 31: expected finite"),
    "flipped bit": (lambda p: spoil(p, "data/reward", 30, 0.5), [1], "its checksum differs"),
    "instruction": (
        lambda p: spoil(p, "data/instruction_id", 0, 7),
        [0],
        "row 0: expected one of 2 instructions",
    ),
    "missing chunk": (
        lambda p: (p / "data/camera_front/0.0.0.0").unlink(),
        [0],
        "data/camera_front: chunks are missing",
    ),
    "cut chunk": (
        lambda p: cut(p, "data/camera_front/2.0.0.0", 50),
        [2],
        r"data/camera_front/2\.0\.0\.0: rows 32 to 47 cannot be read: truncated chunk",
    ),
    "scrambled chunk": (
        lambda p: scramble(p, "data/timestamp/1"),
        [3],
        r"data/timestamp/1: rows 1000 to 1999 cannot be read",
    ),
    "several": (
        lambda p: (
            spoil(p, "data/reward", 30, 0.5),
            (p / "data/camera_front/3.0.0.0").unlink(),
        ),
        [1, 2, 3],
        "its checksum differs",
    ),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_episodes_are_left_out_of_a_new_set(sound, tmp_path, name, packed):
    path, episodes, _ = sound
    harm, lost, message = DAMAGED[name]
    harm(path)
    if packed:
        pack(path, tmp_path / "set.zip")
        path = tmp_path / "set.zip"
    before = files_of(tmp_path)
    planned = repair(path, tmp_path / "out", dry_run=True)
    assert files_of(tmp_path) == before
    result = repair(path, tmp_path / "out")
    assert (planned.done, planned.lost) == (result.done, result.lost)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("\n".join(result.lost))
    kept = [i for i in range(4) if i not in lost]
    assert validate(tmp_path / "out") == []
    found = load(tmp_path / "out")
    assert_holds(found, [episodes[i] for i in kept])
    assert found.episode_values["seed"].tolist() == kept
    assert found.attributes.source["left_out"] == lost
    # The damaged set is as it was, and doing it again changes nothing.
    after = files_of(tmp_path)
    assert before.items() <= after.items()
    assert repair(path, tmp_path / "out").episodes == len(kept)
    assert files_of(tmp_path) == after


@pytest.mark.parametrize("name", DAMAGED)
def test_in_place_damaged_episodes_stay_and_are_named(sound, name):
    path, _, _ = sound
    harm, lost, _ = DAMAGED[name]
    harm(path)
    before = files_of(path)
    result = repair(path)
    assert result.remaining
    assert result.lost == ()
    assert files_of(path) == before
    planned = repair(path, dry_run=True).remaining
    assert [text.split(" (")[0] for text in planned] == [f"episode {i}" for i in lost]


def test_a_column_that_is_lost_is_left_out(sound, tmp_path):
    path, episodes, _ = sound
    (path / "meta/seed/0").unlink()
    assert "meta/seed/0: the chunk is missing" in "".join(repair(path).remaining)
    assert "--out makes a set without it" in "".join(repair(path, dry_run=True).remaining)
    result = repair(path, tmp_path / "out")
    assert result.lost == ("meta/seed of all episodes",)
    assert_holds(load(tmp_path / "out"), episodes)
    assert load(tmp_path / "out").episode_values == {}


def test_nothing_whole_is_no_set(recorded, tmp_path):
    for key in ("action", "reward"):
        shutil.rmtree(recorded / f"data/{key}")
    with pytest.raises(DemonstrationError, match="no episode is whole; episode 0"):
        repair(recorded, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# What cannot be repaired


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda p: (p / ".zattrs").unlink(), "has no attributes of Bridle's"),
        (lambda p: cut(p, ".zattrs", 9), "units, instructions and source are lost"),
        (
            lambda p: edit_json(p, ".zattrs", lambda c: c.pop("robot")),
            "attributes are missing: robot",
        ),
        (
            lambda p: (
                edit_json(p, ".zattrs", lambda c: c["keys"]["action"].update(shape=[6])),
                (p / "data/action/.zarray").unlink(),
            ),
            "its chunks are of another size: data/action/0.0 claims to decode to 28000",
        ),
        (
            lambda p: (p / "data/link").symlink_to("/etc/hostname"),
            "data/link is a symbolic link",
        ),
    ],
)
def test_what_cannot_be_repaired_is_said_and_left(recorded, harm, message):
    harm(recorded)
    before = files_of(recorded)
    for dry_run in (True, False):
        with pytest.raises(DemonstrationError, match=message):
            repair(recorded, dry_run=dry_run)
    assert files_of(recorded) == before
    assert not recorded.with_name("set.lock").exists()


def test_places_that_are_no_sets_are_named(recorded, tmp_path):
    foreign(tmp_path / "foreign")
    pack(recorded, tmp_path / "set.zip")
    for path, out, message in (
        (tmp_path / "nowhere", None, "does not exist"),
        (tmp_path / "foreign", None, "only its own sets are repaired"),
        (tmp_path / "set.zip", None, "is not a folder; --out makes a repaired set of it"),
        (recorded, recorded, "is the damaged set itself"),
    ):
        with pytest.raises(DemonstrationError, match=message):
            repair(path, out)


def test_a_set_that_is_written_is_not_repaired(recorded):
    with (
        DemonstrationWriter.open(recorded),
        pytest.raises(DemonstrationError, match="is being written by process"),
    ):
        repair(recorded)


def test_the_result_is_json(sound, tmp_path):
    path, _, _ = sound
    DAMAGED["nan"][0](path)
    result = repair(path, tmp_path / "out")
    assert json.loads(json.dumps(result.to_json()))["episodes"] == 3
    assert errors(tmp_path / "out") == []
