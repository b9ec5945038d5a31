import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr

from bridle.training.demonstrations import (
    DemonstrationWriter,
    load,
)
from bridle.training.demonstrations.validation import validate
from tests.training.demonstrations.sets import assert_holds, episode, errors, record


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


def test_a_set_can_be_read_at_any_time_while_it_is_written(tmp_path):
    path = tmp_path / "set"
    writer = subprocess.Popen(
        [sys.executable, "-c", ENDLESS_WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "ready\n"
    counts = [0]
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while time.monotonic() - began < 1.5 or counts[-1] < 20:
            demonstrations = load(path)
            counts.append(demonstrations.n_episodes)
            assert errors(path) == []
    writer.kill()
    writer.communicate()
    assert counts == sorted(counts)
    assert counts[-1] > counts[1]


@pytest.mark.parametrize("renames", range(1, 22))
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
    # Three chunks of images, one of each of six other keys and of the checksums, eight lengths, and
    # the two of episode_ends.
    assert committed == (renames > 20)
    assert errors(path) == []
    # The same writer goes on after the disk has room again.
    if not committed:
        writer.append(episode(40, 9))
    writer.close()
    assert_holds(load(path), [*episodes, episode(40, 9)])
    assert validate(path) == []
