import json
import multiprocessing
import random
import signal
import time

import numpy as np
import pytest

from bridle.training.converters import ConversionError, lerobot_group
from bridle.training.demonstrations import DemonstrationError
from bridle.training.demonstrations.summary import info
from tests.training.converters.foreign import (
    convert,
    write_bag,
    write_lerobot,
    write_robomimic,
    write_set,
    write_topics,
    write_zarr,
)

KILLS = 4
"""For each of six conversions."""

# A server that has everything imported makes a process in a few milliseconds.
forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(
    ["tests.training.converters.foreign", "h5py", "av", "pyarrow.parquet", "rosbags.highlevel"]
)


def run(arguments):
    lerobot_group.MOST_EPISODES = 3
    convert(*arguments)


def a_zarr(folder):
    rng = np.random.default_rng(0)
    arrays = {
        "action": rng.random((600, 3), np.float32),
        "img": rng.integers(0, 256, (600, 16, 16, 3)).astype(np.float32),
    }
    arrays["action"][205] = np.nan
    write_zarr(folder / "a.zarr", arrays, np.arange(1, 61) * 10)
    return folder / "a.zarr", "--rate", 10, "--skip-bad"


def a_robomimic(folder):
    write_robomimic(folder / "a.hdf5", demos=40, image=False)
    return (folder / "a.hdf5",)


def a_bag(folder):
    (folder / "bags").mkdir()
    for i in range(8):
        write_bag(folder / f"bags/{i}.mcap", 2.0, seed=i, hole=(0.7, 1.0) if i % 2 else None)
    return folder / "bags", "--topics", write_topics(folder / "topics.yaml")


def a_lerobot(folder):
    image = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), np.uint8)
    write_lerobot(folder / "l", lengths=(5,) * 60, image=image)
    return (folder / "l",)


def our_set(folder):
    write_set(folder / "a", lengths=(6,) * 30)
    return folder / "a", "--to", "lerobot"


def our_videos(folder):
    write_set(folder / "a", lengths=(6,) * 20)
    return folder / "a", "--to", "lerobot", "--images", "video"


def committed(path):
    """Episodes that are there, as far as one can see from outside."""
    tables = path / "meta/episodes/chunk-000"
    if tables.exists():
        return 3 * len(list(tables.iterdir()))
    try:
        return json.loads((path / "meta/episode_ends/.zarray").read_text())["shape"][0]
    except (OSError, ValueError):
        return 0


def content(path, folder):
    """What a conversion gave, as far as it must be the same after kills."""
    if (path / "meta/info.json").exists():
        back = folder / f"{path.name}-back"
        convert(path, "--out", back)
        files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        stats = json.loads((path / "meta/stats.json").read_text())
        # The name of what was converted is part of the attributes.
        numbers = info(back).to_json()["keys"]
        return files, stats, numbers, info(back).steps
    return info(path).digest


def reported(path):
    found = json.loads(path.read_text())
    return {k: found[k] for k in ("episodes", "steps", "skipped", "gaps", "left_out", "notes")}


@pytest.mark.parametrize("make", [a_zarr, a_robomimic, a_bag, a_lerobot, our_set, our_videos])
def test_kills_at_any_moment_change_nothing(tmp_path, make):
    arguments = make(tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    child = forks.Process(
        target=run, args=((*arguments, "--out", whole, "--json", tmp_path / "w"),)
    )
    child.start()
    child.join()
    assert child.exitcode == 0
    rng = random.Random(make.__name__)
    targets = sorted(rng.sample(range(committed(whole)), KILLS))
    hits = 0
    for target in targets:
        child = forks.Process(target=run, args=((*arguments, "--out", killed),))
        child.start()
        while child.is_alive() and committed(killed) < target:
            time.sleep(0.001)
        child.join(rng.uniform(0, 0.03))
        child.kill()
        child.join()
        hits += child.exitcode == -signal.SIGKILL
    assert hits >= KILLS // 2
    run((*arguments, "--out", killed, "--json", tmp_path / "k"))
    assert content(killed, tmp_path) == content(whole, tmp_path)
    assert reported(tmp_path / "k") == reported(tmp_path / "w")
    # Once more changes nothing.
    run((*arguments, "--out", killed, "--json", tmp_path / "k"))
    assert reported(tmp_path / "k") == reported(tmp_path / "w")


def test_only_the_same_conversion_goes_on(tmp_path):
    write_robomimic(tmp_path / "a.hdf5", demos=3, image=False)
    write_robomimic(tmp_path / "b.hdf5", demos=4, image=False)
    convert(tmp_path / "a.hdf5", "--out", tmp_path / "out")
    before = info(tmp_path / "out").digest
    with pytest.raises(DemonstrationError, match=r"holds another set: source.name is 'a.hdf5'"):
        convert(tmp_path / "b.hdf5", "--out", tmp_path / "out")
    with pytest.raises(DemonstrationError, match="control_rate is 20"):
        convert(tmp_path / "a.hdf5", "--out", tmp_path / "out", "--rate", 5)
    assert info(tmp_path / "out").digest == before
    convert(tmp_path / "a.hdf5", "--out", tmp_path / "l", "--to", "lerobot")
    with pytest.raises(ConversionError, match="begun by another conversion: source"):
        convert(tmp_path / "b.hdf5", "--out", tmp_path / "l", "--to", "lerobot")


def test_what_is_converted_is_never_written_to(tmp_path):
    write_set(tmp_path / "a")
    with pytest.raises(ConversionError, match="lies within what is converted"):
        convert(tmp_path / "a", "--out", tmp_path / "a/new")
