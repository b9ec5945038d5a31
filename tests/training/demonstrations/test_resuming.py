import json
import shutil

import numpy as np
import pytest

from bridle.training.demonstrations import (
    DemonstrationError,
    DemonstrationWriter,
    create_or_resume,
    known_key,
    load,
)
from bridle.training.demonstrations.summary import info
from bridle.training.demonstrations.validation import validate
from tests.training.demonstrations.sets import (
    SETTINGS,
    assert_holds,
    edit_json,
    episode,
    errors,
    files_of,
    poke,
    record,
)

WITH_SEEDS = SETTINGS | {"source": {"command": "test"}, "episode_keys": {"seed": "int64"}}


def blocks(rows, sizes):
    start = 0
    for size in sizes:
        yield {key: values[start : start + size] for key, values in rows.items()}
        start += size


# Values of episodes


def test_every_episode_keeps_its_values(tmp_path):
    keys = {"seed": "int64", "weight": "float32"}
    with DemonstrationWriter.create(tmp_path / "set", **SETTINGS, episode_keys=keys) as writer:
        writer.append(episode(5), {"seed": -(2**62), "weight": 0.5})
        writer.append(episode(6), {"seed": np.int64(7), "weight": 2})
        assert writer.episode_values("seed").tolist() == [-(2**62), 7]
        with pytest.raises(DemonstrationError, match="no episode key 'mass'; it has seed, weight"):
            writer.episode_values("mass")
    with DemonstrationWriter.open(tmp_path / "set") as writer:
        assert writer.episode_values("weight").tolist() == [0.5, 2]
    values = load(tmp_path / "set").episode_values
    assert {name: array.dtype.name for name, array in values.items()} == keys
    assert values["seed"].tolist() == [-(2**62), 7]
    assert validate(tmp_path / "set") == []
    assert info(tmp_path / "set").episode_keys == keys


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "missing seed, unknown none"),
        ({"seed": 1, "mass": 2}, "missing none, unknown mass"),
        ({"seed": 1.5}, "meta/seed, episode 0: expected one finite int64, got 1.5"),
        ({"seed": 2**63}, "expected one finite int64"),
        ({"seed": True}, "expected one finite int64, got True"),
        ({"seed": [1]}, "expected one finite int64"),
        ({"seed": "one"}, "expected one finite int64"),
    ],
)
def test_wrong_values_of_an_episode_are_refused(tmp_path, values, message):
    with DemonstrationWriter.create(tmp_path / "set", **WITH_SEEDS) as writer:
        with pytest.raises(DemonstrationError, match=message):
            writer.append(episode(5), values)
        writer.append(episode(5), {"seed": 1})
        assert writer.episode_values("seed").tolist() == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episode_keys": {"episode_ends": "int64"}}, "must be an identifier other than"),
        ({"episode_keys": {"checksums": "int64"}}, "must be an identifier other than"),
        ({"episode_keys": {"../seed": "int64"}}, "must be an identifier other than"),
        ({"episode_keys": {"seed": "bool"}}, "integer or float"),
        ({"episode_keys": {"seed": "object"}}, "integer or float"),
        ({"source": {"path": {1, 2}}}, "source must be a JSON object"),
        ({"source": {"rate": float("nan")}}, "source must be a JSON object"),
        ({"source": ["collect"]}, "JSON object"),
    ],
)
def test_wrong_sources_and_episode_keys_are_refused(tmp_path, change, message):
    with pytest.raises(DemonstrationError, match=message):
        DemonstrationWriter.create(tmp_path / "set", **SETTINGS | change)
    assert not (tmp_path / "set").exists()


def test_the_digest_covers_source_and_values(tmp_path):
    digests = set()
    for seed, source in ((0, {}), (1, {}), (0, {"a": 1})):
        with DemonstrationWriter.create(
            tmp_path / "set", **WITH_SEEDS | {"source": source}
        ) as writer:
            writer.append(episode(5), {"seed": seed})
        assert load(tmp_path / "set").digest == info(tmp_path / "set").digest
        digests.add(load(tmp_path / "set").digest)
        shutil.rmtree(tmp_path / "set")
    assert len(digests) == 3


def test_damaged_columns_are_found(tmp_path):
    path = tmp_path / "set"
    record(path, **WITH_SEEDS)
    for harm, message in (
        (lambda p: (p / "meta/seed/0").unlink(), "meta/seed/0: the chunk is missing"),
        (lambda p: shutil.rmtree(p / "meta/seed"), "meta/seed: the attributes name it, but"),
        (
            lambda p: edit_json(p, "meta/seed/.zarray", lambda c: c.update(shape=[2])),
            r"meta/seed: expected int64 \(3,\), got int64 \(2,\)",
        ),
        (
            lambda p: edit_json(p, "meta/seed/.zarray", lambda c: c.update(dtype="<f8")),
            r"meta/seed: expected int64 \(3,\), got float64 \(3,\)",
        ),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(path, copy)
        harm(copy)
        with pytest.raises(AssertionError, match=message):
            raise AssertionError("\n".join(map(str, errors(copy))))
        with pytest.raises(DemonstrationError, match="meta/seed"):
            load(copy)
        shutil.rmtree(copy)


def test_a_set_without_source_and_columns_is_one(recorded):
    edit_json(recorded, ".zattrs", lambda c: (c.pop("source"), c.pop("episode_keys")))
    shutil.rmtree(recorded / "meta/checksums")
    assert validate(recorded) == []
    assert load(recorded).attributes.source == {}
    with DemonstrationWriter.open(recorded) as writer:
        writer.append(episode(4))
    assert validate(recorded) == []


def test_bits_that_flipped_are_found_by_episode(recorded):
    poke(recorded, "data/action", (40, 1), 3.5)
    assert [str(p) for p in validate(recorded)] == [
        "error: data/action, row 31, episode 2: the rows are not those that were written: "
        "their checksum differs"
    ]


# Blocks


def test_an_episode_in_blocks_is_the_same_as_in_one(tmp_path):
    rows = episode(2500)
    for name, sizes in (("one", [2500]), ("many", [1, 999, 1000, 3, 497])):
        with DemonstrationWriter.create(tmp_path / name, **WITH_SEEDS) as writer:
            writer.append_blocks(blocks(rows, sizes), {"seed": 3})
    assert files_of(tmp_path / "one") == files_of(tmp_path / "many")
    assert_holds(load(tmp_path / "many"), [rows])


def test_blocks_that_fail_commit_nothing_and_the_writer_goes_on(tmp_path):
    path = tmp_path / "set"
    good = record(path)

    def failing():
        yield episode(1500, 8)
        raise ZeroDivisionError

    late = episode(10, 9)
    late["timestamp"] = late["timestamp"] + 10
    with DemonstrationWriter.open(path) as writer:
        with pytest.raises(ZeroDivisionError):
            writer.append_blocks(failing())
        with pytest.raises(DemonstrationError, match="episode 3, row 1500: expected more than"):
            writer.append_blocks([episode(1500, 8), episode(5, 9)])
        with pytest.raises(DemonstrationError, match="expected at least 1 row, got no block"):
            writer.append_blocks([])
        assert writer.n_episodes == 3
        assert load(path).n_episodes == 3
        writer.append_blocks([episode(8, 5), late])
    assert validate(path) == []
    joined = {key: np.concatenate([rows, late[key]]) for key, rows in episode(8, 5).items()}
    assert_holds(load(path), [*good, joined])


# Resuming


def test_a_command_goes_on_with_its_own_set(tmp_path):
    path = tmp_path / "set"
    with create_or_resume(path, **WITH_SEEDS) as writer:
        writer.append(episode(5), {"seed": 11})
    with create_or_resume(path, **WITH_SEEDS) as writer:
        assert writer.n_episodes == 1
        assert writer.episode_values("seed").tolist() == [11]
        writer.append(episode(5), {"seed": 12})
    assert load(path).episode_values["seed"].tolist() == [11, 12]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": {"command": "test", "seed": 1}}, "source.seed is not there, asked for 1"),
        ({"source": {}}, "source.command is 'test', not asked for"),
        ({"source": {"command": "other"}}, "source.command is 'test', asked for 'other'"),
        ({"task": "stack"}, "task is 'pick-place', asked for 'stack'"),
        ({"control_rate": 10.0}, "control_rate is 20.0, asked for 10.0"),
        ({"instructions": ["reach"]}, r"instructions is \['reach', 'grasp'\], asked for"),
        ({"keys": {"action": known_key("action", (3,))}}, r"keys.action.shape is \[7\], asked for"),
        ({"episode_keys": {"seed": "int32"}}, "episode_keys.seed is 'int64', asked for 'int32'"),
    ],
)
def test_another_set_is_not_continued(tmp_path, change, message):
    path = tmp_path / "set"
    create_or_resume(path, **WITH_SEEDS).close()
    before = files_of(path)
    with pytest.raises(DemonstrationError, match=f"{path} holds another set: {message}"):
        create_or_resume(path, **WITH_SEEDS | change)
    assert files_of(path) == before
    create_or_resume(path, **WITH_SEEDS).close()


def test_what_a_kill_during_the_creation_left_is_removed(tmp_path):
    path = tmp_path / "set"
    partial = tmp_path / "set.partial/data/action"
    partial.mkdir(parents=True)
    (partial / ".zarray").write_text(json.dumps({"zarr_format": 2}))
    create_or_resume(path, **WITH_SEEDS).close()
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache-home"] == ["set"]


def test_a_zip_comes_to_its_place_when_it_is_finished(tmp_path):
    out = tmp_path / "set.zip"
    for n in range(2):
        writer = create_or_resume(out, **WITH_SEEDS)
        assert writer.n_episodes == n
        writer.append(episode(5, n), {"seed": n})
        writer.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
        assert not out.exists()
    with create_or_resume(out, **WITH_SEEDS) as writer:
        writer.append(episode(5, 2), {"seed": 2})
    assert load(out).episode_values["seed"].tolist() == [0, 1, 2]
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache-home"] == ["set.zip"]
