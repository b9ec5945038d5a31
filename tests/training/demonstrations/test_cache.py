import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from bridle.training.demonstrations import DemonstrationError, DemonstrationWriter, load
from bridle.training.demonstrations.arrays import StoredArray
from tests.training.demonstrations.sets import assert_holds, episode, foreign, record


def cached(path, **options):
    return load(path, memory="memmap", **options)


def folders(path):
    return sorted(p.name for p in path.with_name(f"{path.name}.cache").iterdir())


def is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


@pytest.fixture
def reads(monkeypatch):
    """How often rows are read from the set itself."""
    calls, read = [], StoredArray.read
    monkeypatch.setattr(
        StoredArray, "read", lambda self, *span: calls.append(self.name) or read(self, *span)
    )
    return calls


def test_a_mapped_set_is_the_set(tmp_path):
    path = tmp_path / "set"
    episodes = record(path, (1200, 30), episode_keys={"seed": "int64"})
    mapped = cached(path)
    assert_holds(mapped, episodes)
    assert all(is_mapped(rows) for rows in mapped.arrays.values())
    assert mapped.digest == load(path).digest
    assert mapped.episode_values["seed"].tolist() == [0, 1]
    assert folders(path) == [mapped.digest]
    with pytest.raises(ValueError, match="read-only"):
        mapped.arrays["action"][0] = 0


def test_the_data_is_written_once(recorded, reads):
    cached(recorded)
    assert any(name.startswith("data/") for name in reads)
    reads.clear()
    cached(recorded)
    assert not any(name.startswith("data/") for name in reads)


def test_some_keys_have_a_cache_of_their_own(recorded):
    some = cached(recorded, keys=["action"])
    assert set(some.arrays) == {"action"}
    assert some.digest == load(recorded, keys=["action"]).digest
    assert len(folders(recorded)) == 1
    cached(recorded)
    assert len(folders(recorded)) == 2


def test_a_set_that_has_grown_gets_a_new_cache(recorded):
    before = cached(recorded)
    kept = before.arrays["action"].copy()
    with DemonstrationWriter.open(recorded) as writer:
        writer.append(episode(7, 9))
    after = cached(recorded)
    assert after.n_episodes == 4
    assert folders(recorded) == [after.digest]
    # Whoever mapped the old one keeps it.
    np.testing.assert_array_equal(before.arrays["action"], kept)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: os.truncate(folder / "0.npy", 100),
        lambda folder: (folder / "0.npy").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: edit(folder, digest="0" * 64),
        lambda folder: edit(folder, fingerprint="0" * 64),
        lambda folder: edit(folder, keys=[]),
        lambda folder: (folder / "0.npy").write_bytes(
            b"\x93PICKLE" + (folder / "0.npy").read_bytes()[7:]
        ),
    ],
)
def test_a_damaged_cache_is_made_again(recorded, harm):
    digest = cached(recorded).digest
    harm(recorded.with_name("set.cache") / digest)
    again = cached(recorded)
    assert_same(again, load(recorded))
    assert folders(recorded) == [digest]


def edit(folder, **change):
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))


def assert_same(one, other):
    assert one.digest == other.digest
    for key, rows in other.arrays.items():
        np.testing.assert_array_equal(one.arrays[key], rows)


def test_what_a_killed_process_left_is_removed(recorded):
    cached(recorded)
    folder = recorded.with_name("set.cache")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = folder / f"{os.uname().nodename}.{dead.pid}.abc.partial"
    left.mkdir()
    alive = folder / f"{os.uname().nodename}.{os.getpid()}.abc.partial"
    alive.mkdir()
    with DemonstrationWriter.open(recorded) as writer:
        writer.append(episode(7, 9))
    cached(recorded)
    assert not left.exists()
    assert alive.exists()


TWO_AT_ONCE = """
import sys
from pathlib import Path
from bridle.training.demonstrations import load
print("ready", flush=True)
sys.stdin.readline()
print(load(Path(sys.argv[1]), memory="memmap").arrays["action"].sum(dtype="float64"))
"""


def test_processes_that_begin_together_get_the_same(tmp_path):
    path = tmp_path / "set"
    episodes = record(path, (1500,) * 3)
    command = [sys.executable, "-c", TWO_AT_ONCE, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    readers = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for reader in readers:
        assert reader.stdout.readline() == "ready\n"
    for reader in readers:
        reader.stdin.write("\n")
        reader.stdin.flush()
    sums = [float(reader.communicate()[0]) for reader in readers]
    expected = np.concatenate([rows["action"] for rows in episodes]).sum(dtype=np.float64)
    assert sums == [expected] * 3
    assert folders(path) == [load(path).digest]


def test_another_folder_can_be_chosen(recorded, tmp_path):
    cached(recorded, cache=tmp_path / "elsewhere")
    assert not recorded.with_name("set.cache").exists()
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_named(recorded, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DemonstrationError, match=r"file/x cannot be written.*another cache"):
        cached(recorded, cache=tmp_path / "file/x")


def test_sets_of_others_and_empty_ones_are_mapped(tmp_path):
    foreign(tmp_path / "foreign")
    with pytest.warns(UserWarning, match="not written by Bridle"):
        assert_same(cached(tmp_path / "foreign"), load(tmp_path / "foreign"))
    record(tmp_path / "empty", ())
    with pytest.warns(UserWarning, match="no episode"):
        assert cached(tmp_path / "empty").n_steps == 0


def test_memory_is_ram_or_memmap(recorded):
    with pytest.raises(DemonstrationError, match="ram or memmap"):
        load(recorded, memory="disk")


def test_a_cache_is_not_made_of_a_damaged_set(recorded):
    content = bytearray((recorded / "data/action/0.0").read_bytes())
    content[16:] = bytes(255 - byte for byte in content[16:])
    (recorded / "data/action/0.0").write_bytes(content)
    with pytest.raises(DemonstrationError, match=r"data/action/0\.0"):
        cached(recorded)
    assert folders(recorded) == []
    shutil.rmtree(recorded)
