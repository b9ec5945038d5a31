"""Merges that are killed at random moments, 21 times in all."""

import json
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from bridle.training.demonstrations import DemonstrationWriter, known_key, load
from bridle.training.demonstrations.merging import merge
from bridle.training.demonstrations.staging import staging_folder
from bridle.training.demonstrations.validation import validate
from tests.training.demonstrations.sets import SETTINGS, errors

KEYS = {
    "action": known_key("action", (3,)),
    "camera_a": known_key("camera_a", (8, 8, 3)),
    "instruction_id": known_key("instruction_id"),
}
KILLS = 7


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two sets of many short episodes, each row of which holds the number of its episode."""
    folder = tmp_path_factory.mktemp("inputs")
    paths = [folder / "a", folder / "b"]
    for path, sentences in zip(paths, (["reach"], ["grasp", "reach"]), strict=True):
        settings = SETTINGS | {"keys": KEYS, "instructions": sentences}
        with DemonstrationWriter.create(
            path, **settings, episode_keys={"number": "int64"}
        ) as writer:
            for i in range(40):
                n = 1 + i * 7 % 60
                rows = {
                    "action": np.full((n, 3), i, np.float32),
                    "camera_a": np.full((n, 8, 8, 3), i, np.uint8),
                    "instruction_id": np.full(n, i % len(sentences), np.int32),
                }
                writer.append(rows, {"number": i})
    return paths


@pytest.fixture(scope="module")
def merger():
    """Merges in a process of its own, which is killed after a while if asked to."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("merging.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"

    def run(inputs, out, after=None):
        order = {"inputs": list(map(str, inputs)), "out": str(out), "after": after}
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    yield run
    process.stdin.close()
    process.wait()


def committed(path):
    """Episodes of a set; all of them are whole."""
    if not path.exists():
        return 0
    assert errors(path) == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        demonstrations = load(path)
    for i in range(demonstrations.n_episodes):
        rows = demonstrations.episode(i)
        assert len(rows["action"]) == 1 + i % 40 * 7 % 60
        assert (rows["action"] == i % 40).all()
        assert (rows["camera_a"] == i % 40).all()
        assert demonstrations.episode_values["number"][i] == i % 40
    return demonstrations.n_episodes


@pytest.mark.parametrize("name", ["set", "set.zip", "many"])
def test_a_killed_merge_loses_nothing_and_ends_as_if_it_had_not_been(
    inputs, merger, tmp_path, name
):
    whole = tmp_path / "whole"
    began = time.perf_counter()
    assert merger(inputs, whole) == 0
    takes = time.perf_counter() - began
    rng = random.Random(name)
    killed, halfway, out, before = 0, 0, tmp_path / name, 0
    folder = staging_folder(out) if name.endswith(".zip") else out
    for round_ in range(100):
        # Mostly within a single merge, so that it is killed again and again as it goes on.
        status = merger(inputs, out, rng.uniform(0, takes * (1.1 if name == "many" else 0.4)))
        killed += status == -signal.SIGKILL
        assert status in (0, -signal.SIGKILL)
        if not out.exists() or folder == out:
            found = committed(folder)
            assert found >= before
            halfway += 0 < found < 80
            before = found
        else:
            assert committed(out) == 80
        if killed == KILLS:
            break
        if status == 0:
            # Finished before the kill: once more from the beginning.
            before, out = 0, tmp_path / f"{round_}-{name}"
            folder = staging_folder(out) if name.endswith(".zip") else out
    assert killed == KILLS
    assert halfway
    assert merger(inputs, out) == 0
    assert validate(out) == []
    assert load(out).digest == load(whole).digest
    left = {path.name for path in tmp_path.iterdir() if path.name.startswith(out.name)}
    assert left - {f"{out.name}.lock"} == {out.name}
    assert not list(tmp_path.rglob("*.partial"))


def test_what_the_killed_process_did_is_what_this_one_would(inputs, tmp_path, merger):
    assert merger(inputs, tmp_path / "there") == 0
    merge(inputs, tmp_path / "here")
    assert load(tmp_path / "here").digest == load(tmp_path / "there").digest
